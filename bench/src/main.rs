//! Side-by-side measurements of Hermes, as ratios with their spread.
//!
//! ```text
//!  this process ─┬─► server   Hermes, in a process of its own, on core 0
//!                ├─► bare     the floor to compare with, likewise, on core 0
//!                └─► load     who asks them, one after the other, on core 1
//! ```
//!
//! Machines are noisy and differ, so a figure of its own says little. Every row measures Hermes and a
//! floor in turn, A B A B, and takes the ratio round by round; the median of the ratios is the figure
//! and their range says how far to trust it. What is compared is requests for one second of
//! *processor time of the server*, which does not depend on how fast the load is, or on who else uses
//! the machine. Starts are compared by the clock, with the reading of the same bytes.
//!
//! A row is a file in [`rows`]. Nothing here judges: a slow Hermes is a figure, not an error.

mod args;
mod bare;
mod child;
mod console;
mod failure;
mod files;
mod http;
mod load;
mod machine;
mod pin;
mod probed;
mod probing;
mod report;
mod rounds;
mod rows;
mod server;
mod spent;
mod start;

use std::process::ExitCode;

use args::{Form, Job, Plan};
use failure::Failure;
use mimalloc::MiMalloc;
use pin::Cores;
use report::Report;

/// That of the command `hermes`, for both sides.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::note(&format!("hermes-bench: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(job: Job) -> Result<(), Failure> {
    match job {
        Job::Help => console::print(args::HELP),
        Job::Measure(plan) => return measure(&plan),
        Job::Server { directory } => return server::run(directory),
        Job::Read { files } => console::print(&start::read_all(&files)?.to_string()),
        Job::Bare { bytes } => return bare::run(bytes),
        Job::Probed => return probed::run(),
        Job::Prober { port, each } => return probing::run_hermes(port, each),
        Job::BareProber { port, each } => return probing::run_bare(port, each),
        Job::Load(order) => console::print(&load::run(&order)?.to_line()),
    }
    Ok(())
}

fn measure(plan: &Plan) -> Result<(), Failure> {
    let cores = Cores::of_this_machine();
    let mut report = Report::begin(plan, &cores);
    for row in rows::all() {
        if plan.wants(row.name) {
            console::note(&format!("{}: {}", row.name, row.about));
            let measured = (row.measure)(plan, &cores)?;
            report.add(&row, measured);
        }
    }
    let report = report.end();
    match plan.form {
        Form::Table => console::print(&report.to_table()),
        Form::Json => console::print(&report.to_json()),
    }
    Ok(())
}
