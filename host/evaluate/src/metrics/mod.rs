//! Text metrics: what a prediction is worth beside reference answers.

mod porter;
pub(crate) mod rouge;
mod squad;

pub use rouge::{Rouge, rouge1};
pub(crate) use squad::is_space;
pub use squad::{exact_match, f1};

#[cfg(test)]
mod tests;
