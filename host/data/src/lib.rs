//! Calibration and evaluation data: files → records → text → tokens → windows.

mod collection;
mod documents;
mod error;
mod exclude;
mod feed;
mod fields;
mod file;
mod folder;
mod jinja;
mod json;
mod parquet;
mod pieces;
mod prompt;
mod record;
mod refusals;
mod row;
mod scan;
mod source;
mod special;
mod template;
mod tokenizer;
mod unpack;
mod values;
mod windows;

pub use collection::{Collection, Skipped, SourceInfo};
pub use documents::TokenizedCollection;
pub use error::CalibrationError;
pub use fields::Fields;
pub use prompt::{Document, Prompt, Rendered, Renderer, alpaca_prompt};
pub use record::{Conversation, Message, Record};
pub use refusals::Refusals;
pub use row::Shape;
pub use source::{Reading, Source};
pub use template::ChatTemplate;
pub use tokenizer::Tokenizer;
pub use windows::{evaluation_windows, ready_windows};
