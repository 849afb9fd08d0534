//! Text that the model writes itself (Ji et al., 2410.17711): a document's first two tokens are kept, the model
//! goes on by sampling, and the fifth of the texts that it finds least likely is dropped.

use crate::perplexity::perplexities;
use espalier_sdk::{
    Documents, Draw, LanguageModel, ModelInfo, OptionKind, Options, Result, Rng, SamplingOptions,
    SelectionRequest, Selector, SelectorInfo, Windows,
};

/// Rounds of writing at most; each but the first writes a quarter of what is wanted.
const ROUNDS: u64 = 64;

pub(crate) struct SelfGenerated {
    prefix: usize,
    drop: f64,
    temperature: f32,
    top_p: f32,
    top_k: usize,
}

impl Selector for SelfGenerated {
    fn info() -> SelectorInfo {
        SelectorInfo::new(
            "self",
            "text that the model writes itself, from the first tokens of random documents",
        )
        .needs_model()
        .option("prefix", OptionKind::Integer, 2, "tokens of a document to continue")
        .range(1.0..=f64::INFINITY)
        .option("drop", OptionKind::Float, 0.2, "share of texts to drop, by highest perplexity")
        .range(0.0..=0.9)
        .option("temperature", OptionKind::Float, 1.0, "the divisor of the logits")
        .range(0.01..=100.0)
        .option("top_p", OptionKind::Float, 0.95, "draw from the likeliest tokens of this probability")
        .range(0.01..=1.0)
        .option("top_k", OptionKind::Integer, 50, "draw from the N likeliest tokens; 0 for all")
        .range(0.0..=f64::INFINITY)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            prefix: options.integer("prefix")? as usize,
            drop: options.float("drop")?,
            temperature: options.float("temperature")? as f32,
            top_p: options.float("top_p")? as f32,
            top_k: options.integer("top_k")? as usize,
        })
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let info = model.info()?;
        let mut rng = Rng::new(request.seed);
        let mut draw = Draw::new(documents);
        for round in 0..ROUNDS {
            if !windows.wanted() {
                break;
            }
            let wanted = if round == 0 { request.samples } else { request.samples.div_ceil(4) };
            let count = (wanted as f64 / (1.0 - self.drop)).ceil() as usize;
            let mut prefixes = Vec::with_capacity(count);
            while prefixes.len() < count {
                let Some((_, document)) = draw.next(&mut rng, |_| true) else { return Ok(()) };
                let mut tokens = documents.tokens(document)?;
                tokens.truncate(self.kept(&tokens, info).min(request.seqlen - 1));
                // Every document has a token.
                prefixes.push(tokens);
            }
            let texts = self.write(model, &prefixes, request, rng.next_u64())?;
            for (perplexity, text) in self.best(model, texts)? {
                if !windows.wanted() {
                    break;
                }
                windows.offer_tokens(&text, Some(perplexity))?;
            }
        }
        Ok(())
    }
}

impl SelfGenerated {
    /// Tokens of a document that are kept: those of the prefix, behind the token that begins every text.
    fn kept(&self, tokens: &[u32], info: ModelInfo) -> usize {
        self.prefix + usize::from(info.bos.is_some() && tokens.first() == info.bos.as_ref())
    }

    /// The model's continuation of each prefix, with the prefix.
    fn write(
        &self,
        model: &LanguageModel,
        prefixes: &[Vec<u32>],
        request: &SelectionRequest,
        seed: u64,
    ) -> Result<Vec<Vec<u32>>> {
        let shortest = prefixes.iter().map(Vec::len).min().unwrap_or(0);
        let options = SamplingOptions {
            max_tokens: request.seqlen - shortest,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed,
        };
        let borrowed: Vec<&[u32]> = prefixes.iter().map(Vec::as_slice).collect();
        let written = model.sample(&borrowed, &options)?;
        let whole = |(prefix, written): (&Vec<u32>, Vec<u32>)| {
            let mut text: Vec<u32> = prefix.iter().copied().chain(written).collect();
            text.truncate(request.seqlen);
            text
        };
        Ok(prefixes.iter().zip(written).map(whole).collect())
    }

    /// The texts that the model finds likeliest, with their perplexity, the likeliest first.
    fn best(&self, model: &LanguageModel, mut texts: Vec<Vec<u32>>) -> Result<Vec<(f64, Vec<u32>)>> {
        texts.retain(|text| text.len() > 1);
        let borrowed: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let perplexities = perplexities(model, &borrowed)?;
        let mut ranked: Vec<(f64, Vec<u32>)> = perplexities.into_iter().zip(texts).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        let kept = ranked.len() - (ranked.len() as f64 * self.drop).floor() as usize;
        ranked.truncate(kept);
        Ok(ranked)
    }
}
