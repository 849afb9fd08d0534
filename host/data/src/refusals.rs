//! Records that turn out to be of no use only when they are rendered or tokenised.

use super::{CalibrationError, Collection, scan::ONE_IN};
use std::collections::BTreeSet;

/// Records that a template or the tokenizer refuses: left out, counted and reported, as rows that cannot be read are; more than
/// one in a hundred, or any if the collection is [strict](super::Reading::strict), are an error.
#[derive(Debug, Default)]
pub struct Refusals {
    records: BTreeSet<usize>,
    first: Option<CalibrationError>,
}

impl Refusals {
    /// The result for a record; nothing if the record was refused and is left out.
    ///
    /// # Errors
    /// The record was refused and cannot be left out, or something else went wrong.
    pub fn keep<T>(
        &mut self,
        collection: &Collection,
        index: usize,
        made: Result<T, CalibrationError>,
    ) -> Result<Option<T>, CalibrationError> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(error) => self.leave_out(collection, index, error).map(|()| None),
        }
    }

    fn leave_out(
        &mut self,
        collection: &Collection,
        index: usize,
        error: CalibrationError,
    ) -> Result<(), CalibrationError> {
        if !error.is_of_record() || collection.is_strict() {
            return Err(error);
        }
        let known = self.records.contains(&index);
        let bad = self.records.len() as u64 + u64::from(!known);
        let rows = collection.len() as u64;
        if bad * ONE_IN > rows {
            return Err(match self.first.take() {
                None => error,
                Some(first) => {
                    let path = collection.sources()[collection.source_of(index)].path.clone();
                    CalibrationError::BadRows { path, bad, rows, source: Box::new(first) }
                }
            });
        }
        self.records.insert(index);
        self.first.get_or_insert(error);
        Ok(())
    }

    /// How many records of a source were left out.
    pub fn of_source(&self, collection: &Collection, source: usize) -> u64 {
        self.records.range(collection.sources()[source].documents.clone()).count() as u64
    }

    /// How many records were left out.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Warns of what was left out.
    pub fn warn(&self) {
        if let Some(first) = &self.first {
            let count = self.records.len();
            tracing::warn!(
                "{count} rows cannot be rendered or tokenised and are left out; the first: {}",
                first.whole()
            );
        }
    }
}

#[cfg(test)]
#[path = "refusals_tests.rs"]
mod tests;
