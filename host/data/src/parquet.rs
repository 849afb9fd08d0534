//! Rows of Parquet files, each a line of JSON.

use ::parquet::record::{Field, Row};
use serde::{Serialize, Serializer};

/// A row as a line of JSON, its columns in order. Text in a binary column is text; other bytes are null.
pub(super) fn line(row: &Row) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Columns(row))?;
    line.push(b'\n');
    Ok(line)
}

struct Columns<'a>(&'a Row);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.get_column_iter().map(|(name, field)| (name, Value(field))))
    }
}

struct Value<'a>(&'a Field);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Field::Str(text) => serializer.serialize_str(text),
            Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok().serialize(serializer),
            Field::Group(row) => Columns(row).serialize(serializer),
            Field::ListInternal(list) => serializer.collect_seq(list.elements().iter().map(Value)),
            Field::MapInternal(map) => {
                let name = |key: &Field| match key {
                    Field::Str(text) => text.clone(),
                    other => other.to_string(),
                };
                serializer.collect_map(map.entries().iter().map(|(key, value)| (name(key), Value(value))))
            }
            plain => plain.to_json_value().serialize(serializer),
        }
    }
}
