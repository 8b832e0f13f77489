//! The door `selection` of the judge that the tests of hermes-core use, too.

#![no_main]

#[path = "../../crates/hermes-core/tests/it/judge.rs"]
#[allow(dead_code, reason = "each target uses one of its doors")]
mod judge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| judge::selection(bytes));
