//! Writing HTML: escaping, and the few elements that recur.

use std::fmt::{self, Display, Write};

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($out, $($text)*);
    }};
}
pub(super) use put;

/// Text that is escaped when it is written, for element content and for quoted attributes alike.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(formatter), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                '\n' | '\t' => self.0.write_char(character)?,
                // HTML has no control characters; their pictures are shown, as models do write them.
                '\0'..='\x1f' => {
                    self.0.write_char(char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'))?;
                }
                '\x7f'..='\u{9f}' => self.0.write_char('\u{fffd}')?,
                // Noncharacters are a parse error, and controls of writing direction would reorder what follows.
                '\u{fdd0}'..='\u{fdef}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    self.0.write_char('\u{fffd}')?;
                }
                _ if u32::from(character) & 0xfffe == 0xfffe => self.0.write_char('\u{fffd}')?,
                _ => self.0.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Preformatted text that can be scrolled by keyboard. A newline after `<pre>` is dropped by HTML's own
/// rules, so one is always there to be dropped.
pub(super) fn pre(label: &str, text: &str) -> String {
    format!(
        "<pre tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n<code>{}</code></pre>\n",
        Text(label),
        Text(text)
    )
}

/// A command to be copied; the script adds the button.
pub(super) fn command(label: &str, text: &str) -> String {
    format!("<div class=\"copy\">{}</div>\n", pre(label, text))
}

/// A container that scrolls sideways where its content is too wide, by keyboard too.
pub(super) fn scrolling(label: &str, content: &str) -> String {
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n{content}</div>\n",
        Text(label)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_in_content_and_attributes() {
        let nasty = "</script><img src=x onerror=\"alert('1')\">&amp;";
        assert_eq!(
            Text(nasty).to_string(),
            "&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;amp;"
        );
    }

    #[test]
    fn control_characters_become_pictures() {
        assert_eq!(Text("a\0b\u{1b}[1m\tc\nd\r\u{9d}").to_string(), "a␀b␛[1m\tc\nd␍\u{fffd}");
        assert_eq!(Text("\u{202e}\u{ffff}\u{1fffe}é漢🦀").to_string(), "\u{fffd}\u{fffd}\u{fffd}é漢🦀");
    }

    #[test]
    fn a_leading_newline_survives_preformatting() {
        assert!(pre("answer", "\n\nx").contains("\">\n<code>\n\nx</code>"));
    }
}
