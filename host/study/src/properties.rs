//! Properties of calibration data, measured on the windows that a model is calibrated with.
//!
//! All tokens of the windows count, whatever a loss mask says of them: these are properties of the data.

use flate2::{Compression, write::ZlibEncoder};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write,
};

/// Tokens in the n-grams that are counted for their repetition, as in 2606.03328.
const NGRAM: usize = 4;

/// Words in the n-grams that are looked for in an evaluation.
const SHARED_WORDS: usize = 3;

/// The odd number that the hashes of words are put together with.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// A property of calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// Perplexity under the dense model: `exp` of the mean loss of every token but each window's first.
    Perplexity,
    /// The share of 4-grams of tokens that are distinct (distinct-n; Li et al., 1510.03055). Larger sets repeat more.
    DistinctNgrams,
    /// Tokens of one document in a window, on average; of a window, where a selector wrote the data itself.
    MeanLength,
    /// Shannon entropy of the tokens' frequencies, in bits.
    TokenEntropy,
    /// The share of characters that are digits.
    Digits,
    /// Bytes of the text, divided by its bytes after zlib's compression: higher is more repetitive.
    CompressionRatio,
    /// The share of the text's runs of three words that an evaluation's prompts and answers hold too.
    Overlap,
}

impl Property {
    /// All of them, as they are shown.
    pub const ALL: [Self; 7] = [
        Self::Perplexity,
        Self::DistinctNgrams,
        Self::MeanLength,
        Self::TokenEntropy,
        Self::Digits,
        Self::CompressionRatio,
        Self::Overlap,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Perplexity => "perplexity",
            Self::DistinctNgrams => "distinct_ngrams",
            Self::MeanLength => "mean_length",
            Self::TokenEntropy => "token_entropy",
            Self::Digits => "digits",
            Self::CompressionRatio => "compression_ratio",
            Self::Overlap => "overlap",
        }
    }

    /// Its name in words.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Perplexity => "Perplexity (dense model)",
            Self::DistinctNgrams => "Distinct 4-grams",
            Self::MeanLength => "Mean length",
            Self::TokenEntropy => "Token entropy",
            Self::Digits => "Digits",
            Self::CompressionRatio => "Compression ratio",
            Self::Overlap => "Overlap with the evaluation",
        }
    }

    /// Its unit, if it has one.
    pub(crate) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Perplexity | Self::CompressionRatio => None,
            Self::DistinctNgrams | Self::Digits | Self::Overlap => Some("%"),
            Self::MeanLength => Some("tokens"),
            Self::TokenEntropy => Some("bits"),
        }
    }

    /// A value as it is shown, in its unit.
    pub(crate) fn scaled(self, value: f64) -> f64 {
        if self.unit() == Some("%") { 100.0 * value } else { value }
    }
}

/// The properties of the windows that were chosen for a model with a seed: their `properties.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataProperties {
    /// Those that have a value.
    pub(crate) values: BTreeMap<Property, f64>,
    /// The overlap with evaluations, by their hashes; nothing of data that are too short for a run of words.
    pub(crate) overlap: BTreeMap<String, Option<f64>>,
}

/// What can be said of windows without the model.
///
/// `lengths` are tokens of one document in a window, `texts` the windows' texts.
pub(crate) fn of_windows(windows: &[&[u32]], lengths: &[usize], texts: &[String]) -> BTreeMap<Property, f64> {
    let mean_length = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    let all = [
        (Property::DistinctNgrams, distinct_ngrams(windows)),
        (Property::MeanLength, mean_length),
        (Property::TokenEntropy, token_entropy(windows)),
        (Property::Digits, digits(texts)),
        (Property::CompressionRatio, compression_ratio(texts)),
    ];
    all.into_iter().filter(|(_, value)| value.is_finite()).collect()
}

fn distinct_ngrams(windows: &[&[u32]]) -> f64 {
    let ngrams = || windows.iter().flat_map(|window| window.windows(NGRAM));
    ngrams().collect::<HashSet<_>>().len() as f64 / ngrams().count() as f64
}

fn token_entropy(windows: &[&[u32]]) -> f64 {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    windows.iter().copied().flatten().for_each(|&token| *counts.entry(token).or_default() += 1);
    let total = counts.values().sum::<usize>() as f64;
    // In an order of its own the sum would differ in its last bits from run to run.
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_unstable();
    let shares = counts.into_iter().map(|count| count as f64 / total);
    if total > 0.0 {
        shares.map(|share| -share * share.log2()).fold(0.0, |sum, bits| sum + bits)
    } else {
        f64::NAN
    }
}

fn digits(texts: &[String]) -> f64 {
    let characters = || texts.iter().flat_map(|text| text.chars());
    characters().filter(|c| c.is_numeric()).count() as f64 / characters().count() as f64
}

fn compression_ratio(texts: &[String]) -> f64 {
    let text = texts.join("\n");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    compressed.map_or(f64::NAN, |bytes| text.len() as f64 / bytes.len() as f64)
}

/// The runs of words in some texts, by their hashes.
pub(crate) fn runs_of_words(texts: &[String]) -> HashSet<u64> {
    texts.iter().flat_map(|text| runs(text)).collect()
}

/// The share of runs of words in `texts` that are among `known`; nothing where there is no such run.
pub(crate) fn overlap(texts: &[String], known: &HashSet<u64>) -> Option<f64> {
    let runs = || texts.iter().flat_map(|text| runs(text));
    let count = runs().count();
    (count > 0).then(|| runs().filter(|run| known.contains(run)).count() as f64 / count as f64)
}

fn runs(text: &str) -> Vec<u64> {
    let words: Vec<u64> = espalier_data::word_hashes(text).collect();
    let join = |run: &[u64]| run.iter().fold(0u64, |hash, word| hash.wrapping_mul(BASE).wrapping_add(*word));
    words.windows(SHARED_WORDS).map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn properties_are_counted() {
        let repeated: &[u32] = &[1, 2, 1, 2, 1, 2, 1];
        let once: &[u32] = &[3, 4, 5, 6];
        let all = of_windows(&[repeated, once], &[7, 2, 2], &texts(&["1a2b", "cd"]));
        // 1212 and 2121, of four; and 3456.
        assert_eq!(all[&Property::DistinctNgrams], 3.0 / 5.0);
        assert_eq!(all[&Property::MeanLength], 11.0 / 3.0);
        // scipy.stats.entropy([4, 3, 1, 1, 1, 1], base=2)
        assert!((all[&Property::TokenEntropy] - 2.299_896_391_167_891).abs() < 1e-12, "{all:?}");
        assert_eq!(all[&Property::Digits], 2.0 / 6.0);
        // Four windows of one token: entropy without n-grams.
        let short = of_windows(&[&[1], &[2], &[3], &[4]], &[1; 4], &texts(&[""]));
        assert_eq!(short[&Property::TokenEntropy], 2.0);
        assert!(!short.contains_key(&Property::DistinctNgrams) && !short.contains_key(&Property::Digits));
        assert!(!of_windows(&[], &[], &[]).contains_key(&Property::TokenEntropy));
    }

    #[test]
    fn what_repeats_compresses_better() {
        let ratio = |text: &str| compression_ratio(&texts(&[text]));
        let repeated = "the same words again and again, ".repeat(20);
        assert!(ratio(&repeated) > 5.0, "{}", ratio(&repeated));
        assert!(ratio("Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich") < 1.2);
    }

    #[test]
    fn overlap_is_the_share_of_runs_of_words() {
        let known = runs_of_words(&texts(&["What is the capital of France?", "Paris"]));
        assert_eq!(known.len(), 4);
        let share = |text: &str| overlap(&texts(&[text]), &known);
        assert_eq!(share("what is the CAPITAL, of France"), Some(1.0));
        assert_eq!(share("The capital of Spain is Madrid"), Some(0.25));
        // A run does not go on in another text.
        assert_eq!(overlap(&texts(&["capital of", "France what is"]), &known), Some(0.0));
        assert_eq!(share("too short"), None);
    }
}
