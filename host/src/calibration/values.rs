//! From the values of a row's fields to what a record is made of.

use super::{Message, Record, fields::Field, json::Json};

/// What is wrong with the value of a field, and what it is.
pub(super) enum Wrong {
    Type(Field, String),
    Blank(Field, String),
}

fn that_is(field: Field, value: &Json) -> Wrong {
    Wrong::Type(field, format!("that is {}", value.kind()))
}

pub(super) fn string(field: Field, value: Json) -> Result<String, Wrong> {
    match value {
        Json::String(text) => Ok(text.into_owned()),
        other => Err(that_is(field, &other)),
    }
}

pub(super) fn optional_string(field: Field, value: Json) -> Result<String, Wrong> {
    if value == Json::Null { Ok(String::new()) } else { string(field, value) }
}

/// A string, or a list of some.
pub(super) fn strings(field: Field, value: Json) -> Result<Vec<String>, Wrong> {
    match value {
        Json::List(items) if items.is_empty() => Err(Wrong::Type(field, "that is an empty list".to_owned())),
        Json::List(items) => items
            .into_iter()
            .map(|item| match item {
                Json::String(text) => Ok(text.into_owned()),
                other => Err(Wrong::Type(field, format!("with {} in its list", other.kind()))),
            })
            .collect(),
        other => Ok(vec![string(field, other)?]),
    }
}

/// A text in which something can be seen.
pub(super) fn visible(field: Field, text: String) -> Result<String, Wrong> {
    if text.trim().is_empty() { Err(Wrong::Blank(field, "that is empty".to_owned())) } else { Ok(text) }
}

/// Unnatural Instructions: a record for each instance. Constraints on the answer end the instruction, as a
/// line of their own.
pub(super) fn instances(instruction: Json, instances: Json) -> Result<Vec<Record>, Wrong> {
    let instruction = visible(Field::Instruction, string(Field::Instruction, instruction)?)?;
    let Json::List(items) = instances else { return Err(that_is(Field::Instances, &instances)) };
    if items.is_empty() {
        return Err(Wrong::Blank(Field::Instances, "that is an empty list".to_owned()));
    }
    let wrong = |key: &str, kind: String| {
        Wrong::Type(Field::Instances, format!("of which one has {kind} as its `{key}`"))
    };
    let text = |item: &Json, key: &str| match item.get(key) {
        Some(Json::String(text)) => Ok(Some(text.to_string())),
        None | Some(Json::Null) => Ok(None),
        Some(other) => Err(wrong(key, other.kind())),
    };
    let record = |item: Json| {
        if !matches!(item, Json::Object(_)) {
            return Err(Wrong::Type(Field::Instances, format!("of which one is {}", item.kind())));
        }
        let output = text(&item, "output")?.ok_or_else(|| wrong("output", "nothing".to_owned()))?;
        let constraints = text(&item, "constraints")?
            .filter(|text| !matches!(text.trim().trim_end_matches('.'), "" | "None" | "none"));
        let instruction = match constraints {
            Some(constraints) => format!("{instruction}\n{}", constraints.trim()),
            None => instruction.clone(),
        };
        let input = text(&item, "input")?.unwrap_or_default();
        Ok(Record::Instruction { instruction, input, outputs: vec![output] })
    };
    items.into_iter().map(record).collect()
}

/// A conversation: `role` and `content`, or ShareGPT's `from` and `value`.
pub(super) fn messages(value: Json) -> Result<Vec<Message>, Wrong> {
    let Json::List(items) = value else { return Err(that_is(Field::Messages, &value)) };
    let read = |item: &Json| {
        let role = item.get("role").or_else(|| item.get("from")).and_then(Json::as_str)?;
        let role = match role {
            "human" => "user",
            "gpt" | "bot" | "model" => "assistant",
            other => other,
        };
        let content = match item.get("content").or_else(|| item.get("value"))? {
            Json::String(text) => text.to_string(),
            Json::List(parts) => parts
                .iter()
                .map(|part| part.get("text").and_then(Json::as_str))
                .collect::<Option<String>>()?,
            _ => return None,
        };
        Some(Message::new(role, content))
    };
    let messages: Option<Vec<_>> = items.iter().map(read).collect();
    let messages = messages.ok_or_else(|| {
        Wrong::Type(Field::Messages, "with a message that lacks one of the two, or its text".to_owned())
    })?;
    if messages.iter().all(|message| message.content.trim().is_empty()) {
        return Err(Wrong::Blank(Field::Messages, "that say nothing".to_owned()));
    }
    Ok(messages)
}

/// Token numbers, masked ones dropped.
pub(super) fn tokens(input_ids: Json, mask: Json) -> Result<Vec<u32>, Wrong> {
    let number = |field: Field, item: &Json| {
        match item {
            Json::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        }
        .ok_or_else(|| Wrong::Type(field, format!("with {} in its list", item.kind())))
    };
    let list = |field: Field, value: Json| match value {
        Json::List(items) => items.iter().map(|item| number(field, item)).collect::<Result<Vec<_>, _>>(),
        other => Err(that_is(field, &other)),
    };
    let mut tokens = list(Field::InputIds, input_ids)?;
    if mask != Json::Null {
        let mask = list(Field::AttentionMask, mask)?;
        if mask.len() != tokens.len() {
            let found = format!("of {}, but {} tokens", mask.len(), tokens.len());
            return Err(Wrong::Type(Field::AttentionMask, found));
        }
        if let Some(other) = mask.iter().find(|&&bit| bit > 1) {
            return Err(Wrong::Type(Field::AttentionMask, format!("with {other} in its list")));
        }
        let mut kept = mask.iter().map(|&bit| bit == 1);
        tokens.retain(|_| kept.next().unwrap_or(false));
    }
    if tokens.is_empty() {
        return Err(Wrong::Blank(Field::InputIds, "without tokens".to_owned()));
    }
    Ok(tokens)
}
