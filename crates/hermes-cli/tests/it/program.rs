//! A program to be run: an HTTP server in the test binary itself, which `hermes run` starts.
//!
//! It listens on `$PORT` and does what it is asked: `/health` and most others are answered with 200,
//! `/env/NAME` with the value of a variable, `/exit/CODE` ends it, and after `/hang` it accepts
//! connections and never answers again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::responder::read_head;

/// Tells the test binary that it is the program, not the tests.
pub(crate) const PLAY: &str = "TEST_PROGRAM";

/// The command line of the program, to be started with [`PLAY`] in its environment.
pub(crate) fn command() -> Vec<String> {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap().to_owned();
    let name = concat!(module_path!(), "::this_is_the_program");
    let name = name.split_once("::").unwrap().1.to_owned();
    // The harness of the tests then runs this one, in the main thread, and lets it speak.
    let flags = ["--exact", "--nocapture", "--test-threads=1"];
    let flags = flags.into_iter().map(str::to_owned);
    [own, name].into_iter().chain(flags).collect()
}

#[test]
fn this_is_the_program() {
    if std::env::var_os(PLAY).is_some() {
        serve();
    }
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "it is a program, and asked to"
)]
fn serve() {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("listening on {port} as {}", std::process::id());
    let is_hanging = Arc::new(AtomicBool::new(false));
    for stream in listener.incoming() {
        let is_hanging = Arc::clone(&is_hanging);
        thread::spawn(move || {
            let mut stream = stream.unwrap();
            let head = read_head(&mut stream);
            if is_hanging.load(Ordering::SeqCst) {
                // Until whoever has asked gives up.
                stream.read_to_end(&mut Vec::new()).ok();
                return;
            }
            let path = head.split(' ').nth(1).unwrap_or_default();
            let body = match path.split('/').collect::<Vec<_>>()[..] {
                ["", "env", name] => std::env::var(name.to_ascii_uppercase()).unwrap_or_default(),
                ["", "exit", code] => {
                    println!("asked to exit with {code}");
                    std::process::exit(code.parse().unwrap())
                }
                ["", "hang"] => {
                    is_hanging.store(true, Ordering::SeqCst);
                    "hanging".to_owned()
                }
                _ => std::process::id().to_string(),
            };
            answer(&mut stream, &body);
        });
    }
}

fn answer(stream: &mut TcpStream, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes()).ok();
}

/// Asks a program, and gives the body of its answer; the error says what went wrong.
pub(crate) fn ask(url: &str, path: &str) -> Result<String, String> {
    let words = |error: std::io::Error| format!("{url}{path}: {error}");
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).map_err(words)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(words)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(words)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("{url}{path}: {answer:?}")),
    }
}
