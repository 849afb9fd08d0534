//! Calibration and evaluation data: files → documents → tokens → windows.

mod collection;
mod documents;
mod error;
mod prompt;
mod row;
mod scan;
mod tokenizer;
mod windows;

pub use collection::Collection;
pub use documents::TokenizedCollection;
pub use error::CalibrationError;
pub use prompt::alpaca_prompt;
pub use row::Shape;
pub use tokenizer::Tokenizer;
pub use windows::{check_selection, evaluation_windows, ready_windows, windows_sha256};
