//! The documents that a selector looks at closely: a random part of a collection that may have millions.

use espalier_sdk::{
    Documents, Draw, OptionKind, Options, Result, Rng, SelectionRequest, SelectorInfo, Shuffled,
};

/// A document that may be chosen.
pub(crate) struct Candidate {
    /// Its number in the collection.
    pub(crate) document: usize,
    /// Its first tokens, as many as a window has.
    pub(crate) tokens: Vec<u32>,
}

/// How much of a collection is looked at.
pub(crate) struct Pool(usize);

impl Pool {
    /// Declares the option.
    pub(crate) fn declare(info: SelectorInfo) -> SelectorInfo {
        info.option(
            "pool",
            OptionKind::Integer,
            4,
            "how much to choose from, as a multiple of the tokens that are wanted",
        )
        .range(1.0..=f64::INFINITY)
    }

    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(Self(options.integer("pool")? as usize))
    }

    /// Random documents that can give a window, by the weights of their sources.
    pub(crate) fn draw(
        &self,
        documents: &Documents,
        request: &SelectionRequest,
        rng: &mut Rng,
    ) -> Result<Vec<Candidate>> {
        let (mut draw, mut pool, mut held) = (Draw::new(documents), Vec::new(), 0);
        while held < self.wanted(request) {
            let Some((source, document)) = draw.next(rng, |_| false) else { break };
            if let Some(candidate) = candidate(documents, source, document, request)? {
                held += candidate.tokens.len();
                pool.push(candidate);
            }
        }
        Ok(pool)
    }

    /// Random documents that can give a window, about as many tokens of each source, with the number of their source.
    pub(crate) fn draw_evenly(
        &self,
        documents: &Documents,
        request: &SelectionRequest,
        rng: &mut Rng,
    ) -> Result<Vec<(usize, Candidate)>> {
        let wanted = self.wanted(request).div_ceil(documents.sources().len().max(1));
        let mut pool = Vec::new();
        for (number, source) in documents.sources().iter().enumerate() {
            let (mut left, mut held) = (Shuffled::new(source.documents.len()), 0);
            while held < wanted {
                let Some(at) = left.next(rng) else { break };
                let document = source.documents.start + at;
                if let Some(candidate) = candidate(documents, number, document, request)? {
                    held += candidate.tokens.len();
                    pool.push((number, candidate));
                }
            }
        }
        Ok(pool)
    }

    /// Tokens of a pool.
    fn wanted(&self, request: &SelectionRequest) -> usize {
        self.0.saturating_mul(request.samples).saturating_mul(request.seqlen)
    }
}

/// A document's first tokens; nothing where it is too short to give a window.
fn candidate(
    documents: &Documents,
    source: usize,
    document: usize,
    request: &SelectionRequest,
) -> Result<Option<Candidate>> {
    let mut tokens = documents.tokens(document)?;
    if tokens.len() < documents.sources()[source].min_tokens {
        return Ok(None);
    }
    tokens.truncate(request.seqlen);
    Ok(Some(Candidate { document, tokens }))
}
