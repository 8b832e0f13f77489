//! Random bytes at every door of [`judge`](crate::judge): a little of what the fuzzers do for hours.
//!
//! Examples are bent by what tends to hurt. One half is the same in every run; the other begins with a
//! seed that is printed, and `HERMES_SEED` makes it begin there again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::judge::{DOORS, Door};

/// Inputs for each door and seed; some seconds for all of them.
const INPUTS: usize = 15_000;
const FIXED_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is put in, now and then.
const TOKENS: &[&str] = &[
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "0.5",
    "18446744073709551616",
    "9007199254740993",
    "5e-324",
    "\0",
    "\n",
    "\u{feff}",
    "\u{e9}",
    "%00",
    "%2F",
    "..",
    "//",
    "@",
    "?",
    "#",
    "[::1]",
    "0x7f",
    ":0",
    ":65536",
    "-",
    "_",
    "A",
    "http://",
    "main",
    "\"ttl\": ",
    "\"ports\": {}",
    "\"checks\": []",
];

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is above 0.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a usize fits into 64 bits");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }
}

/// An example with a few changes.
fn bent(examples: &[&str], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = examples[chance.below(examples.len())].as_bytes().to_vec();
    for _ in 0..chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        let to = at + chance.below(bytes.len() - at + 1).min(24);
        match chance.below(6) {
            0 => drop(bytes.drain(at..to)),
            1 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            2 => bytes.insert(at, chance.next().to_le_bytes()[0]),
            3 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            _ => {
                let token = TOKENS[chance.below(TOKENS.len())].bytes();
                bytes.splice(at..at, token);
            }
        }
    }
    bytes
}

#[expect(clippy::print_stdout, reason = "shown only when the test fails")]
fn try_all(doors: &[Door], seed: u64) {
    println!("to see it again: HERMES_SEED={seed}");
    let mut chance = Chance(seed);
    for (name, judge, examples) in doors {
        for example in *examples {
            judge(example.as_bytes());
        }
        for _ in 0..INPUTS {
            let bytes = bent(examples, &mut chance);
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let judged = std::panic::catch_unwind(|| judge(&bytes));
            assert!(judged.is_ok(), "{name}: {shown:?} ({bytes:?})");
        }
    }
}

#[test]
fn bent_examples_pass_no_door_wrongly() {
    try_all(DOORS, FIXED_SEED);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no other edge to be told a seed at"
)]
fn bent_examples_of_chance_pass_no_door_wrongly() {
    let given = std::env::var("HERMES_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    try_all(
        DOORS,
        given.unwrap_or_else(|| RandomState::new().hash_one(0)),
    );
}
