//! A guide as a list of steps: what to run, and what is shown then.

use std::fs;
use std::process::Command;

use super::root;

/// A page, or a section of one.
pub(super) struct Guide {
    pub(super) path: String,
    pub(super) steps: Vec<Step>,
}

pub(super) enum Step {
    /// A block of commands begins; what is shown later is shown since here.
    Begin,
    Run(Typed),
    Show(Shown),
}

/// A command, and where it stands.
pub(super) struct Typed {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) exit: i32,
}

/// What one sees.
pub(super) struct Shown {
    pub(super) line: usize,
    pub(super) lines: Vec<String>,
    pub(super) is_json: bool,
}

/// A block of a page: how it is marked, and its lines.
struct Block<'a> {
    line: usize,
    mark: &'a str,
    lines: Vec<&'a str>,
}

impl Guide {
    /// Reads a page, or the section below a heading.
    pub(super) fn read(path: &str, heading: Option<&str>) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let blocks = blocks(&text, heading);
        let steps: Vec<Step> = blocks.iter().flat_map(steps).collect();
        assert!(
            steps.iter().any(|step| matches!(step, Step::Run(_))),
            "{path}: no block marked `sh`"
        );
        Self {
            path: path.into(),
            steps,
        }
    }
}

fn blocks<'a>(text: &'a str, heading: Option<&str>) -> Vec<Block<'a>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut is_inside = heading.is_none();
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, None) if line.starts_with("## ") => {
                is_inside = heading.is_none_or(|heading| heading == line);
            }
            (None, None) => {}
            (None, Some(mark)) => {
                open = Some(Block {
                    line: number + 1,
                    mark: mark.trim(),
                    lines: Vec::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|_| is_inside)),
            (Some(block), None) => block.lines.push(line),
        }
    }
    blocks
}

fn steps(block: &Block<'_>) -> Vec<Step> {
    match block.mark {
        "sh" => {
            let commands = commands(block).into_iter().map(Step::Run);
            [Step::Begin].into_iter().chain(commands).collect()
        }
        "text" | "json" => vec![Step::Show(Shown {
            line: block.line,
            lines: block.lines.iter().map(|&line| line.into()).collect(),
            is_json: block.mark == "json",
        })],
        _ => Vec::new(),
    }
}

/// The commands of a block, those of several lines whole.
fn commands(block: &Block<'_>) -> Vec<Typed> {
    let mut commands = Vec::new();
    let mut text = String::new();
    let mut begin = block.line;
    for (number, line) in (block.line..).zip(&block.lines) {
        if text.is_empty() {
            begin = number;
        }
        text.push_str(line);
        text.push('\n');
        if !is_whole(&text) {
            continue;
        }
        let text = std::mem::take(&mut text);
        if text.lines().any(is_code) {
            let exit = said_exit(&text);
            commands.push(Typed {
                line: begin,
                text,
                exit,
            });
        }
    }
    assert_eq!(text, "", "a command does not end within its block");
    commands
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// Whether a shell would not wait for more.
fn is_whole(text: &str) -> bool {
    if text.ends_with("\\\n") {
        return false;
    }
    let output = Command::new("bash").args(["-n", "-c", text]).output();
    let output = output.expect("the guides are played in bash; install it");
    output.status.success() && output.stderr.is_empty()
}

/// The exit code that a guide says behind a command.
fn said_exit(text: &str) -> i32 {
    let said = text
        .lines()
        .find_map(|line| line.split_once("# exit code "));
    said.map_or(0, |(_, code)| code.trim().parse().unwrap())
}

#[test]
fn blocks_become_commands_with_their_lines() {
    let text = "# A\n```sh\n# first\na \\\n  b\nc <<'E'\nx\nE\nd 'e\nf' # exit code 3\n```\n## B\n\
        ```text\nshown\n```\n```yaml\nk: v\n```\n";
    let read = |heading| {
        let blocks = blocks(text, heading);
        let steps = blocks.iter().flat_map(steps);
        let tell = |step| match step {
            Step::Begin => "begin".to_owned(),
            Step::Run(typed) => format!("{} {} {}", typed.line, typed.exit, typed.text),
            Step::Show(shown) => format!("{} {}", shown.line, shown.lines.join("|")),
        };
        steps.map(tell).collect::<Vec<_>>()
    };
    assert_eq!(
        read(None),
        [
            "begin",
            "4 0 a \\\n  b\n",
            "6 0 c <<'E'\nx\nE\n",
            "9 3 d 'e\nf' # exit code 3\n",
            "14 shown"
        ]
    );
    assert_eq!(read(Some("## B")), ["14 shown"]);
}
