//! Where a selector puts what it chose.

use crate::{Result, service::WindowService};
use std::fmt;

/// The windows of a selection, cut by the host of the documents that a selector offers.
///
/// ```
/// # use espalier_sdk::*;
/// /// Offers documents in their order, from their middle on.
/// fn middles(documents: &Documents, windows: &mut Windows) -> Result<()> {
///     for index in 0..documents.len() {
///         if !windows.wanted() {
///             break;
///         }
///         windows.offer_at(index, documents.tokens(index)?.len() / 2, None)?;
///     }
///     Ok(())
/// }
/// ```
pub struct Windows<'a> {
    service: &'a mut dyn WindowService,
    left: usize,
}

impl fmt::Debug for Windows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Windows").finish_non_exhaustive()
    }
}

impl<'a> Windows<'a> {
    /// The windows behind a service.
    pub fn new(service: &'a mut dyn WindowService) -> Self {
        Self { service, left: usize::MAX }
    }

    /// Whether more windows are wanted. Once none are, offers are refused.
    pub fn wanted(&self) -> bool {
        self.left > 0 && self.service.wanted()
    }

    /// Offers a document by its number in the collection, with the selector's own measure of it for the
    /// record. The answer is how many windows came of it:
    /// - where windows are **crops**, one: a random crop, another one each time a document is offered; none
    ///   of a document that is shorter than a window;
    /// - where documents are **packed**, as many as they filled, which may be none for now. A document is
    ///   packed once; offered again it gives nothing;
    /// - where a window is **one document**, one. Offered again it gives nothing.
    ///
    /// # Errors
    /// There is no such document, or it cannot be read.
    pub fn offer(&mut self, document: usize, score: Option<f64>) -> Result<usize> {
        let gave = self.service.offer(document, score, self.left)?;
        self.left = self.left.saturating_sub(gave);
        Ok(gave)
    }

    /// Offers a document from one of its tokens on: where windows are crops, the window that begins there; otherwise what is
    /// left of the document.
    ///
    /// # Errors
    /// As [`Windows::offer`]; too few tokens follow, or the host is older than this function.
    pub fn offer_at(&mut self, document: usize, offset: usize, score: Option<f64>) -> Result<usize> {
        let gave = self.service.offer_at(document, offset, score, self.left)?;
        self.left = self.left.saturating_sub(gave);
        Ok(gave)
    }

    /// Offers text that the selector wrote itself, as tokens. It is taken as a document is, but never
    /// cropped: what is longer than a window is cut.
    ///
    /// # Errors
    /// A token that the model does not know, or none at all.
    pub fn offer_tokens(&mut self, tokens: &[u32], score: Option<f64>) -> Result<usize> {
        let gave = self.service.offer_tokens(tokens, score, self.left)?;
        self.left = self.left.saturating_sub(gave);
        Ok(gave)
    }

    /// Offers an answer that the selector sampled to the [prompt](crate::Documents::prompt) of a document. Both are taken as
    /// [`Windows::offer_tokens`] takes a text; where answers alone count, the prompt does not. Since 1.1.
    ///
    /// # Errors
    /// As [`Windows::offer_tokens`]; there is no such document, or the host is older than this function.
    pub fn offer_answer(
        &mut self,
        document: usize,
        prompt: &[u32],
        answer: &[u32],
        score: Option<f64>,
    ) -> Result<usize> {
        let gave = self.service.offer_answer(document, prompt, answer, score, self.left)?;
        self.left = self.left.saturating_sub(gave);
        Ok(gave)
    }

    /// The next `count` of the windows that are wanted, packed apart from all others: what was packed
    /// before and has not filled a window is dropped.
    pub fn part(&mut self, count: usize) -> Windows<'_> {
        self.service.separate();
        Windows { left: count.min(self.left), service: &mut *self.service }
    }
}
