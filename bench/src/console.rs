//! The one place that writes to the terminal: figures to stdout, everything else to stderr.

#[expect(clippy::print_stdout, reason = "a bench is read in the terminal")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "progress must not mix with figures")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
