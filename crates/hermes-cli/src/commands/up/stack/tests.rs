//! Files that are right, and files in which everything is wrong.

use super::*;

fn faults(text: &str) -> Vec<String> {
    read(text, Path::new("")).unwrap_err()
}

#[test]
fn a_stack_says_what_is_run_and_how_it_joins() {
    let text = "\
external: [postgres]
services:
  Rhetor:
    command: [python3, rhetor.py]
  coder:
    command: ./coder \"$PORT\"
    port: 8010
    needs: [postgres]
    resolve: {rhetor: RHETOR_URL}
    restart: on-failure
    check: [tcp, http:/ready]
    check_interval: 2s
    env: {A: 1, B: yes, C: ~}
    metadata: {version: 2, on: true}
    directory: src
    ttl: 5
    drain_time: 0s
  worker: {command: [w], endpoints: 3}
";
    let stack = read(text, Path::new("/stack")).unwrap();
    let [rhetor, coder, worker] = &stack.entries[..] else {
        panic!("{stack:?}");
    };
    assert_eq!(rhetor.program.name.as_str(), "rhetor");
    assert_eq!(rhetor.program.port, Port::Auto);
    assert_eq!(rhetor.program.command, ["python3", "rhetor.py"]);
    assert_eq!(rhetor.program.times, Times::DEFAULT);
    let coder = &coder.program;
    assert_eq!(coder.command, ["sh", "-c", "./coder \"$PORT\""]);
    let needs: Vec<String> = coder.all_needs().iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["postgres", "rhetor"]);
    assert_eq!(coder.restart, Restart::OnFailure);
    assert_eq!(coder.checks[1]["path"], "/ready");
    assert_eq!(coder.checks[0]["interval"], 2.0);
    assert_eq!(coder.environment[0], ("A".into(), "1".into()));
    assert_eq!(coder.environment[2], ("C".into(), String::new()));
    assert_eq!(coder.metadata["version"], 2);
    assert_eq!(coder.directory.as_deref(), Some(Path::new("/stack/src")));
    assert_eq!(coder.times.drain_time, Duration::ZERO);
    assert_eq!(worker.endpoints, 3);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let text = "\
services:
  web:
    comand: [a]
    port: 99999
    needs: [dbb]
  db:
    command: [b]
    endpoints: 2
    port: 80
    restart: often
  a: {command: [a], needs: [b]}
  b: {command: [b], needs: [c]}
  c: {command: [c], needs: [a]}
  d: {command: [d], needs: [d], env: {V: 1.10}}
  w.b: {command: [x]}
extra: 1
";
    let all = faults(text);
    let expected = [
        "line 3: services.web.comand: it is not known; did you mean command?",
        "line 3: services.web.command: it is missing",
        "line 4: services.web.port: `auto` or a number",
        "line 7: services.db.endpoints: several of them cannot share a port",
        "line 10: services.db.restart: never, on-failure or always",
        "line 11: a needs b needs c needs a: none of them can be started first",
        "line 14: d needs d: none of them can be started first",
        "line 14: services.d.env: a fraction",
        "line 15: services.w.b: ",
        "line 16: the file.extra: it is not known",
    ];
    for (fault, expected) in all.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{expected}: {all:#?}");
    }
    assert_eq!(all.len(), expected.len(), "{all:#?}");
}

#[test]
fn a_stack_has_so_many_endpoints_and_no_more() {
    let of = |counts: [usize; 2]| {
        let [a, b] = counts;
        format!(
            "services: {{a: {{command: x, endpoints: {a}}}, b: {{command: x, endpoints: {b}}}}}"
        )
    };
    assert!(read(&of([ENDPOINTS_MAX - 1, 1]), Path::new("")).is_ok());
    assert!(faults(&of([ENDPOINTS_MAX, 1]))[0].contains("it has 501 endpoints, at most 500"));
    assert!(faults(&of([ENDPOINTS_MAX + 1, 1]))[0].contains("a number from 1 to 500"));
}

#[test]
fn what_is_needed_and_not_there_comes_with_what_was_meant() {
    let text = "\
services:
  web: {command: [a], needs: [dbb], resolve: {nobody: URL}}
  db: {command: [b], ttl: 100h}
";
    let all = faults(text);
    assert!(
        all[0].contains("`dbb`, which is not in this file; did you mean db?"),
        "{all:?}"
    );
    assert!(all[1].contains("needs `nobody`"), "{all:?}");
    assert!(
        all[2].contains("services.db: ") && all[2].contains("24 h"),
        "{all:?}"
    );
    assert!(faults("services: 1")[0].contains("a mapping"));
    assert_eq!(faults("").len(), 1);
    assert!(faults("[a]")[1].contains("the file: a mapping"));
    assert!(faults("services: {a: [b}")[0].starts_with("line 1: "));
}
