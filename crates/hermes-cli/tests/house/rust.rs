//! Just enough of Rust's grammar to ask where something is said: in code, in a comment or in a
//! text; and which paths a file names, those of a `use` with braces included.

/// What a stretch of a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Code,
    Comment,
    Text,
}

/// The code alone: comments and texts are blanked, lines keep their numbers.
pub(crate) fn code(source: &str) -> String {
    keep(source, &[Kind::Code])
}

/// The code and its texts: comments are blanked.
pub(crate) fn code_and_texts(source: &str) -> String {
    keep(source, &[Kind::Code, Kind::Text])
}

fn keep(source: &str, kinds: &[Kind]) -> String {
    let blank = |text: &str| {
        text.chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect()
    };
    split(source)
        .into_iter()
        .map(|(kind, text)| {
            if kinds.contains(&kind) {
                text.to_owned()
            } else {
                blank(text)
            }
        })
        .collect()
}

fn split(source: &str) -> Vec<(Kind, &str)> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = source[at..].chars().next() {
        let after_word = source[..at].ends_with(is_word);
        let Some((kind, length)) = non_code(&source[at..], after_word) else {
            at += next.len_utf8();
            continue;
        };
        parts.push((Kind::Code, &source[begin..at]));
        parts.push((kind, &source[at..at + length]));
        at += length;
        begin = at;
    }
    parts.push((Kind::Code, &source[begin..]));
    parts
}

/// The comment or text that begins here, and its length.
fn non_code(rest: &str, after_word: bool) -> Option<(Kind, usize)> {
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, block_comment(rest)));
    }
    if rest.starts_with('"') {
        return Some((Kind::Text, escaped(rest, '"')));
    }
    if rest.starts_with('\'') {
        return character(rest).map(|length| (Kind::Text, length));
    }
    // `br"..."` and `cr"..."` begin with a letter of their own, which may stay code.
    if rest.starts_with('r') && !after_word || rest.starts_with("r\"") || rest.starts_with("r#") {
        return raw(rest).map(|length| (Kind::Text, length));
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        let step = match here {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a text in quotes, in which a backslash protects the character after it.
fn escaped(rest: &str, quote: char) -> usize {
    let mut protected = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !protected && c == quote {
            return at + c.len_utf8();
        }
        protected = !protected && c == '\\';
    }
    rest.len()
}

/// The length of a character literal; nothing for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.chars().skip(1);
    let is_literal = chars.next()? == '\\' || chars.next()? == '\'';
    is_literal.then(|| escaped(rest, '\''))
}

/// The length of `r"..."` or `r#"..."#`; nothing for a raw identifier or a plain word.
fn raw(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(1 + hashes + 1 + length)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every path that a file names, with its line: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
pub(crate) fn paths(source: &str) -> Vec<(usize, String)> {
    let code = code(source);
    let mut reader = Reader {
        code: &code,
        at: 0,
        found: Vec::new(),
    };
    while reader.at < code.len() {
        if reader.peek().is_some_and(is_word) {
            reader.path("");
        } else {
            reader.skip_one();
        }
    }
    reader.found
}

struct Reader<'a> {
    code: &'a str,
    at: usize,
    found: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.code[self.at..].chars().next()
    }

    fn skip_one(&mut self) {
        self.at += self.peek().map_or(1, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        let rest = &self.code[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn word(&mut self) -> &str {
        let rest = &self.code[self.at..];
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes `mark`, and the spaces before it, if it comes next.
    fn take(&mut self, mark: &str) -> bool {
        let before = self.at;
        self.skip_spaces();
        let comes = self.code[self.at..].starts_with(mark);
        self.at = if comes { self.at + mark.len() } else { before };
        comes
    }

    fn path(&mut self, prefix: &str) {
        let line = self.code[..self.at].lines().count().max(1);
        let mut path = format!("{prefix}{}", self.word());
        while self.take("::") {
            self.skip_spaces();
            match self.peek() {
                Some('{') => return self.group(&format!("{path}::")),
                Some(c) if is_word(c) => path = format!("{path}::{}", self.word()),
                _ => break,
            }
        }
        self.found.push((line, path));
    }

    /// What stands in the braces of a `use`.
    fn group(&mut self, prefix: &str) {
        self.skip_one();
        loop {
            self.skip_spaces();
            match self.peek() {
                Some(c) if is_word(c) => self.path(prefix),
                Some('}') | None => return self.skip_one(),
                Some(_) => self.skip_one(),
            }
            if self.take("as ") {
                self.skip_spaces();
                self.word();
            }
        }
    }
}

#[test]
fn comments_and_texts_are_told_from_code() {
    let source = "let a = \"x // y\"; // z\nlet b = r#\"q\"r\"#; /* p /* n */ */ 'm'; &'static c";
    let words = code(source)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(words, "let a = ; let b = ; ; &'static c");
    assert!(code_and_texts(source).contains("x // y"));
    assert!(!code_and_texts(source).contains('z'));
}

#[test]
fn a_use_with_braces_names_every_path_in_it() {
    let source =
        "use std::{\n    fmt::{self, Debug as D},\n    time::Instant,\n};\nlet x = a::b::<C>();";
    let found = paths(source);
    assert!(
        found.contains(&(2, "std::fmt::Debug".to_owned())),
        "{found:?}"
    );
    assert!(
        found.contains(&(3, "std::time::Instant".to_owned())),
        "{found:?}"
    );
    assert!(found.contains(&(5, "a::b".to_owned())), "{found:?}");
    assert!(
        !found.iter().any(|(_, path)| path.ends_with("::D")),
        "{found:?}"
    );
}
