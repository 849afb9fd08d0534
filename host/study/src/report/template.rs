//! The page's templates: their environment, and the escaping of everything that they print.

use minijinja::{
    AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value, escape_formatter,
    syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;
use std::fmt::{self, Display, Write};

macro_rules! templates {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("templates/", $name)))),*] };
}

/// Every template by its name, which the others include it by.
const TEMPLATES: [(&str, &str); 15] = templates! {
    "cells.html" "data.html" "figures.html" "groups.html" "heat_maps.html" "missing.html" "page.html" "parts.html"
    "predictions.html" "retention.html" "scores.html" "settings.html" "symbols.html" "undecided.html" "verdict.html"
};

const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/script.js");

/// The page of some data, which the templates call `page`.
///
/// # Errors
/// A template that does not fit the data.
pub(super) fn render(page: &impl Serialize) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?,
    );
    // A misspelt name is an error; a key that one of several things lacks can still be asked for.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_formatter(escaped);
    environment.add_filter("fixed", |value: f64, decimals: usize| format!("{value:.decimals$}"));
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let page = Value::from(Serde(page));
    environment.get_template("page.html")?.render(minijinja::context! {
        page => page, style => STYLE, script => SCRIPT
    })
}

/// Prints a value; text that is not markup of ours is escaped.
fn escaped(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() && *state.auto_escape() == AutoEscape::Html => {
            write!(out, "{}", Escaped(text)).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Text that is escaped when it is written, for element content and for quoted attributes alike.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                '\n' | '\t' => formatter.write_char(character)?,
                // HTML has no control characters; their pictures are shown, as models do write them.
                '\0'..='\x1f' => {
                    formatter
                        .write_char(char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'))?;
                }
                '\x7f'..='\u{9f}' => formatter.write_char('\u{fffd}')?,
                // Noncharacters are a parse error, and controls of writing direction would reorder what follows.
                '\u{fdd0}'..='\u{fdef}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    formatter.write_char('\u{fffd}')?;
                }
                _ if u32::from(character) & 0xfffe == 0xfffe => formatter.write_char('\u{fffd}')?,
                _ => formatter.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_in_content_and_attributes() {
        let nasty = "</script><img src=x onerror=\"alert('1')\">&amp;";
        assert_eq!(
            Escaped(nasty).to_string(),
            "&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;amp;"
        );
    }

    #[test]
    fn control_characters_become_pictures() {
        assert_eq!(Escaped("a\0b\u{1b}[1m\tc\nd\r\u{9d}").to_string(), "a␀b␛[1m\tc\nd␍\u{fffd}");
        assert_eq!(Escaped("\u{202e}\u{ffff}\u{1fffe}é漢🦀").to_string(), "\u{fffd}\u{fffd}\u{fffd}é漢🦀");
    }
}
