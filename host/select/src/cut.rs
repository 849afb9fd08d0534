//! Cutting windows of what a selector offers.

use super::{Budget, LossMask, Offered, Piece, SelectError, Window, WindowMode};
use espalier_base::interrupt;
use espalier_model::Window as Text;
use espalier_sdk::{
    Error, Result, Rng,
    service::{DocumentService, WindowService},
};
use std::collections::HashSet;

/// Keeps the draws of crops apart from a selector's own, which begin with the same seed.
const CROPS: u64 = 0x6372_6f70;

/// Offers in a row that may come to nothing, beside twice the number of documents: a selector may go through
/// all documents in vain, but not for ever.
const IDLE: usize = 1024;

/// The form of the windows.
pub(super) struct Cut {
    /// Tokens in a window, at most.
    pub(super) seqlen: usize,
    /// When there are enough.
    pub(super) budget: Budget,
    /// The seed of the crops.
    pub(super) seed: u64,
    /// Which tokens count.
    pub(super) loss_mask: LossMask,
    /// The token that joins packed documents.
    pub(super) eos: Option<u32>,
    /// Tokens the model knows.
    pub(super) vocab_size: usize,
    /// How a selector's own text is taken: packed, or a window each.
    pub(super) own: WindowMode,
}

/// Cuts windows until there are enough.
pub(super) struct Cutter<'a> {
    documents: &'a Offered<'a>,
    cut: Cut,
    rng: Rng,
    windows: Vec<Window>,
    /// Tokens in all windows.
    tokens: usize,
    /// The window that is being packed.
    packing: Packing,
    /// The documents that are not taken again.
    taken: HashSet<usize>,
    idle: usize,
    /// Documents refused because they are too short to crop.
    short: HashSet<usize>,
    /// Tokens that were packed.
    packed: usize,
    /// The first error that a selector was told of; it cannot be kept from the user.
    failed: Option<Error>,
}

/// A window that is not full yet.
#[derive(Default)]
struct Packing {
    input_ids: Vec<u32>,
    loss_mask: Vec<f32>,
    pieces: Vec<Piece>,
    score: RunningMean,
}

/// Where a text's first tokens came from.
#[derive(Clone, Copy)]
struct Origin {
    /// The source, and the document's number in it; nothing where a selector wrote it all.
    place: Option<(usize, usize)>,
    /// How many of the tokens.
    length: usize,
}

impl Origin {
    /// The piece of the tokens from `offset` on, if any of them came from a document.
    fn piece(self, offset: usize, length: usize) -> Option<Piece> {
        let length = length.min(self.length.saturating_sub(offset));
        let (source, document) = self.place.filter(|_| length > 0)?;
        Some(Piece { source, document, offset, length })
    }
}

/// The mean of the scores of a window's documents.
#[derive(Default)]
struct RunningMean {
    sum: f64,
    count: usize,
}

impl RunningMean {
    fn add(&mut self, score: Option<f64>) {
        if let Some(score) = score {
            self.sum += score;
            self.count += 1;
        }
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl<'a> Cutter<'a> {
    pub(super) fn new(documents: &'a Offered<'a>, cut: Cut) -> Self {
        let rng = Rng::new(cut.seed ^ CROPS);
        Self {
            documents,
            cut,
            rng,
            windows: Vec::new(),
            tokens: 0,
            packing: Packing::default(),
            taken: HashSet::new(),
            idle: 0,
            short: HashSet::new(),
            packed: 0,
            failed: None,
        }
    }

    /// The windows, in the order they were cut in.
    ///
    /// # Errors
    /// The first error.
    pub(super) fn finish(self) -> Result<Vec<Window>> {
        self.failed.map_or(Ok(self.windows), Err)
    }

    /// The shortage after a selector has no more to offer, and what to do.
    pub(super) fn shortage(&self, selector: &str, wanted: Option<WindowMode>) -> Option<SelectError> {
        if !self.wanted() {
            return None;
        }
        let (seqlen, documents) = (self.cut.seqlen, self.documents.len());
        let found = match self.cut.budget {
            Budget::Samples(_) => Budget::Samples(self.windows.len()),
            Budget::Tokens(_) => Budget::Tokens(self.tokens),
        };
        let mut why = Vec::new();
        if !self.short.is_empty() {
            let (short, pack) = (self.short.len(), wanted == Some(WindowMode::Crop));
            let pack = if pack { " (--windows pack would join them)" } else { "" };
            why.push(format!(
                "{short} of {documents} documents are shorter than a window of {seqlen} tokens{pack}"
            ));
        }
        if self.packed > 0 {
            let needed = self.cut.budget.samples(seqlen) * seqlen;
            let packed = self.packed;
            why.push(format!(
                "what it packed are {packed} tokens, and a window of {seqlen} each takes {needed}"
            ));
        }
        if why.is_empty() {
            why.push(format!("there are {documents} documents"));
        }
        let why = format!("{}; give more text, fewer --samples or a smaller --seqlen", why.join(", and "));
        let (selector, wanted) = (selector.to_owned(), self.cut.budget.to_string());
        Some(SelectError::TooFew { selector, found: found.to_string(), wanted, why })
    }

    /// A remark where few documents gave all crops because the others are too short.
    pub(super) fn remark(&self) -> Option<String> {
        let used: HashSet<_> = self
            .windows
            .iter()
            .flat_map(|window| &window.pieces)
            .map(|piece| (piece.source, piece.document))
            .collect();
        let (short, windows, seqlen) = (self.short.len(), self.windows.len(), self.cut.seqlen);
        (short > 0 && used.len() * 2 <= windows).then(|| {
            format!(
                "{short} of {} documents are shorter than a window of {seqlen} tokens, and all {windows} windows are cut from \
                 {}: give longer documents, a smaller --seqlen, or --windows pack",
                self.documents.len(),
                used.len()
            )
        })
    }

    /// Tokens that the next window may have.
    fn room(&self) -> usize {
        match self.cut.budget {
            Budget::Samples(samples) if self.windows.len() >= samples => 0,
            Budget::Samples(_) => self.cut.seqlen,
            Budget::Tokens(tokens) => self.cut.seqlen.min(tokens.saturating_sub(self.tokens)),
        }
    }

    fn push(&mut self, text: Text, pieces: Vec<Piece>, score: Option<f64>) {
        self.tokens += text.len();
        let (input_ids, loss_mask) = (text.input_ids.to_vec(), text.loss_mask.to_vec());
        self.windows.push(Window { input_ids, loss_mask, pieces, score });
    }

    fn take(
        &mut self,
        document: usize,
        from: Option<usize>,
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        interrupt::check()?;
        let Some(source) = self.documents.source_of(document) else {
            return Err(self.no_document(document));
        };
        if limit == 0 || !self.wanted() || self.taken.contains(&document) {
            return Ok(0);
        }
        let mode = self.documents.mode(source);
        if mode == WindowMode::Crop {
            return self.crop(document, source, from, score);
        }
        let tokens = self.documents.tokens(document)?;
        self.taken.insert(document);
        let from = from.unwrap_or(0);
        if tokens.is_empty() {
            return Ok(0);
        }
        if from >= tokens.len() {
            return Err(beyond(document, from, tokens.len()));
        }
        let loss_mask = self.documents.loss_mask(document, self.cut.loss_mask)?;
        let text = Text { input_ids: &tokens, loss_mask: &loss_mask };
        let place = Some((source, document - self.documents.first(source)));
        let origin = Origin { place, length: usize::MAX };
        match mode {
            WindowMode::Pack => Ok(self.pack(text, from, origin, score, limit)),
            WindowMode::Crop | WindowMode::Single => Ok(self.whole(text, from, origin, score)),
        }
    }

    fn no_document(&self, document: usize) -> Error {
        let documents = self.documents.len();
        Error::invalid(format!("it offered document {document}, but the collection has {documents}, from 0"))
    }

    fn crop(
        &mut self,
        document: usize,
        source: usize,
        from: Option<usize>,
        score: Option<f64>,
    ) -> Result<usize> {
        let tokens = self.documents.tokens(document)?;
        if tokens.is_empty() {
            return Ok(0);
        }
        if tokens.len() < self.cut.seqlen {
            self.short.insert(document);
            return Ok(0);
        }
        let length = self.room();
        let offset = match from {
            Some(from) if from > tokens.len() - length => return Err(beyond(document, from, tokens.len())),
            Some(from) => from,
            None => self.rng.below(tokens.len() - length + 1),
        };
        let loss_mask = self.documents.loss_mask(document, self.cut.loss_mask)?;
        let text = Text { input_ids: &tokens, loss_mask: &loss_mask };
        let document = document - self.documents.first(source);
        let piece = Piece { source, document, offset, length };
        self.push(part(text, offset, length), vec![piece], score);
        Ok(1)
    }

    /// One window of a document from a token on, cut where it is too long.
    fn whole(&mut self, text: Text, from: usize, origin: Origin, score: Option<f64>) -> usize {
        let length = (text.len() - from).min(self.room());
        if length == 0 {
            return 0;
        }
        self.push(part(text, from, length), origin.piece(from, length).into_iter().collect(), score);
        1
    }

    /// Packs a document, from a token on, behind the one before it. The end-of-text token between them counts as the last of
    /// the first one's tokens, and counts as they do.
    fn pack(&mut self, text: Text, from: usize, origin: Origin, score: Option<f64>, limit: usize) -> usize {
        let joint = self.cut.eos.filter(|eos| text.input_ids.last() != Some(eos));
        let tokens: Vec<u32> = text.input_ids.iter().copied().chain(joint).collect();
        let mut loss_mask = text.loss_mask.to_vec();
        if let (Some(_), Some(&last)) = (joint, loss_mask.last()) {
            loss_mask.push(last);
        }
        let text = Text { input_ids: &tokens, loss_mask: &loss_mask };
        let (mut offset, mut gave) = (from, 0);
        while offset < tokens.len() && gave < limit {
            let room = self.room();
            if room == 0 {
                break;
            }
            let length = (tokens.len() - offset).min(room - self.packing.input_ids.len());
            self.packing.extend(part(text, offset, length));
            self.packing.pieces.extend(origin.piece(offset, length));
            self.packing.score.add(score);
            self.packed += length;
            offset += length;
            if self.packing.input_ids.len() == room {
                let Packing { input_ids, loss_mask, pieces, score } = std::mem::take(&mut self.packing);
                let text = Text { input_ids: &input_ids, loss_mask: &loss_mask };
                self.push(text, pieces, score.value());
                gave += 1;
            }
        }
        gave
    }

    /// Takes a selector's own text: an answer, and before it the prompt of a document where it has one.
    fn take_own(
        &mut self,
        (prompt, document): (&[u32], Option<usize>),
        answer: &[u32],
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        interrupt::check()?;
        let tokens = [prompt, answer].concat();
        if answer.is_empty() {
            return Err(Error::invalid("it offered a text of its own without a token"));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.cut.vocab_size) {
            let last = self.cut.vocab_size.saturating_sub(1);
            return Err(Error::invalid(format!(
                "it offered the token {token}, but the model's vocabulary ends at {last}"
            )));
        }
        if limit == 0 || !self.wanted() {
            return Ok(0);
        }
        let place = match document {
            None => None,
            Some(document) => {
                let source = self.documents.source_of(document).ok_or_else(|| self.no_document(document))?;
                Some((source, document - self.documents.first(source)))
            }
        };
        let mut loss_mask = Vec::new();
        if self.cut.loss_mask == LossMask::Answers && !prompt.is_empty() {
            loss_mask = vec![1.0; tokens.len()];
            loss_mask[..prompt.len()].fill(0.0);
        }
        let text = Text { input_ids: &tokens, loss_mask: &loss_mask };
        let origin = Origin { place, length: prompt.len() };
        Ok(match self.cut.own {
            WindowMode::Single => self.whole(text, 0, origin, score),
            WindowMode::Pack | WindowMode::Crop => self.pack(text, 0, origin, score, limit),
        })
    }

    /// Watches an offer: an error is kept, and offers that come to nothing are counted.
    fn watch(&mut self, taken: Result<usize>, packed: usize) -> Result<usize> {
        let taken = taken.and_then(|gave| {
            self.idle = if gave > 0 || self.packed > packed { 0 } else { self.idle + 1 };
            if self.idle <= 2 * self.documents.len() + IDLE {
                return Ok(gave);
            }
            let idle = self.idle;
            Err(Error::invalid(format!("it does not stop offering: {idle} offers in a row came to nothing")))
        });
        if let Err(error) = &taken {
            self.failed.get_or_insert_with(|| error.clone());
        }
        taken
    }
}

/// A part of a text.
fn part(text: Text<'_>, from: usize, length: usize) -> Text<'_> {
    let loss_mask = if text.loss_mask.is_empty() { &[] } else { &text.loss_mask[from..from + length] };
    Text { input_ids: &text.input_ids[from..from + length], loss_mask }
}

impl Packing {
    fn extend(&mut self, text: Text) {
        if !(text.loss_mask.is_empty() && self.loss_mask.is_empty()) {
            self.loss_mask.resize(self.input_ids.len(), 1.0);
            self.loss_mask.extend(text.loss_mask);
            self.loss_mask.resize(self.input_ids.len() + text.len(), 1.0);
        }
        self.input_ids.extend(text.input_ids);
    }
}

/// The error of an offer from a token with too few behind it.
fn beyond(document: usize, from: usize, tokens: usize) -> Error {
    Error::invalid(format!(
        "it offered document {document} from token {from} on, but the document has {tokens} tokens: too few follow"
    ))
}

impl WindowService for Cutter<'_> {
    fn wanted(&self) -> bool {
        self.failed.is_none() && self.room() > 0
    }

    fn offer(&mut self, document: usize, score: Option<f64>, limit: usize) -> Result<usize> {
        let packed = self.packed;
        let taken = self.take(document, None, score, limit);
        self.watch(taken, packed)
    }

    fn offer_at(
        &mut self,
        document: usize,
        offset: usize,
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        let packed = self.packed;
        let taken = self.take(document, Some(offset), score, limit);
        self.watch(taken, packed)
    }

    fn offer_tokens(&mut self, tokens: &[u32], score: Option<f64>, limit: usize) -> Result<usize> {
        let packed = self.packed;
        let taken = self.take_own((&[], None), tokens, score, limit);
        self.watch(taken, packed)
    }

    fn offer_answer(
        &mut self,
        document: usize,
        prompt: &[u32],
        answer: &[u32],
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        let packed = self.packed;
        let taken = self.take_own((prompt, Some(document)), answer, score, limit);
        self.watch(taken, packed)
    }

    fn separate(&mut self) {
        self.packing = Packing::default();
    }
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
