//! Documents by how well the model predicts them.

use crate::pool::{Candidate, Pool};
use espalier_sdk::{
    Documents, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest, Selector, SelectorInfo,
    Windows,
};

pub(crate) struct Perplexity {
    band: Band,
    pool: Pool,
}

enum Band {
    Low,
    Middle,
    High,
}

impl Selector for Perplexity {
    fn info() -> SelectorInfo {
        let info = SelectorInfo::new("perplexity", "documents by the model's own perplexity on them");
        let info = info.needs_model().option(
            "band",
            OptionKind::String,
            "middle",
            "low (what it predicts best), middle or high",
        );
        Pool::declare(info.choices(&["low", "middle", "high"]))
    }

    fn new(options: &Options) -> Result<Self> {
        let band = match options.string("band")? {
            "low" => Band::Low,
            "middle" => Band::Middle,
            _ => Band::High,
        };
        Ok(Self { band, pool: Pool::new(options)? })
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut pool = self.pool.draw(documents, request, &mut Rng::new(request.seed))?;
        // One token predicts nothing.
        pool.retain(|candidate| candidate.tokens.len() > 1);
        let sequences: Vec<&[u32]> = pool.iter().map(|candidate| candidate.tokens.as_slice()).collect();
        let scores = perplexities(model, &sequences)?;
        let mut ranked: Vec<(f64, &Candidate)> = scores.into_iter().zip(&pool).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.document.cmp(&b.1.document)));
        let count = ranked.len();
        let order: Vec<usize> = match self.band {
            Band::Low => (0..count).collect(),
            Band::High => (0..count).rev().collect(),
            Band::Middle => from_the_middle(count),
        };
        for at in order {
            if !windows.wanted() {
                break;
            }
            let (score, candidate) = ranked[at];
            windows.offer(candidate.document, Some(score))?;
        }
        Ok(())
    }
}

/// `exp` of the mean negative log-likelihood of each sequence.
pub(crate) fn perplexities(model: &LanguageModel, sequences: &[&[u32]]) -> Result<Vec<f64>> {
    let perplexity = |found: Vec<f32>| {
        let sum: f64 = found.iter().map(|&x| f64::from(x)).sum();
        (-sum / found.len().max(1) as f64).exp()
    };
    Ok(model.log_likelihoods(sequences)?.into_iter().map(perplexity).collect())
}

/// `0..count`, those nearest to the middle first.
fn from_the_middle(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&at| (2 * at + 1).abs_diff(count));
    order
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_middle_comes_first() {
        assert_eq!(super::from_the_middle(5), [2, 1, 3, 0, 4]);
        assert_eq!(super::from_the_middle(4), [1, 2, 0, 3]);
    }
}
