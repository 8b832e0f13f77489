//! The command from outside: the real binary against real servers, and against scripted ones where
//! a real one would not misbehave on demand.
//!
//! No test has a port of its own, sleeps, or cares what runs beside it. What has to be waited for is
//! read from a pipe, with a deadline.

#![cfg(test)]

mod bad_servers;
mod exit_codes;
mod first_steps;
#[cfg(target_os = "linux")]
mod guides;
mod help;
mod json;
mod key;
mod log;
mod operate;
mod reference;
mod register_many;
#[cfg(unix)]
mod reload;
#[cfg(unix)]
mod run;
mod serve;
#[cfg(unix)]
mod stop;
#[cfg(unix)]
mod systemd;
#[cfg(target_os = "linux")]
mod terminal;
mod traces;
#[cfg(unix)]
mod up;
mod wait;
mod watch;

// What the tests share.
mod command;
#[cfg(unix)]
mod program;
mod responder;
mod scripted;
mod server;
mod settings;
