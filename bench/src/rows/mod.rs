//! The rows of the report: what is measured, and beside what.
//!
//! To add some, write a file with a function `rows`, and name it in [`all`].

mod log;
mod peek;
mod probe;
mod register;
mod resolve;
mod start;

use crate::args::Plan;
use crate::failure::Failure;
use crate::pin::Cores;
use crate::rounds::{Round, Wait};

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
pub(crate) enum Measured {
    /// Requests, beside those of a floor.
    Asked {
        /// Bytes of a reply on the wire, the same for both.
        bytes: usize,
        rounds: Vec<Round>,
    },
    /// Something that takes its time, beside a floor.
    Waited {
        waits: Vec<Wait>,
        /// What else was seen, each with its unit.
        facts: Vec<(&'static str, String)>,
    },
}

/// Every row, in the order of the report.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = resolve::rows();
    rows.extend(register::rows());
    rows.extend(log::rows());
    rows.extend(probe::rows());
    rows.extend(start::rows());
    rows.extend(peek::rows());
    rows
}
