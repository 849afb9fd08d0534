//! Answers that the model samples to the prompts of rows, and how they are compared with the rows' own.

use espalier_sdk::{
    AnswerRule, Documents, LanguageModel, OptionKind, Options, Result, SamplingOptions, SelectorInfo,
};

/// The number behind `####`, as GSM8K's answers have it (`strict-match` of lm-evaluation-harness 0.4).
const STRICT: &str = r"#### (\-?[0-9\.\,]+)";

/// The last number (`flexible-extract` of lm-evaluation-harness 0.4).
const FLEXIBLE: &str = r"(-?[$0-9.,]{2,})|(-?[0-9]+)";

/// What neither of them counts: separators, the sign of the currency, and a full stop at the end.
const IGNORED: [&str; 3] = [",", r"\$", r"\.$"];

/// How answers are sampled.
pub(crate) struct Sampler {
    max_new_tokens: usize,
    temperature: f32,
    top_p: f32,
    top_k: usize,
}

/// Answers to one document's prompt.
pub(crate) struct Answers {
    /// The document's number.
    pub(crate) document: usize,
    /// The tokens of its prompt.
    pub(crate) prompt: Vec<u32>,
    /// The tokens of each answer, the end token included where there is one.
    pub(crate) answers: Vec<Vec<u32>>,
}

impl Sampler {
    /// Declares the options.
    pub(crate) fn declare(info: SelectorInfo) -> SelectorInfo {
        info.needs_model()
            .option(
                "max_new_tokens",
                OptionKind::Integer,
                0,
                "tokens of an answer, at most; 0 for as many as a window has room for",
            )
            .range(0.0..=f64::INFINITY)
            .option("temperature", OptionKind::Float, 0.6, "the divisor of the logits; 0 is greedy")
            .range(0.0..=100.0)
            .option("top_p", OptionKind::Float, 0.95, "draw from the likeliest tokens of this probability")
            .range(0.01..=1.0)
            .option("top_k", OptionKind::Integer, 0, "draw from the N likeliest tokens; 0 for all")
            .range(0.0..=f64::INFINITY)
    }

    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            max_new_tokens: options.integer("max_new_tokens")? as usize,
            temperature: options.float("temperature")? as f32,
            top_p: options.float("top_p")? as f32,
            top_k: options.integer("top_k")? as usize,
        })
    }

    /// So many answers to each prompt, within windows of `seqlen` tokens. A prompt that leaves no room for one is passed
    /// over.
    pub(crate) fn answers(
        &self,
        model: &LanguageModel,
        prompts: Vec<(usize, Vec<u32>)>,
        each: usize,
        seqlen: usize,
        seed: u64,
    ) -> Result<Vec<Answers>> {
        let prompts: Vec<_> = prompts.into_iter().filter(|(_, prompt)| prompt.len() < seqlen).collect();
        let Some(shortest) = prompts.iter().map(|(_, prompt)| prompt.len()).min() else {
            return Ok(Vec::new());
        };
        let limit = if self.max_new_tokens == 0 { usize::MAX } else { self.max_new_tokens };
        let options = SamplingOptions {
            max_tokens: limit.min(seqlen - shortest),
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed,
        };
        let repeated: Vec<&[u32]> =
            prompts.iter().flat_map(|(_, prompt)| std::iter::repeat_n(prompt.as_slice(), each)).collect();
        let mut written = model.sample(&repeated, &options)?.into_iter();
        let of_prompt = |(document, prompt): (usize, Vec<u32>)| {
            let room = seqlen - prompt.len();
            let cut = |mut answer: Vec<u32>| {
                answer.truncate(room);
                answer
            };
            let answers = written.by_ref().take(each).map(cut).collect();
            Answers { document, prompt, answers }
        };
        Ok(prompts.into_iter().map(of_prompt).collect())
    }
}

impl Answers {
    /// Which of them agree with the document's own answer; nothing where it has none to compare with.
    pub(crate) fn agree(&self, documents: &Documents, rule: &AnswerRule) -> Result<Option<Vec<bool>>> {
        let answers: Vec<&[u32]> = self.answers.iter().map(Vec::as_slice).collect();
        documents.agree(self.document, &answers, rule)
    }
}

/// The help of the option `match`.
pub(crate) const MATCH: &str = "what must agree with the row's answer: flexible (the last number), strict (the number behind \
                                ####), exact (the whole answer), or what a regular expression finds last";

/// The rule that a value of the option `match` names.
pub(crate) fn rule(text: &str) -> AnswerRule {
    let number = |pattern: &str, which: i64| {
        let rule = AnswerRule::whole().pattern(pattern, which).ignore_case();
        IGNORED.into_iter().fold(rule, AnswerRule::ignore)
    };
    match text {
        "flexible" => number(FLEXIBLE, -1),
        "strict" => number(STRICT, 0),
        "exact" => AnswerRule::whole().ignore_case().ignore_punctuation(),
        pattern => AnswerRule::whole().pattern(pattern, -1),
    }
}
