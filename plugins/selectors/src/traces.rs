//! The model's own answers: prompts stay, and what the model writes to them takes the place of the rows' answers. A model
//! pruned on the traces of its own reasoning keeps reasoning (2509.12464).

use crate::sampled::{Answers, MATCH, Sampler, rule};
use espalier_sdk::{
    AnswerRule, Documents, Draw, Error, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest,
    Selector, SelectorInfo, Windows,
};

pub(crate) struct Traces {
    sampler: Sampler,
    rule: Option<AnswerRule>,
    samples: usize,
    min_tokens: usize,
    ended: bool,
}

impl Selector for Traces {
    fn info() -> SelectorInfo {
        let info = SelectorInfo::new("traces", "answers that the model writes itself to the prompts of rows")
            .option("match", OptionKind::String, "", format!("{MATCH}; empty keeps right and wrong"))
            .option(
                "samples",
                OptionKind::Integer,
                1,
                "answers sampled to a prompt, of which the first fit is kept",
            )
            .range(1.0..=1024.0)
            .option("min_tokens", OptionKind::Integer, 1, "the fewest tokens of an answer that is kept")
            .range(1.0..=f64::INFINITY)
            .option("ended", OptionKind::Bool, false, "keep only answers that the model ended itself");
        Sampler::declare(info)
    }

    fn new(options: &Options) -> Result<Self> {
        let rule = Some(options.string("match")?).filter(|text| !text.is_empty()).map(rule);
        Ok(Self {
            sampler: Sampler::new(options)?,
            rule,
            samples: options.integer("samples")? as usize,
            min_tokens: options.integer("min_tokens")? as usize,
            ended: options.bool("ended")?,
        })
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let end = model.info()?.eos;
        if let Some(rule) = &self.rule {
            // An invalid one is refused before the model writes anything.
            documents.agree(0, &[], rule)?;
        }
        let mut rounds = Rounds::new(documents, request);
        while windows.wanted() {
            let Some((prompts, seed)) = rounds.next(documents)? else { break };
            for written in self.sampler.answers(model, prompts, self.samples, request.seqlen, seed)? {
                if !windows.wanted() {
                    break;
                }
                if let Some(at) = self.kept(documents, &written, end)? {
                    let Answers { document, prompt, answers } = &written;
                    windows.offer_answer(*document, prompt, &answers[at], Some(answers[at].len() as f64))?;
                }
            }
        }
        Ok(())
    }
}

impl Traces {
    /// The number of the first answer that is kept. Where the row has no answer to compare with, its length decides.
    fn kept(&self, documents: &Documents, written: &Answers, end: Option<u32>) -> Result<Option<usize>> {
        let right = match &self.rule {
            Some(rule) => written.agree(documents, rule)?,
            None => None,
        };
        let keeps = |(at, answer): (usize, &Vec<u32>)| {
            let ended = !self.ended || end.is_some() && answer.last() == end.as_ref();
            ended && answer.len() >= self.min_tokens && right.as_ref().is_none_or(|right| right[at])
        };
        Ok(written.answers.iter().enumerate().position(keeps))
    }
}

/// Prompts of random documents, each once, in rounds: as many as windows are wanted, then a quarter of that.
pub(crate) struct Rounds {
    draw: Draw,
    rng: Rng,
    size: usize,
    smaller: usize,
    found: bool,
}

impl Rounds {
    pub(crate) fn new(documents: &Documents, request: &SelectionRequest) -> Self {
        let smaller = request.samples.div_ceil(4).max(16);
        let rng = Rng::new(request.seed);
        Self { draw: Draw::new(documents), rng, size: request.samples.max(16), smaller, found: false }
    }

    /// The next documents with their prompts, and the seed of what is drawn for them; nothing when all were given.
    ///
    /// # Errors
    /// No document has a prompt.
    #[expect(clippy::type_complexity, reason = "a name for it would be used here alone")]
    pub(crate) fn next(&mut self, documents: &Documents) -> Result<Option<(Vec<(usize, Vec<u32>)>, u64)>> {
        let mut prompts = Vec::with_capacity(self.size);
        while prompts.len() < self.size {
            let Some((_, document)) = self.draw.next(&mut self.rng, |_| false) else { break };
            if let Some(prompt) = documents.prompt(document)? {
                prompts.push((document, prompt));
            }
        }
        self.size = self.smaller;
        if prompts.is_empty() {
            return if self.found {
                Ok(None)
            } else {
                Err(Error::invalid(
                    "no row has a prompt that could be answered: give instructions, questions or conversations",
                ))
            };
        }
        self.found = true;
        Ok(Some((prompts, self.rng.next_u64())))
    }
}
