//! The command from outside: the real binary against real servers, and against scripted ones where
//! a real one would not misbehave on demand.
//!
//! No test has a port of its own, sleeps, or cares what runs beside it. What has to be waited for is
//! read from a pipe, with a deadline.

#[cfg(test)]
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
#[cfg(test)]
#[cfg(unix)]
mod reload;
#[cfg(unix)]
#[cfg(test)]
mod run;
mod serve;
#[cfg(test)]
#[cfg(unix)]
mod stop;
#[cfg(test)]
#[cfg(unix)]
mod systemd;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod traces;
#[cfg(unix)]
#[cfg(test)]
mod up;
mod wait;
mod watch;

// What the tests share. `cfg(test)` tells clippy that a panic is how they fail, too.
#[cfg(test)]
mod command;
#[cfg(unix)]
#[cfg(test)]
mod program;
#[cfg(test)]
mod responder;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod server;
#[cfg(test)]
mod settings;
