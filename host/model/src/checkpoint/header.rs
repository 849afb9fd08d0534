//! The header of a safetensors file, checked more strictly than it need be to be read: every byte of the
//! file belongs to exactly one tensor.

use safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{IntoDeserializer, MapAccess, Visitor, value},
};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    ops::Range,
};

/// The longest header that is read, in bytes; as in the safetensors library.
const LONGEST_HEADER: u64 = 100_000_000;

/// One tensor of a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
    /// Where its bytes are in the file.
    pub range: Range<usize>,
}

/// The header of a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The file's free-form notes.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, in the order of their bytes.
    pub tensors: Vec<Entry>,
    /// Where the tensors' bytes begin: the length of all that stands before them.
    pub data_start: usize,
}

/// Why a file is not a safetensors file, or lies about itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not even the header's length is there.
    #[error("it has {0} bytes, fewer than any safetensors file; fetch it again")]
    TooShort(usize),
    /// A header that the file cannot hold.
    #[error(
        "its header claims {claimed} bytes, but only {left} follow; it is incomplete or no safetensors file"
    )]
    HeaderPastEnd {
        /// The size that the file claims.
        claimed: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// A header beyond all reason.
    #[error("its header claims {0} bytes, more than the {LONGEST_HEADER} that are read")]
    HeaderTooLong(u64),
    /// A header that is not JSON, or JSON of another shape.
    #[error("its header is malformed")]
    Json(#[source] serde_json::Error),
    /// A type this format does not know.
    #[error("tensor `{name}` has the unknown element type {dtype}")]
    UnknownType {
        /// The tensor.
        name: String,
        /// The header's value.
        dtype: String,
    },
    /// A tensor that ends before it begins, or past the end of the file.
    #[error("tensor `{name}` claims bytes {begin} to {end}, but the file holds {held}; it is incomplete")]
    PastEnd {
        /// The tensor.
        name: String,
        /// Its first byte.
        begin: u64,
        /// The byte after its last.
        end: u64,
        /// The bytes of all tensors.
        held: u64,
    },
    /// A shape and a type that do not make the number of bytes.
    #[error("tensor `{name}` of {dtype} {shape:?} claims {claimed} bytes, which its shape does not make")]
    Size {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<u64>,
        /// The bytes it claims.
        claimed: u64,
    },
    /// Two tensors that share bytes.
    #[error("tensors `{first}` and `{second}` overlap")]
    Overlap {
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
    },
    /// Bytes that no tensor owns.
    #[error("{bytes} bytes {place} belong to no tensor")]
    Unowned {
        /// How many.
        bytes: usize,
        /// Where.
        place: String,
    },
}

impl Header {
    /// Reads the header of a whole file's bytes.
    ///
    /// # Errors
    /// The bytes are no safetensors file, or its header does not account for every byte.
    pub fn parse(file: &[u8]) -> Result<Self, HeaderError> {
        let Some((length, rest)) = file.split_first_chunk::<8>() else {
            return Err(HeaderError::TooShort(file.len()));
        };
        let claimed = u64::from_le_bytes(*length);
        if claimed > rest.len() as u64 {
            return Err(HeaderError::HeaderPastEnd { claimed, left: rest.len() as u64 });
        }
        if claimed > LONGEST_HEADER {
            return Err(HeaderError::HeaderTooLong(claimed));
        }
        let (json, data) = rest.split_at(claimed as usize);
        Self::of_json(json, data.len())
    }

    /// The header of an open file, of which nothing else is read, and the bytes before its tensors.
    ///
    /// # Errors
    /// The file cannot be read; or, within, as [`parse`](Self::parse).
    pub(super) fn read(file: &File) -> io::Result<Result<(Self, Vec<u8>), HeaderError>> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut preamble = Vec::new();
        file.take(8).read_to_end(&mut preamble)?;
        let Some(claimed) = preamble.first_chunk::<8>().map(|word| u64::from_le_bytes(*word)) else {
            return Ok(Err(HeaderError::TooShort(preamble.len())));
        };
        let left = length.saturating_sub(8);
        if claimed > left as u64 {
            return Ok(Err(HeaderError::HeaderPastEnd { claimed, left: left as u64 }));
        }
        if claimed > LONGEST_HEADER {
            return Ok(Err(HeaderError::HeaderTooLong(claimed)));
        }
        file.take(claimed).read_to_end(&mut preamble)?;
        Ok(Self::of_json(&preamble[8..], length - preamble.len()).map(|header| (header, preamble)))
    }

    /// The header of a file of which only what stands before the tensors is given.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn of_preamble(preamble: &[u8]) -> Result<Self, HeaderError> {
        let Some((length, json)) = preamble.split_first_chunk::<8>() else {
            return Err(HeaderError::TooShort(preamble.len()));
        };
        let claimed = u64::from_le_bytes(*length);
        if claimed != json.len() as u64 {
            return Err(HeaderError::HeaderPastEnd { claimed, left: json.len() as u64 });
        }
        let raw: RawHeader = serde_json::from_slice(json).map_err(HeaderError::Json)?;
        let held = raw.tensors.values().map(|raw| raw.data_offsets[1]).max().unwrap_or(0);
        Self::of_json(json, usize::try_from(held).unwrap_or(usize::MAX / 2).min(usize::MAX / 2))
    }

    /// The header of this JSON, which `held` bytes follow.
    fn of_json(json: &[u8], held: usize) -> Result<Self, HeaderError> {
        let raw: RawHeader = serde_json::from_slice(json).map_err(HeaderError::Json)?;
        let data_start = 8 + json.len();
        let mut tensors = raw
            .tensors
            .into_iter()
            .map(|(name, raw)| entry(name, raw, data_start, held))
            .collect::<Result<Vec<_>, _>>()?;
        tensors.sort_by_key(|entry| (entry.range.start, entry.range.end));
        check_cover(&tensors, data_start, data_start + held)?;
        Ok(Self { metadata: raw.metadata, tensors, data_start })
    }
}

fn entry(name: String, raw: RawEntry, data_start: usize, held: usize) -> Result<Entry, HeaderError> {
    let dtype: &str = &raw.dtype;
    let Ok(dtype) = Dtype::deserialize(IntoDeserializer::<value::Error>::into_deserializer(dtype)) else {
        return Err(HeaderError::UnknownType { name, dtype: raw.dtype });
    };
    let [begin, end] = raw.data_offsets;
    if begin > end || end > held as u64 {
        return Err(HeaderError::PastEnd { name, begin, end, held: held as u64 });
    }
    let bits = raw.shape.iter().try_fold(dtype.bitsize() as u64, |bits, &size| bits.checked_mul(size));
    if bits != (end - begin).checked_mul(8) {
        return Err(HeaderError::Size { name, dtype, shape: raw.shape, claimed: end - begin });
    }
    // Every size fits: their product does, or one of them is 0 and the tensor is empty.
    let shape = raw.shape.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
    let range = data_start + begin as usize..data_start + end as usize;
    Ok(Entry { name, dtype, shape, range })
}

/// Checks that the tensors, in order, cover the file from `data_start` to its end.
fn check_cover(tensors: &[Entry], data_start: usize, length: usize) -> Result<(), HeaderError> {
    let mut end = data_start;
    let mut before: Option<&Entry> = None;
    for entry in tensors {
        if entry.range.start < end {
            let first = before.map(|entry| entry.name.clone()).unwrap_or_default();
            return Err(HeaderError::Overlap { first, second: entry.name.clone() });
        }
        if entry.range.start > end {
            let place = format!("before tensor `{}`", entry.name);
            return Err(HeaderError::Unowned { bytes: entry.range.start - end, place });
        }
        end = entry.range.end;
        before = Some(entry);
    }
    if end < length {
        return Err(HeaderError::Unowned { bytes: length - end, place: "at its end".to_owned() });
    }
    Ok(())
}

/// A tensor as the header's JSON has it.
#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's JSON, in which no name may come twice.
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, RawEntry>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut metadata = None;
                let mut tensors = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        // Some writers put null where there is nothing to say.
                        let found: Option<BTreeMap<String, String>> = map.next_value()?;
                        metadata.replace(found.unwrap_or_default()).is_some()
                    } else {
                        tensors.insert(name.clone(), map.next_value()?).is_some()
                    };
                    if twice {
                        return Err(serde::de::Error::custom(format_args!("`{name}` comes twice")));
                    }
                }
                Ok(RawHeader { metadata: metadata.unwrap_or_default(), tensors })
            }
        }

        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
