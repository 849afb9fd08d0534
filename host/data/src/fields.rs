//! The fields of a row, and the keys they are found under.

use super::CalibrationError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The meaning of a row's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Text,
    Prefix,
    Completion,
    Instruction,
    Input,
    Output,
    Instances,
    Messages,
    Tools,
    System,
    InputIds,
    AttentionMask,
    LossMask,
}

impl Field {
    pub(super) const ALL: [Self; 13] = [
        Self::Text,
        Self::Prefix,
        Self::Completion,
        Self::Instruction,
        Self::Input,
        Self::Output,
        Self::Instances,
        Self::Messages,
        Self::Tools,
        Self::System,
        Self::InputIds,
        Self::AttentionMask,
        Self::LossMask,
    ];

    /// Its default keys, in order of precedence.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["text"],
            Self::Prefix => &["prefix", "prompt"],
            Self::Completion => &["completion", "gold_completion"],
            Self::Instruction => &["instruction", "question"],
            Self::Input => &["input", "context"],
            Self::Output => &["output", "response", "answer"],
            Self::Instances => &["instances"],
            Self::Messages => &["messages", "conversations"],
            Self::Tools => &["tools"],
            Self::System => &["system", "system_prompt"],
            Self::InputIds => &["input_ids"],
            Self::AttentionMask => &["attention_mask"],
            Self::LossMask => &["loss_mask"],
        }
    }

    /// The expected value, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Prefix | Self::Instruction | Self::Input | Self::System => "a string",
            Self::Completion | Self::Output => "a string or a list of strings",
            Self::Instances => "a list of objects with `input` and `output`",
            Self::Messages => "a list of objects with `role` and `content`, or `from` and `value`",
            Self::Tools => "a list of objects",
            Self::InputIds => "a list of token numbers",
            Self::AttentionMask => "a list of 0 and 1, as long",
            Self::LossMask => "a list of numbers that are not negative, as long",
        }
    }

    fn name(self) -> &'static str {
        self.names()[0]
    }
}

/// The keys of rows that name their fields in their own way: `text=body`, or `instruction=q,output=a`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fields(Vec<(Field, String)>);

impl Fields {
    /// The key of a field, if one was given.
    pub(super) fn key(&self, field: Field) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == field).map(|(_, key)| key.as_str())
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.0.iter().map(|(field, _)| *field)
    }
}

impl FromStr for Fields {
    type Err = CalibrationError;

    fn from_str(text: &str) -> Result<Self, CalibrationError> {
        let wrong = |problem: String| CalibrationError::Fields { text: text.to_owned(), problem };
        let mut fields = Vec::new();
        for part in text.split(',') {
            let (name, key) = part
                .split_once('=')
                .map(|(name, key)| (name.trim(), key.trim()))
                .filter(|(_, key)| !key.is_empty())
                .ok_or_else(|| wrong("write FIELD=KEY, with commas between".to_owned()))?;
            let field = Field::ALL.into_iter().find(|field| field.name() == name).ok_or_else(|| {
                let names = Field::ALL.map(Field::name).join(", ");
                wrong(format!("there is no field `{name}`; choose from {names}"))
            })?;
            if fields.iter().any(|(given, _)| *given == field) {
                return Err(wrong(format!("`{name}` is given twice")));
            }
            fields.push((field, key.to_owned()));
        }
        Ok(Self(fields))
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(field, key)| format!("{}={key}", field.name())).collect();
        f.write_str(&parts.join(","))
    }
}

impl TryFrom<String> for Fields {
    type Error = CalibrationError;

    fn try_from(text: String) -> Result<Self, CalibrationError> {
        text.parse()
    }
}

impl From<Fields> for String {
    fn from(fields: Fields) -> Self {
        fields.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_written() {
        let fields: Fields = "instruction=q, output=a".parse().unwrap();
        assert_eq!((fields.key(Field::Instruction), fields.key(Field::Text)), (Some("q"), None));
        assert_eq!(fields.to_string(), "instruction=q,output=a");
        for (text, words) in [
            ("", "write FIELD=KEY"),
            ("text", "write FIELD=KEY"),
            ("text=", "write FIELD=KEY"),
            ("body=text", "there is no field `body`; choose from text, prefix"),
            ("text=a,text=b", "`text` is given twice"),
        ] {
            let message = text.parse::<Fields>().unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
