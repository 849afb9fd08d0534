//! Documents that repeat the fewest n-grams, with the model's perplexity evened over sources: a mix of sources that the model
//! finds equally hard keeps more of its abilities than any one of them (2606.03328, which minimises the repetition of 4-grams
//! and balances perplexity).

use crate::{
    perplexity::perplexities,
    pool::{Candidate, Pool},
};
use espalier_sdk::{
    Documents, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest, Selector, SelectorInfo,
    Windows,
};
use std::collections::HashSet;

pub(crate) struct Balanced {
    ngram: usize,
    weight: f64,
    pool: Pool,
}

impl Selector for Balanced {
    fn info() -> SelectorInfo {
        let info = SelectorInfo::new(
            "balanced",
            "as many tokens of each source, with few repeated n-grams and perplexity evened over sources",
        );
        let info = info
            .needs_model()
            .option("ngram", OptionKind::Integer, 4, "tokens of an n-gram")
            .range(1.0..=64.0)
            .option(
                "weight",
                OptionKind::Float,
                1.0,
                "how much a source's distance in log perplexity from the common one counts beside its share of repeated n-grams",
            )
            .range(0.0..=1000.0);
        Pool::declare(info)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            ngram: options.integer("ngram")? as usize,
            weight: options.float("weight")?,
            pool: Pool::new(options)?,
        })
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut pool = self.pool.draw_evenly(documents, request, &mut Rng::new(request.seed))?;
        // One token predicts nothing.
        pool.retain(|(_, candidate)| candidate.tokens.len() > 1);
        let sequences: Vec<&[u32]> = pool.iter().map(|(_, candidate)| candidate.tokens.as_slice()).collect();
        let surprise = perplexities(model, &sequences)?.into_iter().map(f64::ln).collect();
        let mut choice = Choice::new(&pool, surprise, self.ngram, self.weight);
        while windows.wanted() {
            let Some((document, repeated)) = choice.next() else { break };
            windows.offer_at(document, 0, Some(repeated))?;
        }
        Ok(())
    }
}

/// What is chosen so far, and what is left.
struct Choice<'a> {
    pool: &'a [(usize, Candidate)],
    /// The log perplexity of each.
    surprise: Vec<f64>,
    ngram: usize,
    weight: f64,
    /// The log perplexity that every source is to have.
    target: f64,
    sources: Vec<SourceChoice>,
    seen: HashSet<&'a [u32]>,
}

/// What is chosen of a source.
struct SourceChoice {
    /// Those of the pool that are left.
    left: Vec<usize>,
    tokens: usize,
    /// The sum over its tokens of their document's log perplexity.
    surprise: f64,
}

impl<'a> Choice<'a> {
    fn new(pool: &'a [(usize, Candidate)], surprise: Vec<f64>, ngram: usize, weight: f64) -> Self {
        let count = pool.iter().map(|(source, _)| source + 1).max().unwrap_or(0);
        let left = |source| (0..pool.len()).filter(|&at| pool[at].0 == source).collect::<Vec<_>>();
        let lefts: Vec<_> = (0..count).map(left).filter(|left| !left.is_empty()).collect();
        // Each source has one voice, whatever its size.
        let medians: Vec<f64> = lefts.iter().map(|left| median(left, &surprise)).collect();
        let target = medians.iter().sum::<f64>() / medians.len().max(1) as f64;
        let source = |left| SourceChoice { left, tokens: 0, surprise: 0.0 };
        let sources = lefts.into_iter().map(source).collect();
        Self { pool, surprise, ngram, weight, target, sources, seen: HashSet::new() }
    }

    /// The next document and its share of repeated n-grams: of the source with the fewest tokens, the one that costs least.
    fn next(&mut self) -> Option<(usize, f64)> {
        let open = (0..self.sources.len()).filter(|&at| !self.sources[at].left.is_empty());
        let source = open.min_by_key(|&at| self.sources[at].tokens)?;
        let cost = |&at: &usize| {
            let repeated = self.repeated(at);
            (repeated + self.weight * self.distance(source, at), repeated)
        };
        let costs = self.sources[source].left.iter().map(cost).enumerate();
        let (place, (_, repeated)) = costs.min_by(|a, b| a.1.0.total_cmp(&b.1.0))?;
        let at = self.sources[source].left.remove(place);
        let tokens = self.pool[at].1.tokens.as_slice();
        self.seen.extend(tokens.windows(self.ngram));
        let chosen = &mut self.sources[source];
        chosen.tokens += tokens.len();
        chosen.surprise += self.surprise[at] * tokens.len() as f64;
        Some((self.pool[at].1.document, repeated))
    }

    /// The share of a document's n-grams that it has twice, or that a chosen one has.
    fn repeated(&self, at: usize) -> f64 {
        let tokens = self.pool[at].1.tokens.as_slice();
        let mut own = HashSet::new();
        let grams = tokens.windows(self.ngram);
        let all = grams.len();
        let repeated = grams.filter(|gram| self.seen.contains(gram) || !own.insert(*gram)).count();
        if all == 0 { 0.0 } else { repeated as f64 / all as f64 }
    }

    /// How far from the target a source's mean log perplexity would be with this document.
    fn distance(&self, source: usize, at: usize) -> f64 {
        let (chosen, tokens) = (&self.sources[source], self.pool[at].1.tokens.len() as f64);
        let sum = chosen.surprise + self.surprise[at] * tokens;
        (sum / (chosen.tokens as f64 + tokens) - self.target).abs()
    }
}

fn median(places: &[usize], values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = places.iter().map(|&at| values[at]).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(documents: &[(usize, &[u32])]) -> Vec<(usize, Candidate)> {
        let candidate = |(document, (source, tokens)): (usize, &(usize, &[u32]))| {
            (*source, Candidate { document, tokens: tokens.to_vec() })
        };
        documents.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn repetition_within_and_between_documents_costs() {
        let pool = pool(&[(0, &[1, 2, 1, 2, 1]), (0, &[1, 2, 3, 4]), (0, &[5, 6, 7, 8]), (0, &[1, 2, 3, 9])]);
        let mut choice = Choice::new(&pool, vec![0.0; 4], 2, 1.0);
        // Of those without a repetition the first; then the one that shares nothing with it.
        let order: Vec<_> = std::iter::from_fn(|| choice.next()).collect();
        assert_eq!(order[..2], [(1, 0.0), (2, 0.0)]);
        assert_eq!(order[2].0, 3);
        assert!((order[2].1 - 2.0 / 3.0).abs() < 1e-12 && (order[3].1 - 0.75).abs() < 1e-12, "{order:?}");
    }

    #[test]
    fn sources_take_turns_and_meet_in_perplexity() {
        // Source 0 is easy, source 2 is hard; of each, the documents nearest to the middle come first.
        let tokens: Vec<[u32; 3]> = (0..8).map(|at| [3 * at, 3 * at + 1, 3 * at + 2]).collect();
        let of = [0, 0, 0, 0, 2, 2, 2, 2];
        let documents: Vec<(usize, &[u32])> =
            of.into_iter().zip(&tokens).map(|(source, tokens)| (source, tokens.as_slice())).collect();
        let pool = pool(&documents);
        let surprise = vec![1.0, 2.0, 2.5, 0.5, 6.0, 3.5, 5.0, 3.0];
        let mut choice = Choice::new(&pool, surprise, 2, 1.0);
        // The medians are 2 and 5, so that 3.5 is common to both.
        assert!((choice.target - 3.5).abs() < 1e-12);
        let order: Vec<usize> = std::iter::from_fn(|| choice.next()).map(|(document, _)| document).collect();
        assert_eq!(order[..4], [2, 5, 1, 7]);
        assert_eq!(order.len(), 8);
    }
}
