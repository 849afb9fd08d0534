//! Where windows are cut, at the border.

use super::{AbiResult, guard, missing, plain};
use crate::{Result, service::WindowService};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, ROption, RSlice},
};

/// [`WindowService`] with a stable layout.
#[sabi_trait]
pub trait WindowsAbi: Send + Sync {
    fn wanted(&self) -> AbiResult<bool>;
    fn offer(&mut self, document: u64, score: ROption<f64>, limit: u64) -> AbiResult<u64>;
    fn offer_tokens(&mut self, tokens: RSlice<'_, u32>, score: ROption<f64>, limit: u64) -> AbiResult<u64>;
    #[sabi(last_prefix_field)]
    fn separate(&mut self) -> AbiResult<()>;
    fn offer_at(
        &mut self,
        _document: u64,
        _offset: u64,
        _score: ROption<f64>,
        _limit: u64,
    ) -> AbiResult<u64> {
        missing("offer_at")
    }
    fn offer_answer(
        &mut self,
        _document: u64,
        _prompt: RSlice<'_, u32>,
        _answer: RSlice<'_, u32>,
        _score: ROption<f64>,
        _limit: u64,
    ) -> AbiResult<u64> {
        missing("offer_answer")
    }
}

/// Windows to be, as they cross the border, for the length of a call.
pub type WindowsBox<'a> = WindowsAbi_TO<'a, RBox<()>>;

/// Packs the host's windows for a plugin.
pub(super) fn pack(service: &mut dyn WindowService) -> WindowsBox<'_> {
    WindowsAbi_TO::from_value(ExportedWindows(service), TD_Opaque)
}

struct ExportedWindows<'a>(&'a mut dyn WindowService);

impl WindowsAbi for ExportedWindows<'_> {
    fn wanted(&self) -> AbiResult<bool> {
        guard(|| Ok(self.0.wanted()))
    }

    fn offer(&mut self, document: u64, score: ROption<f64>, limit: u64) -> AbiResult<u64> {
        guard(|| Ok(self.0.offer(index(document), score.into_option(), index(limit))? as u64))
    }

    fn offer_tokens(&mut self, tokens: RSlice<'_, u32>, score: ROption<f64>, limit: u64) -> AbiResult<u64> {
        guard(|| Ok(self.0.offer_tokens(tokens.as_slice(), score.into_option(), index(limit))? as u64))
    }

    fn offer_at(&mut self, document: u64, offset: u64, score: ROption<f64>, limit: u64) -> AbiResult<u64> {
        guard(|| {
            let (document, offset, limit) = (index(document), index(offset), index(limit));
            Ok(self.0.offer_at(document, offset, score.into_option(), limit)? as u64)
        })
    }

    fn offer_answer(
        &mut self,
        document: u64,
        prompt: RSlice<'_, u32>,
        answer: RSlice<'_, u32>,
        score: ROption<f64>,
        limit: u64,
    ) -> AbiResult<u64> {
        guard(|| {
            let (document, score, limit) = (index(document), score.into_option(), index(limit));
            Ok(self.0.offer_answer(document, prompt.as_slice(), answer.as_slice(), score, limit)? as u64)
        })
    }

    fn separate(&mut self) -> AbiResult<()> {
        guard(|| {
            self.0.separate();
            Ok(())
        })
    }
}

/// A number from over the border; one that does not fit is past the end of everything.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The plugin's end of windows to be.
pub(super) struct ImportedWindows<'a>(pub(super) WindowsBox<'a>);

impl WindowService for ImportedWindows<'_> {
    fn wanted(&self) -> bool {
        // A host that fails to answer wants nothing any more.
        plain(self.0.wanted()).unwrap_or(false)
    }

    fn offer(&mut self, document: usize, score: Option<f64>, limit: usize) -> Result<usize> {
        plain(self.0.offer(document as u64, score.into(), limit as u64)).map(index)
    }

    fn offer_tokens(&mut self, tokens: &[u32], score: Option<f64>, limit: usize) -> Result<usize> {
        plain(self.0.offer_tokens(tokens.into(), score.into(), limit as u64)).map(index)
    }

    fn offer_at(
        &mut self,
        document: usize,
        offset: usize,
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        plain(self.0.offer_at(document as u64, offset as u64, score.into(), limit as u64)).map(index)
    }

    fn offer_answer(
        &mut self,
        document: usize,
        prompt: &[u32],
        answer: &[u32],
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        let (prompt, answer) = (prompt.into(), answer.into());
        plain(self.0.offer_answer(document as u64, prompt, answer, score.into(), limit as u64)).map(index)
    }

    fn separate(&mut self) {
        // A host that failed says so at the next offer.
        let _ = plain(self.0.separate());
    }
}
