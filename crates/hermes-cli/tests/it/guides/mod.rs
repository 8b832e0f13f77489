//! The guides, played through: every command of every guide, in order, as a reader would type it.
//!
//! A guide is a page of `docs/guides`, or "The first five minutes" of the README. Its commands are
//! the blocks marked `sh`. They run one by one in one shell, with the real binary on the PATH, in a
//! fresh directory that is also the home, and in a network of their own where the machine allows it
//! (see [`place`]). So a guide uses the ports it tells its reader to use, the documented default
//! among them, and guides run side by side all the same.
//!
//! What whoever writes a guide should know:
//!
//! - **Exit codes**: a command ends with 0, or the guide says otherwise behind it:
//!   `hermes resolve nobody   # exit code 3`.
//! - **Output**: a block marked `text` shows what one sees since the block of commands before it
//!   began, on stdout and stderr, of commands in the background too. Other lines may stand between
//!   those that are shown, `...` stands for anything within a line, and spaces and times need not be
//!   the same (see [`shown`]). A block marked `json` shows an object; members may be left out of it.
//! - **Another terminal**: a server, and a watch that goes on, is started as one would do it: `hermes
//!   serve` without `&` runs on in a terminal of its own, which begins in the guide's directory.
//! - **Other marks** (`console`, `yaml`, `toml`) are only read: what needs another machine, root, or
//!   a person.
//! - No `pkill`: a network of one's own is no process table of one's own. `kill %1` is fine.

#[cfg(test)]
mod guide;
#[cfg(test)]
mod place;
#[cfg(test)]
mod shown;
#[cfg(test)]
mod terminal;

use std::fs;
use std::path::Path;

use guide::{Guide, Step};
use place::Place;
use terminal::Terminal;

/// One test for each guide, and the list of them.
macro_rules! guides {
    ($($name:ident: $file:literal),* $(,)?) => {
        const GUIDES: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $name() {
                play(&Guide::read(&format!("docs/guides/{}", $file), None), Place::best());
            }
        )*
    };
}

guides! {
    checks: "checks.md",
    configuration: "configuration.md",
    first_steps: "first-steps.md",
    limits: "limits.md",
    watching: "watching.md",
    running_programs: "running-programs.md",
    prometheus: "prometheus.md",
    keys_and_tls: "keys-and-tls.md",
}

#[test]
fn the_first_five_minutes() {
    let readme = Guide::read("README.md", Some("## The first five minutes"));
    play(&readme, Place::best());
}

/// Where there are no networks of one's own, the guides are played with other ports. That way must
/// not fall into decay where there are.
#[test]
fn a_guide_can_be_played_on_ports_that_are_free() {
    play(
        &Guide::read("docs/guides/first-steps.md", None),
        Place::shared(),
    );
}

/// What holds Rust and no commands is run as the doctests of `hermes-discovery`.
const DOCTESTS: &[&str] = &["library.md"];

#[test]
fn every_guide_is_played() {
    let pages = fs::read_dir(root().join("docs/guides")).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let unplayed: Vec<String> = pages
        .filter(|page| page.ends_with(".md"))
        .filter(|page| ![GUIDES, DOCTESTS].concat().contains(&page.as_str()))
        .collect();
    assert!(
        unplayed.is_empty(),
        "no test plays {unplayed:?}; name it in `guides!`"
    );
}

/// The top of the repository.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let above = package.ancestors().nth(2);
    above.expect("the package is two folders below it")
}

/// Plays a guide to its end.
fn play(guide: &Guide, place: Place) {
    let place = place.made_for(guide);
    let mut terminal = Terminal::open(&place);
    let mut from = 0;
    for step in &guide.steps {
        match step {
            Step::Begin => from = terminal.transcript().len(),
            Step::Run(command) => terminal.run(guide, command),
            Step::Show(shown) => terminal.expect(guide, shown, from),
        }
    }
}
