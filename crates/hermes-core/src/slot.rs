//! A typed slot for forms of a view that the core knows nothing of.
//!
//! A protocol that serves a view keeps what it makes of it here: encoded answers, DNS records. It is
//! made on first use and goes with the view, so nothing is ever invalidated by hand.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// One value of a type that only its user knows.
#[derive(Default)]
pub struct Slot(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Slot {
    /// The value, made by the first who asks. `None` when the slot holds another type: a slot has
    /// one user, and a second one is a mistake of the program.
    pub fn get_or_init<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Arc::new(make())).downcast_ref()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() {
            "Slot(made)"
        } else {
            "Slot(empty)"
        })
    }
}
