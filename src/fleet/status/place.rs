//! Text that replaces itself on a terminal.

use console::Term;

use crate::exit::Refusal;
use crate::output;

/// A place on the terminal that shows one text after the other.
pub struct Place {
    lines: usize,
}

impl Place {
    /// Where the cursor is.
    pub fn new() -> Self {
        Self { lines: 0 }
    }

    /// Shows a text instead of the one before. Says whether the terminal is still there.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn show(&mut self, text: &str) -> Result<bool, Refusal> {
        let (height, width) = Term::stdout().size();
        let lines = fitted(text, height.into(), width.into());
        let drawn = redrawn(self.lines, &lines);
        self.lines = lines.len();
        output::text_while_read(&drawn)
    }
}

/// The lines of a text for a terminal of this size: none is wrapped, and the cursor's own line stays free, so that the way back to
/// the first one is known.
fn fitted(text: &str, height: usize, width: usize) -> Vec<String> {
    let most = height.saturating_sub(1).max(1);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| console::truncate_str(line, width, "…").into_owned())
        .collect();
    if lines.len() > most {
        let hidden = lines.len() + 1 - most;
        lines.truncate(most - 1);
        let note = format!("… and {} more", output::count(hidden, "line"));
        lines.push(console::truncate_str(&note, width, "…").into_owned());
    }
    lines
}

/// What draws lines over so many earlier ones (ECMA-48: CUU goes up, EL clears to the end of a line, ED to that of the screen).
fn redrawn(before: usize, lines: &[String]) -> String {
    let mut drawn = match before {
        0 => String::new(),
        before => format!("\x1b[{before}A\r"),
    };
    for line in lines {
        drawn.push_str(line);
        drawn.push_str("\x1b[K\n");
    }
    drawn.push_str("\x1b[J");
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal_and_the_cut_is_said() {
        assert_eq!(fitted("one\ntwo\n", 10, 80), ["one", "two"]);
        assert_eq!(fitted("a long line\n", 10, 6), ["a lon…"]);
        assert_eq!(fitted("1\n2\n3\n", 4, 80), ["1", "2", "3"]);
        assert_eq!(
            fitted("1\n2\n3\n4\n", 4, 80),
            ["1", "2", "… and 2 lines more"]
        );
        assert_eq!(fitted("1\n2\n", 0, 80), ["… and 2 lines more"]);
    }

    #[test]
    fn a_text_is_drawn_over_the_one_before() {
        let lines = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(redrawn(0, &lines(&["a"])), "a\x1b[K\n\x1b[J");
        assert_eq!(
            redrawn(3, &lines(&["a", "b"])),
            "\x1b[3A\ra\x1b[K\nb\x1b[K\n\x1b[J"
        );
    }
}
