//! Exact match and F1 as SQuAD v1.1 defines them (Rajpurkar et al., 1606.05250).

use std::collections::HashMap;

/// 1 if the prediction is one of the references, but for case, ASCII punctuation, articles and white
/// space; else 0.
pub fn exact_match(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let prediction = tokens(prediction);
    let equal = references.iter().any(|reference| tokens(reference.as_ref()) == prediction);
    f64::from(u8::from(equal))
}

/// The harmonic mean of precision and recall over the bags of tokens, of the best reference. Texts without
/// tokens in common have 0, also where neither has a token.
pub fn f1(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let prediction = tokens(prediction);
    let score = |reference: &str| {
        let reference = tokens(reference);
        let common = shared(&prediction, &reference) as f64;
        if common == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (common / prediction.len() as f64, common / reference.len() as f64);
        2.0 * precision * recall / (precision + recall)
    };
    references.iter().map(|reference| score(reference.as_ref())).fold(0.0, f64::max)
}

/// How many tokens two bags have in common.
pub(super) fn shared(a: &[String], b: &[String]) -> usize {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for token in a {
        *counts.entry(token).or_default() += 1;
    }
    let take = |token: &&String| match counts.get_mut(token.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    b.iter().filter(take).count()
}

/// The normalised tokens of a text: lower case, without ASCII punctuation and the words a, an and the.
fn tokens(text: &str) -> Vec<String> {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // An article is a whole run of letters and digits; what is around it need not be white space.
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let word = is_word(first);
        let end = rest.find(|c| is_word(c) != word).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        kept.push_str(if word && matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = after;
    }
    kept.split(is_space).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric()
}

/// White space as Python splits at it, which counts the separators of old teletypes too.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}
