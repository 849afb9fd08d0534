//! Functions, tests and filters that jinja2 or transformers have and minijinja has not.

use super::{methods, wrong};
use chrono::NaiveDate;
use minijinja::{
    Environment, Error, State, Value,
    value::{Kwargs, Rest, ValueKind},
};
use std::fmt::Write as _;

/// The day that `strftime_now` tells, so that the same command keeps giving the same bytes: the one that LLaMA 3.2's
/// template falls back to.
const TODAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2024, 7, 26);

pub(super) fn add(environment: &mut Environment<'static>) {
    environment
        .add_function("raise_exception", |message: String| -> Result<(), Error> { Err(wrong(message)) });
    environment.add_function("strftime_now", strftime_now);
    environment.add_test("callable", |value: &Value| {
        value.as_object().is_some() && value.kind() == ValueKind::Plain && value.try_iter().is_err()
    });
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
    environment.add_filter("center", |text: &str, width: Option<usize>| {
        methods::justified(text, width.unwrap_or(80), ' ', methods::Side::Both)
    });
    environment.add_filter("wordcount", |text: &str| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count()
    });
    environment.add_filter("indent", indent);
    environment.add_filter("truncate", truncate);
    // jinja2 has no such filter; a template that asks for it is refused there, too.
    environment.remove_filter("split");
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("int", int);
}

/// An option of a filter that is given by its place or by its name.
pub(super) fn option(args: &[Value], kwargs: &Kwargs, at: usize, name: &str) -> Result<Option<Value>, Error> {
    match args.get(at) {
        Some(value) => Ok(Some(value.clone())),
        None => kwargs.get(name),
    }
}

/// The time of a fixed day at midnight, as C's `strftime` writes it.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut text = String::new();
    let today = TODAY.and_then(|day| day.and_hms_opt(0, 0, 0)).unwrap_or_default();
    write!(text, "{}", today.format(format))
        .map_err(|_| wrong(format!("`{format}` is not a format of dates")))?;
    Ok(text)
}

/// Python's `%`: a remainder, or text with values put into it.
pub(super) fn modulo(state: &mut State, left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(format) = left.as_str() {
        check_widths(format)?;
        let mut args = vec![left.clone()];
        if right.is_tuple() {
            args.extend(right.try_iter()?);
        } else {
            args.push(right.clone());
        }
        return state.apply_filter("format", &args);
    }
    let zero = || wrong("division by zero");
    if let (true, true, Ok(a), Ok(b)) =
        (left.is_integer(), right.is_integer(), i64::try_from(left.clone()), i64::try_from(right.clone()))
    {
        let remainder = a.checked_rem_euclid(b).ok_or_else(zero)?;
        // Python's remainder has the sign of the divisor.
        return Ok(Value::from(if b < 0 && remainder != 0 { remainder + b } else { remainder }));
    }
    let number = |value: &Value| {
        f64::try_from(value.clone())
            .map_err(|_| wrong(format!("`%` takes numbers, or text and values, not {}", value.kind())))
    };
    let (a, b) = (number(left)?, number(right)?);
    if b == 0.0 {
        return Err(zero());
    }
    Ok(Value::from(a - b * (a / b).floor()))
}

/// Refuses a format that fills values to a width beyond reason.
fn check_widths(format: &str) -> Result<(), Error> {
    let is_digits = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | ' ' | '#' | '.');
    for spec in format.split('%').skip(1) {
        let widths = &spec[..spec.find(|c| !is_digits(c)).unwrap_or(spec.len())];
        if widths.split('.').any(|width| width.len() > 6) {
            return Err(wrong(format!("`%{widths}` fills a value to a width beyond reason")));
        }
    }
    Ok(())
}

/// The whole number in a value, or the default (0 if not given).
fn int(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let default = option(&args, &kwargs, 0, "default")?.unwrap_or_else(|| Value::from(0));
    let base = option(&args, &kwargs, 1, "base")?.map_or(Ok(10), u32::try_from)?;
    kwargs.assert_all_used()?;
    if !(2..=36).contains(&base) {
        return Err(wrong(format!("a base of {base} is not possible")));
    }
    let Some(text) = value.as_str() else {
        let number = i64::try_from(value.clone()).ok();
        let cut = || f64::try_from(value.clone()).ok().filter(|x| x.is_finite()).map(|x| x as i64);
        return Ok(number.or_else(cut).map_or(default, Value::from));
    };
    let text = text.trim();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let marks = [(16, "0x"), (16, "0X"), (8, "0o"), (8, "0O"), (2, "0b"), (2, "0B")];
    let mark = marks.into_iter().find(|(of, mark)| *of == base && digits.starts_with(mark));
    let digits = mark.map_or(digits, |(_, mark)| &digits[mark.len()..]);
    let whole = i64::from_str_radix(&digits.replace('_', ""), base).ok().map(|whole| sign * whole);
    let cut = || text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x as i64);
    Ok(whole.or_else(cut).map_or(default, Value::from))
}

/// The lines of a text behind spaces, or behind another text: all but the first, and not empty ones, unless it is said.
fn indent(text: &str, args: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let option = |at, name| option(&args, &kwargs, at, name);
    let width = option(0, "width")?.unwrap_or_else(|| Value::from(4));
    let flag = |value: Option<Value>| value.is_some_and(|flag| flag.is_true());
    let (first, blank) = (flag(option(1, "first")?), flag(option(2, "blank")?));
    kwargs.assert_all_used()?;
    let before = match width.as_str() {
        Some(before) => before.to_owned(),
        None => " ".repeat(usize::try_from(width)?.min(1000)),
    };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let indented = |(number, line): (usize, &str)| {
        let skipped = if number == 0 { !first } else { line.is_empty() && !blank };
        if skipped { line.to_owned() } else { format!("{before}{line}") }
    };
    Ok(text.split('\n').enumerate().map(indented).collect::<Vec<_>>().join("\n"))
}

/// The first characters of a text, whole words where `killwords` is not set, with `end` behind them; a text that is only
/// `leeway` longer stays as it is.
fn truncate(text: &str, args: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let option = |at, name| option(&args, &kwargs, at, name);
    let size = |value: Option<Value>, default: usize| value.map_or(Ok(default), usize::try_from);
    let (length, leeway) = (size(option(0, "length")?, 255)?, size(option(3, "leeway")?, 5)?);
    let whole = !option(1, "killwords")?.is_some_and(|flag| flag.is_true());
    let end = option(2, "end")?.map_or_else(|| "...".to_owned(), |end| end.to_string());
    kwargs.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let short: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let short = if whole { short.rsplit_once(' ').map_or(&*short, |(words, _)| words) } else { &short };
    Ok(format!("{short}{end}"))
}

fn urlencode(value: &Value) -> Result<String, Error> {
    let quoted = |text: &str| {
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    out.push(byte.into())
                }
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if value.kind() != ValueKind::Map {
        return Ok(quoted(&text(value)));
    }
    let mut pairs = Vec::new();
    for key in value.try_iter()? {
        pairs.push(format!("{}={}", quoted(&text(&key)), quoted(&text(&value.get_item(&key)?))));
    }
    Ok(pairs.join("&"))
}
