//! Python's `json.dumps`, which the usual filter differs from: it escapes for HTML and leaves out spaces.

use super::{functions::option, wrong};
use minijinja::{
    Error, Value,
    value::{Kwargs, Rest, ValueKind},
};
use std::fmt::Write as _;

/// How deep values may stand in one another.
const DEPTH: usize = 128;

/// How JSON is written.
struct Style {
    ascii: bool,
    /// The indentation of a level; none writes one line.
    indent: Option<String>,
    /// Between items, and between a key and its value.
    separators: (String, String),
    sorted: bool,
}

/// The `tojson` of transformers: `ensure_ascii`, `indent`, `separators` and `sort_keys`, by name or in this order.
pub(super) fn filter(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let option = |at, name| {
        let given = option(&args, &kwargs, at, name)?;
        Ok::<_, Error>(given.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = option(1, "indent")?;
    let indent = indent.map(|indent| match indent.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => usize::try_from(indent).map(|spaces| " ".repeat(spaces.min(1000))),
    });
    let indent = indent.transpose()?;
    let separators = match option(2, "separators")? {
        Some(pair) => {
            let pair =
                pair.try_iter()?.map(|part| part.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            match pair.as_deref() {
                Some([item, key]) => (item.clone(), key.clone()),
                _ => return Err(wrong("tojson: `separators` are two texts")),
            }
        }
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let style = Style {
        ascii: flag(option(0, "ensure_ascii")?),
        indent,
        separators,
        sorted: flag(option(3, "sort_keys")?),
    };
    if args.len() > 4 {
        return Err(wrong("tojson takes four options"));
    }
    kwargs.assert_all_used()?;
    let mut out = String::new();
    write(&mut out, value, &style, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    if depth > DEPTH {
        return Err(wrong(format!("tojson: values stand more than {DEPTH} deep in one another")));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(match number(value)?.as_str() {
            "nan" => "NaN",
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            finite => finite,
        }),
        ValueKind::String => text(out, value.as_str().unwrap_or_default(), style.ascii),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<_> = value.try_iter()?.collect();
            level(out, ('[', ']'), &items, style, depth, |out, item| write(out, item, style, depth + 1))?;
        }
        ValueKind::Map => {
            let mut keys: Vec<_> = value.try_iter()?.collect();
            if style.sorted {
                keys.sort();
            }
            level(out, ('{', '}'), &keys, style, depth, |out, key| {
                match key.as_str() {
                    Some(name) => text(out, name, style.ascii),
                    None => {
                        out.push('"');
                        write(out, key, style, DEPTH)?;
                        out.push('"');
                    }
                }
                out.push_str(&style.separators.1);
                write(out, &value.get_item(key)?, style, depth + 1)
            })?;
        }
        other => return Err(wrong(format!("tojson: a value of the kind {other} is not JSON"))),
    }
    Ok(())
}

/// A list or an object, of parts that `each` writes.
fn level(
    out: &mut String,
    (open, close): (char, char),
    parts: &[Value],
    style: &Style,
    depth: usize,
    mut each: impl FnMut(&mut String, &Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push_str(&style.separators.0);
        }
        line(out, depth + 1);
        each(out, part)?;
    }
    if !parts.is_empty() {
        line(out, depth);
    }
    out.push(close);
    Ok(())
}

fn text(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to text does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as Python writes it: exponents from 1e16 and below 1e-4.
pub(super) fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let x = f64::try_from(value.clone())?;
    if !x.is_finite() {
        let name = if x.is_nan() {
            "nan"
        } else if x > 0.0 {
            "inf"
        } else {
            "-inf"
        };
        return Ok(name.to_owned());
    }
    if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
        return Ok(format!("{x:?}"));
    }
    let (mantissa, exponent) = match format!("{x:e}").split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.to_owned()),
        None => return Ok(x.to_string()),
    };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent.as_str()), |digits| ('-', digits));
    Ok(format!("{mantissa}e{sign}{digits:0>2}"))
}
