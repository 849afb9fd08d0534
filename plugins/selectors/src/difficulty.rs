//! Rows by how hard they are for the model: by the share of the answers sampled to a row's prompt that are right.

use crate::{
    sampled::{MATCH, Sampler, rule},
    traces::Rounds,
};
use espalier_sdk::{
    AnswerRule, Documents, Error, LanguageModel, OptionKind, Options, Result, SelectionRequest, Selector,
    SelectorInfo, Windows,
};

pub(crate) struct Difficulty {
    sampler: Sampler,
    rule: AnswerRule,
    samples: usize,
    band: Band,
}

/// The shares that are chosen.
struct Band {
    min: f64,
    max: f64,
}

impl Selector for Difficulty {
    fn info() -> SelectorInfo {
        let info =
            SelectorInfo::new("difficulty", "rows by the share of the model's own answers that are right")
                .option("min", OptionKind::Float, 0.2, "the lowest share")
                .range(0.0..=1.0)
                .option("max", OptionKind::Float, 0.8, "the highest share")
                .range(0.0..=1.0)
                .option("samples", OptionKind::Integer, 8, "answers sampled to a prompt")
                .range(1.0..=1024.0)
                .option("match", OptionKind::String, "flexible", MATCH);
        Sampler::declare(info)
    }

    fn new(options: &Options) -> Result<Self> {
        let (min, max) = (options.float("min")?, options.float("max")?);
        if min > max {
            return Err(Error::invalid(format!("option `min` is {min}, above `max`, which is {max}")));
        }
        let pattern = options.string("match")?;
        if pattern.is_empty() {
            return Err(Error::invalid("option `match` is empty: say what makes an answer right"));
        }
        Ok(Self {
            sampler: Sampler::new(options)?,
            rule: rule(pattern),
            samples: options.integer("samples")? as usize,
            band: Band { min, max },
        })
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        // An invalid rule is refused before the model writes anything.
        documents.agree(0, &[], &self.rule)?;
        let mut rounds = Rounds::new(documents, request);
        while windows.wanted() {
            let Some((prompts, seed)) = rounds.next(documents)? else { break };
            for written in self.sampler.answers(model, prompts, self.samples, request.seqlen, seed)? {
                if !windows.wanted() {
                    break;
                }
                // A row without an answer is neither hard nor easy.
                let Some(right) = written.agree(documents, &self.rule)? else { continue };
                if let Some(share) = self.band.holds(&right) {
                    windows.offer(written.document, Some(share))?;
                }
            }
        }
        Ok(())
    }
}

impl Band {
    /// The share of right answers, if it is in the band.
    fn holds(&self, right: &[bool]) -> Option<f64> {
        let share = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
        (self.min..=self.max).contains(&share).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_include_their_ends() {
        let band = Band { min: 0.25, max: 0.5 };
        let shares = [0, 1, 2, 3].map(|right| {
            let answers: Vec<bool> = (0..4).map(|at| at < right).collect();
            band.holds(&answers)
        });
        assert_eq!(shares, [None, Some(0.25), Some(0.5), None]);
    }
}
