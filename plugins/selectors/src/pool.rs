//! The documents that a selector looks at closely: a random part of a collection that may have millions.

use espalier_sdk::{Documents, Draw, OptionKind, Options, Result, Rng, SelectionRequest, SelectorInfo};

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
        let wanted = self.0.saturating_mul(request.samples).saturating_mul(request.seqlen);
        let (mut draw, mut pool, mut held) = (Draw::new(documents), Vec::new(), 0);
        while held < wanted {
            let Some((source, document)) = draw.next(rng, |_| false) else { break };
            let mut tokens = documents.tokens(document)?;
            if tokens.len() < documents.sources()[source].min_tokens {
                continue;
            }
            tokens.truncate(request.seqlen);
            held += tokens.len();
            pool.push(Candidate { document, tokens });
        }
        Ok(pool)
    }
}
