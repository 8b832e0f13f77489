//! A line that turns while something is waited for.
//!
//! It only decides what to draw; the output draws it. The cursor is never hidden, so a command that
//! is killed leaves at most a line of text behind, and no terminal that has to be repaired.

/// What turns.
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];
/// How many turns pass before it is drawn at all: what is answered at once needs no company.
const PATIENCE: u32 = 5;
/// Back to the beginning of the line, and away with what is on it.
const WIPE: &str = "\r\x1b[2K";

#[derive(Debug)]
pub(crate) struct Spinner {
    /// There is a terminal to draw on.
    is_possible: bool,
    text: String,
    turns: u32,
    is_drawn: bool,
}

impl Spinner {
    pub(crate) fn new(is_possible: bool) -> Self {
        Self {
            is_possible,
            text: String::new(),
            turns: 0,
            is_drawn: false,
        }
    }

    /// What is waited for; nothing when it is empty.
    pub(crate) fn wait_for(&mut self, text: String) {
        self.text = text;
    }

    /// The next frame, at most `width` columns wide. What is on the line already is drawn over.
    pub(crate) fn turn(&mut self, width: usize) -> Option<String> {
        self.turns = self.turns.saturating_add(1);
        if !self.is_possible || self.turns <= PATIENCE {
            return None;
        }
        if self.text.is_empty() {
            return self.wipe();
        }
        self.is_drawn = true;
        let frame = FRAMES[self.turns as usize % FRAMES.len()];
        // The last column stays free: some terminals break the line there.
        let room = width.saturating_sub(3);
        let text: String = self.text.chars().take(room).collect();
        Some(format!("{WIPE}{frame} {text}"))
    }

    /// What takes it away, if it is there.
    pub(crate) fn wipe(&mut self) -> Option<String> {
        std::mem::take(&mut self.is_drawn).then(|| WIPE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_appears_late_turns_within_the_line_and_leaves_nothing_behind() {
        let mut spinner = Spinner::new(true);
        spinner.wait_for("waiting for the very long name of a server".into());
        for _ in 0..PATIENCE {
            assert_eq!(spinner.turn(20), None);
        }
        let frames = [spinner.turn(20).unwrap(), spinner.turn(20).unwrap()];
        assert_ne!(frames[0], frames[1]);
        for frame in frames {
            let shown = frame.strip_prefix(WIPE).unwrap();
            assert!(shown.chars().count() < 20, "{shown}");
        }
        assert_eq!(spinner.wipe().as_deref(), Some(WIPE));
        assert_eq!(spinner.wipe(), None);
        spinner.turn(20);
        spinner.wait_for(String::new());
        assert_eq!(spinner.turn(20).as_deref(), Some(WIPE));
        assert_eq!(spinner.turn(20), None);
    }

    #[test]
    fn without_a_terminal_there_is_nothing() {
        let mut spinner = Spinner::new(false);
        spinner.wait_for("x".into());
        assert!((0..100).all(|_| spinner.turn(80).is_none()));
    }
}
