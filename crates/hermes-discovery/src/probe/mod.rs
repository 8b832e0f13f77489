//! stub
use crate::engine::Engine;
/// stub
#[derive(Debug, Clone, Default)]
pub struct Config {}
/// stub
#[derive(Debug)]
pub struct Prober;
/// stub
#[derive(Debug)]
pub struct ProberHandle;
impl Prober {
    /// stub
    #[must_use]
    pub fn start(_engine: Engine, _config: Config) -> ProberHandle {
        ProberHandle
    }
}
