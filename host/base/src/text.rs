//! Text from outside (plugins, templates, file and tensor names, model output), made fit to be shown.

/// Characters of one piece of text that are shown, at most.
const LONGEST: usize = 2000;

/// Text as one line for a terminal or log: control characters and characters that change the direction of text are
/// written as escapes, and what is too long is cut.
pub fn line(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).map(Shown).map(|shown| shown.to_string()).collect();
    let length = text.chars().count();
    if length > LONGEST {
        shown += &format!("… ({length} characters)");
    }
    shown
}

/// Text for a terminal, of any length and with its line breaks.
pub fn block(text: &str) -> String {
    let keep = |c: char| if c == '\n' || c == '\t' { c.to_string() } else { Shown(c).to_string() };
    text.chars().map(keep).collect()
}

/// Text as part of a line of Markdown, such as a table's cell.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in line(text).chars() {
        match c {
            '|' | '\\' | '`' | '[' | ']' | '*' => escaped.extend(['\\', c]),
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            _ => escaped.push(c),
        }
    }
    escaped
}

/// The line and the column of a byte of a text, both from 1, the column in characters.
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    // A parser may point past the end, but never into a character.
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// `; did you mean …?`, where one of the names is near to a word; nothing where none is.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    // As clap, which asks the same of flags.
    const NEAR: f64 = 0.8;
    let near = names.into_iter().map(|name| (strsim::jaro_winkler(word, name), name));
    let nearest = near.filter(|(similarity, _)| *similarity > NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

/// A word of a command, quoted where a POSIX shell would part or expand it.
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A character, as an escape where it is not to be seen.
struct Shown(char);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        match self.0 {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            // Marks and overrides of direction, line and paragraph separators, invisible tags.
            c @ ('\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{2066}'..='\u{2069}'
            | '\u{e0000}'..='\u{e007f}') => write!(f, "{}", c.escape_unicode()),
            c => f.write_char(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(line("a\u{1b}[31mred\r\nb\u{7}"), "a\\u{1b}[31mred\\r\\nb\\u{7}");
        assert_eq!(line("ab\u{202e}cd\u{9b}"), "ab\\u{202e}cd\\u{9b}");
        assert_eq!(line("Größe 模型 🌳"), "Größe 模型 🌳");
        assert_eq!(block("one\ntwo\u{1b}]0;x"), "one\ntwo\\u{1b}]0;x");
    }

    #[test]
    fn lines_and_columns_are_counted_from_one() {
        let text = "é = 1\n\nüü = 2";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find("= 2").unwrap()), (3, 4));
        assert_eq!(line_and_column(text, 100), (3, 7));
    }

    #[test]
    fn long_text_is_cut() {
        let shown = line(&"x".repeat(189_000));
        assert!(shown.len() < 2100 && shown.ends_with("… (189000 characters)"), "{shown}");
        assert_eq!(line(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    #[test]
    fn commands_can_be_pasted() {
        for (word, quoted) in [
            ("a/b-1.toml", "a/b-1.toml"),
            ("", "''"),
            ("my study.toml", "'my study.toml'"),
            ("it's", "'it'\\''s'"),
            ("$HOME;ls", "'$HOME;ls'"),
            ("été", "'été'"),
        ] {
            assert_eq!(shell_quote(word), quoted);
        }
    }

    #[test]
    fn markdown_stays_a_cell() {
        assert_eq!(markdown("a|b\n<script>"), "a\\|b\\\\n&lt;script&gt;");
        assert_eq!(markdown("SparseGPT-C4 ± 0.5 (−1)"), "SparseGPT-C4 ± 0.5 (−1)");
    }

    #[test]
    fn the_nearest_name_is_asked_for() {
        assert_eq!(did_you_mean("wnada", ["sparsegpt", "wanda"]), "; did you mean `wanda`?");
        assert_eq!(did_you_mean("percdmap", ["blocksize", "percdamp"]), "; did you mean `percdamp`?");
        assert_eq!(did_you_mean("quantize", ["sparsegpt", "wanda"]), "");
        assert_eq!(did_you_mean("wanda", []), "");
    }
}
