//! ROUGE-1 (Lin, 2004) as Google's `rouge_score` computes it.

use super::{porter::stem, squad::shared};

/// How many unigrams a prediction and a reference have in common.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rouge {
    /// Of the prediction's, the share that the reference has.
    pub precision: f64,
    /// Of the reference's, the share that the prediction has.
    pub recall: f64,
    /// Their harmonic mean.
    pub fmeasure: f64,
}

/// ROUGE-1 of the reference with the highest F-measure, the first of equals. With `stemmed`, words of more
/// than three letters count by their stem (Porter, 1980, with NLTK's extensions).
pub fn rouge1(prediction: &str, references: &[impl AsRef<str>], stemmed: bool) -> Rouge {
    let prediction = tokens(prediction, stemmed);
    let scores = references.iter().map(|reference| score(&prediction, &tokens(reference.as_ref(), stemmed)));
    scores.reduce(|best, score| if score.fmeasure > best.fmeasure { score } else { best }).unwrap_or_default()
}

/// Whether there is anything in a text that ROUGE-1 counts.
pub(crate) fn sees(text: &str) -> bool {
    !tokens(text, false).is_empty()
}

fn score(prediction: &[String], reference: &[String]) -> Rouge {
    let common = shared(prediction, reference) as f64;
    let precision = common / prediction.len().max(1) as f64;
    let recall = common / reference.len().max(1) as f64;
    let both = precision + recall;
    Rouge { precision, recall, fmeasure: if both > 0.0 { 2.0 * precision * recall / both } else { 0.0 } }
}

/// Runs of the letters a to z and digits; everything else separates.
fn tokens(text: &str, stemmed: bool) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()));
    let words = words.filter(|word| !word.is_empty());
    words.map(|word| if stemmed && word.len() > 3 { stem(word) } else { word.to_owned() }).collect()
}
