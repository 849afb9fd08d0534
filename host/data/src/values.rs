//! From the values of a row's fields to what a record is made of.

use super::{Message, Record, Tokens, fields::Field, json::Json, record::Conversation};
use serde_json::Number;

/// An invalid value of a field.
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
        let system = String::new();
        Ok(Record::Instruction { system, instruction, input, outputs: vec![output] })
    };
    items.into_iter().map(record).collect()
}

/// A conversation: `role` and `content`, or ShareGPT's `from` and `value`; with the row's `tools`, and its `system` as
/// the first message where there is none.
pub(super) fn conversation(messages: Json, tools: Json, system: Json) -> Result<Conversation, Wrong> {
    let parsed = match &messages {
        // The text of a list, as tables of columns hold it.
        Json::String(text) => serde_json::from_str::<Json>(text).ok().map(Json::into_owned),
        _ => None,
    };
    let items = match (parsed, messages) {
        (Some(Json::List(items)), _) | (None, Json::List(items)) => items,
        (_, other) => return Err(that_is(Field::Messages, &other)),
    };
    let mut messages = Vec::with_capacity(items.len() + 1);
    for item in items {
        messages.push(message(item)?);
    }
    if messages.iter().all(|message| message.is_empty()) {
        return Err(Wrong::Blank(Field::Messages, "that say nothing".to_owned()));
    }
    let system = optional_string(Field::System, system)?;
    if !system.is_empty() && messages.first().is_none_or(|first| first.role != "system") {
        messages.insert(0, Message::new("system", system));
    }
    Ok(Conversation { messages, tools: list_of_tools(tools)? })
}

/// A conversation that is parted into a prompt and its completion, each a list of messages.
pub(super) fn turns(prompt: Json, completion: Json) -> Result<Conversation, Wrong> {
    match (prompt, completion) {
        (Json::List(mut messages), Json::List(answer)) => {
            messages.extend(answer);
            conversation(Json::List(messages), Json::Null, Json::Null)
        }
        (Json::List(_), other) => Err(Wrong::Type(
            Field::Completion,
            format!("that is {}, behind a list of messages", other.kind()),
        )),
        (other, _) => Err(that_is(Field::Prefix, &other)),
    }
}

/// Tools: a list of objects, or the text of one, as tables of columns hold it.
fn list_of_tools(tools: Json) -> Result<Json<'static>, Wrong> {
    let tools = match &tools {
        Json::String(text) if text.trim().is_empty() => Json::Null,
        Json::String(text) => match serde_json::from_str::<Json>(text) {
            Ok(tools) => tools.into_owned(),
            Err(_) => return Err(Wrong::Type(Field::Tools, "that is a string, but not of JSON".to_owned())),
        },
        _ => tools.into_owned(),
    };
    match &tools {
        Json::Null => Ok(tools),
        Json::List(items) if items.is_empty() => Ok(Json::Null),
        Json::List(items) => match items.iter().find(|item| !matches!(item, Json::Object(_))) {
            Some(other) => Err(Wrong::Type(Field::Tools, format!("with {} in its list", other.kind()))),
            None => Ok(tools),
        },
        other => Err(that_is(Field::Tools, other)),
    }
}

/// The names that reasoning is given by; the first is the one that templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A message with all that stands in it. As transformers does, what is null is taken for absent, and reasoning is passed
/// on by the names that templates know. Of content in parts, the text is taken.
fn message(item: Json) -> Result<Message, Wrong> {
    let wrong = |found: &str| Wrong::Type(Field::Messages, found.to_owned());
    let Json::Object(pairs) = item else {
        return Err(wrong(&format!("with {} in its list", item.kind())));
    };
    let named = |key: &str| pairs.iter().any(|(name, _)| name == key);
    let (role_key, content_key) =
        (if named("role") { "role" } else { "from" }, if named("content") { "content" } else { "value" });
    let (mut role, mut content) = (None, None);
    let mut object: Vec<(String, Json<'static>)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let value = match &*key {
            _ if value == Json::Null => continue,
            key if key == role_key => {
                let Json::String(name) = &value else {
                    return Err(wrong("with a role that is not a string"));
                };
                let name = match &**name {
                    "human" => "user",
                    "gpt" | "bot" | "model" => "assistant",
                    other => other,
                };
                role = Some(name.to_owned());
                ("role".to_owned(), Json::String(name.to_owned().into()))
            }
            key if key == content_key => {
                let text = text_of(&value).ok_or_else(|| wrong("with content that is not text"))?;
                content = Some(text.clone());
                ("content".to_owned(), Json::String(text.into()))
            }
            key => (key.to_owned(), value.into_owned()),
        };
        object.retain(|(key, _)| *key != value.0);
        object.push(value);
    }
    let reasoning = REASONING.iter().find_map(|name| object.iter().find(|(key, _)| key == name));
    if let Some((_, reasoning)) = reasoning.cloned() {
        object.retain(|(key, _)| key != REASONING[0]);
        if object.iter().all(|(key, _)| key != REASONING[1]) {
            object.insert(0, (REASONING[1].to_owned(), reasoning.clone()));
        }
        object.push((REASONING[0].to_owned(), reasoning));
    }
    let role = role.ok_or_else(|| wrong("with a message without a role"))?;
    if content.is_none() && object.len() < 2 {
        return Err(wrong("with a message that lacks its text"));
    }
    Ok(Message::of(role, content.unwrap_or_default(), object))
}

/// The text of content: a string, or parts that all are text.
fn text_of(content: &Json) -> Option<String> {
    match content {
        Json::String(text) => Some(text.to_string()),
        Json::List(parts) => {
            parts.iter().map(|part| part.as_str().or_else(|| part.get("text")?.as_str())).collect()
        }
        _ => None,
    }
}

/// A window of tokens, without those that its attention mask leaves out.
pub(super) fn tokens(input_ids: Json, attention_mask: Json, loss_mask: Json) -> Result<Tokens, Wrong> {
    let token = |number: &Number| number.as_u64().and_then(|number| u32::try_from(number).ok());
    let mut input_ids = list(Field::InputIds, input_ids, token)?;
    let attention_mask = mask(Field::AttentionMask, attention_mask, input_ids.len(), |number| {
        number.as_u64().filter(|&bit| bit <= 1)
    })?;
    let weight = |number: &Number| {
        number.as_f64().map(|weight| weight as f32).filter(|weight| weight.is_finite() && *weight >= 0.0)
    };
    let mut loss_mask = mask(Field::LossMask, loss_mask, input_ids.len(), weight)?;
    if !attention_mask.is_empty() {
        let mut kept = attention_mask.iter().map(|&bit| bit == 1);
        input_ids.retain(|_| kept.next().unwrap_or(false));
        let mut kept = attention_mask.iter().map(|&bit| bit == 1);
        loss_mask.retain(|_| kept.next().unwrap_or(false));
    }
    if input_ids.is_empty() {
        return Err(Wrong::Blank(Field::InputIds, "without tokens".to_owned()));
    }
    Ok(Tokens { input_ids, loss_mask })
}

/// A number for each of `tokens` tokens, if there are any.
fn mask<T>(
    field: Field,
    value: Json,
    tokens: usize,
    read: impl Fn(&Number) -> Option<T>,
) -> Result<Vec<T>, Wrong> {
    if value == Json::Null {
        return Ok(Vec::new());
    }
    let mask = list(field, value, read)?;
    if mask.len() != tokens {
        return Err(Wrong::Type(field, format!("of {}, but {tokens} tokens", mask.len())));
    }
    Ok(mask)
}

fn list<T>(field: Field, value: Json, read: impl Fn(&Number) -> Option<T>) -> Result<Vec<T>, Wrong> {
    let number = |item: &Json| {
        let read = if let Json::Number(number) = item { read(number) } else { None };
        read.ok_or_else(|| Wrong::Type(field, format!("with {} in its list", item.kind())))
    };
    match value {
        Json::List(items) => items.iter().map(number).collect(),
        other => Err(that_is(field, &other)),
    }
}
