//! The rows of the report: what is measured, and beside what.
//!
//! To add some, write a file with a function `rows`, and name it in [`all`].

mod resolve;

use crate::args::Plan;
use crate::failure::Failure;
use crate::pin::Cores;
use crate::rounds::Round;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// For `--only`.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The ratio that we want to reach now; nothing depends on it.
    pub(crate) target: f64,
    pub(crate) measure: fn(&Plan, &Cores) -> Result<Measured, Failure>,
}

/// What a row found.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Bytes of a reply on the wire, the same for both.
    pub(crate) bytes: usize,
    pub(crate) rounds: Vec<Round>,
}

/// Every row, in the order of the report.
pub(crate) fn all() -> Vec<Row> {
    resolve::rows()
}
