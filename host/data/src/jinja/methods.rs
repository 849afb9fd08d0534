//! Methods of Python's text, dictionaries and lists that templates call.

use super::wrong;
use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Tuple, ValueKind},
};
use minijinja_contrib::pycompat;

/// The most characters that a method pads a text to.
const WIDEST: usize = 1 << 20;

/// Calls a method of a value: one of those here, else one of minijinja's own collection of them.
pub(super) fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => of_text(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Map if method == "copy" && args.is_empty() => Some(value.clone()),
        ValueKind::Seq => of_list(value, method, args)?,
        ValueKind::Number => of_number(value, method)?,
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let arg = |at: usize| args.get(at).and_then(Value::as_str);
    let needed = |at: usize| {
        arg(at).ok_or_else(|| Error::new(ErrorKind::MissingArgument, format!("str.{method} takes a text")))
    };
    let result = match (method, args.len()) {
        ("swapcase", 0) => Value::from(text.chars().map(swapped).collect::<String>()),
        // Full case folding differs from lower case in this letter alone, where a template can meet it.
        ("casefold", 0) => Value::from(text.to_lowercase().replace('ß', "ss")),
        ("removeprefix", 1) => Value::from(text.strip_prefix(needed(0)?).unwrap_or(text)),
        ("removesuffix", 1) => Value::from(text.strip_suffix(needed(0)?).unwrap_or(text)),
        ("partition", 1) => parted(text.split_once(separator(needed(0)?)?), needed(0)?, (text, "", "")),
        ("rpartition", 1) => parted(text.rsplit_once(separator(needed(0)?)?), needed(0)?, ("", "", text)),
        ("rsplit", 0..=2) => rsplit(text, arg(0), args.get(1))?,
        ("find" | "rfind" | "index" | "rindex", 1..=3) => {
            let (slice, from) = bounded(text, &args[1..])?;
            let needle = needed(0)?;
            let at = if method.starts_with('r') { slice.rfind(needle) } else { slice.find(needle) };
            match at {
                Some(at) => Value::from(from + slice[..at].chars().count()),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(wrong(format!("str.{method}: the text is not found"))),
            }
        }
        ("count", 2..=3) => Value::from(bounded(text, &args[1..])?.0.matches(needed(0)?).count()),
        ("startswith" | "endswith", 2..=3) => {
            let (slice, _) = bounded(text, &args[1..])?;
            let options: Vec<Value> = match args[0].as_str() {
                Some(_) => vec![args[0].clone()],
                None => args[0].try_iter()?.collect(),
            };
            let fits = |option: &Value| {
                option.as_str().is_some_and(|option| {
                    if method == "startswith" { slice.starts_with(option) } else { slice.ends_with(option) }
                })
            };
            Value::from(options.iter().any(fits))
        }
        ("center" | "ljust" | "rjust", 1..=2) => {
            let side = match method {
                "center" => Side::Both,
                "ljust" => Side::Right,
                _ => Side::Left,
            };
            let fill = arg(1).and_then(|fill| fill.chars().next()).unwrap_or(' ');
            Value::from(justified(text, size(&args[0])?, fill, side)?)
        }
        ("zfill", 1) => {
            let (sign, digits) = match text.chars().next() {
                Some('+' | '-') => text.split_at(1),
                _ => ("", text),
            };
            let width = size(&args[0])?.saturating_sub(sign.len());
            Value::from(format!("{sign}{}", justified(digits, width, '0', Side::Left)?))
        }
        ("istitle", 0) => Value::from(is_title(text)),
        ("isdecimal", 0) => Value::from(!text.is_empty() && text.chars().all(char::is_numeric)),
        ("isidentifier", 0) => {
            let mut chars = text.chars();
            let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
            Value::from(first && chars.all(|c| c.is_alphanumeric() || c == '_'))
        }
        ("isprintable", 0) => Value::from(!text.chars().any(char::is_control)),
        ("expandtabs", 0..=1) => Value::from(expanded(text, args.first().map_or(Ok(8), size)?)),
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn of_list(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match (method, args) {
        ("copy", []) => Ok(Some(list.clone())),
        ("index", [wanted]) => match list.try_iter()?.position(|item| item == *wanted) {
            Some(at) => Ok(Some(Value::from(at))),
            None => Err(wrong("list.index: the value is not in the list")),
        },
        _ => Ok(None),
    }
}

fn of_number(number: &Value, method: &str) -> Result<Option<Value>, Error> {
    Ok(match method {
        "is_integer" => Some(Value::from(f64::try_from(number.clone())?.fract() == 0.0)),
        "bit_length" if number.is_integer() => {
            let bits = i64::try_from(number.clone())?.unsigned_abs();
            Some(Value::from(u64::BITS - bits.leading_zeros()))
        }
        _ => None,
    })
}

/// Which side of a text is filled.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Right,
    Both,
}

/// A text filled to so many characters.
pub(super) fn justified(text: &str, width: usize, fill: char, side: Side) -> Result<String, Error> {
    if width > WIDEST {
        return Err(wrong(format!("a text of {width} characters is too wide; {WIDEST} is the most")));
    }
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // CPython puts the odd one on the left where the width is odd.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(format!("{}{text}{}", fill(left), fill(missing - left)))
}

fn size(value: &Value) -> Result<usize, Error> {
    Ok(usize::try_from(i64::try_from(value.clone())?.max(0)).unwrap_or(usize::MAX))
}

fn separator(text: &str) -> Result<&str, Error> {
    if text.is_empty() { Err(wrong("the separator is empty")) } else { Ok(text) }
}

fn parted(found: Option<(&str, &str)>, separator: &str, else_: (&str, &str, &str)) -> Value {
    let (a, b, c) = found.map_or(else_, |(before, after)| (before, separator, after));
    Value::from_object(Tuple::from(vec![Value::from(a), Value::from(b), Value::from(c)]))
}

fn rsplit(text: &str, by: Option<&str>, most: Option<&Value>) -> Result<Value, Error> {
    let most = most.map(|most| i64::try_from(most.clone())).transpose()?;
    let parts =
        most.and_then(|most| usize::try_from(most).ok()).map_or(usize::MAX, |most| most.saturating_add(1));
    let mut found: Vec<String> = match by {
        Some(by) => text.rsplitn(parts, separator(by)?).map(str::to_owned).collect(),
        None => {
            let mut found = Vec::new();
            let mut rest = text.trim();
            while found.len() + 1 < parts
                && let Some((before, last)) = rest.rsplit_once(char::is_whitespace)
            {
                found.push(last.to_owned());
                rest = before.trim_end();
            }
            found.extend((!rest.is_empty()).then(|| rest.to_owned()));
            found
        }
    };
    found.reverse();
    Ok(Value::from(found))
}

/// The part of a text between two places that are counted in characters, from the end where they are negative; and
/// where it begins.
fn bounded<'a>(text: &'a str, bounds: &[Value]) -> Result<(&'a str, usize), Error> {
    let length = text.chars().count();
    let place = |at: usize, default: usize| -> Result<usize, Error> {
        let Some(bound) = bounds.get(at).filter(|bound| !bound.is_none()) else { return Ok(default) };
        let bound = i64::try_from(bound.clone())?;
        let from_end = length.saturating_sub(usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX));
        Ok(if bound < 0 { from_end } else { usize::try_from(bound).unwrap_or(usize::MAX).min(length) })
    };
    let (begin, end) = (place(0, 0)?, place(1, length)?);
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    Ok((&text[byte(begin)..byte(end.max(begin))], begin))
}

fn swapped(c: char) -> String {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// Whether upper case stands at the beginning of words, and there alone.
fn is_title(text: &str) -> bool {
    let (mut within, mut any) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() == within && c.is_alphabetic() {
            return false;
        }
        any |= c.is_alphabetic();
        within = c.is_alphabetic();
    }
    any
}

fn expanded(text: &str, size: usize) -> String {
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let spaces = size.min(WIDEST) - column % size.min(WIDEST);
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\t' => {}
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}
