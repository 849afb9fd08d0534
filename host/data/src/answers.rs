//! What an answer says, and whether it is the right one: regular expressions and the rules of `exact_match`, as in
//! lm-evaluation-harness 0.4 (`RegexFilter`, `exact_match_hf_evaluate`).

use espalier_sdk::AnswerRule;
use regex::Regex;

/// What is taken from an answer.
#[derive(Debug)]
pub struct Extraction {
    /// Finds it.
    pub pattern: Regex,
    /// Which of the places where it is found, from the end where negative.
    pub which: i64,
}

/// What does not count when answers are compared.
#[derive(Debug, Default)]
pub struct Ignored {
    /// What is dropped from both first.
    pub patterns: Vec<Regex>,
    /// Whether the case of letters does not count.
    pub case: bool,
    /// Whether ASCII punctuation does not count.
    pub punctuation: bool,
}

/// A rule by which answers are compared.
#[derive(Debug)]
pub struct AnswerMatch {
    extraction: Option<Extraction>,
    ignored: Ignored,
}

impl Extraction {
    /// What is taken from a text: of the place where the pattern is found, the first group that holds something, or all of it
    /// where there are no groups. Nothing where it is not found.
    pub fn of(&self, text: &str) -> Option<String> {
        let found: Vec<_> = self.pattern.captures_iter(text).collect();
        let which = match usize::try_from(self.which) {
            Ok(which) => Some(which),
            Err(_) => {
                found.len().checked_sub(usize::try_from(self.which.unsigned_abs()).unwrap_or(usize::MAX))
            }
        };
        let found = which.and_then(|which| found.get(which))?;
        let groups = || found.iter().skip(1).map(|group| group.map_or("", |group| group.as_str()));
        let taken = match found.len() {
            1 => found.get(0).map(|whole| whole.as_str()),
            // Of a single group what it holds, be it nothing.
            2 => groups().next(),
            _ => groups().find(|group| !group.is_empty()),
        };
        taken.map(|taken| taken.trim().to_owned())
    }
}

impl Ignored {
    /// A text without what does not count.
    pub fn bare(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for ignored in &self.patterns {
            text = ignored.replace_all(&text, "").into_owned();
        }
        if self.case {
            text = text.to_lowercase();
        }
        if self.punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        text
    }
}

impl AnswerMatch {
    /// Reads a rule.
    ///
    /// # Errors
    /// A regular expression is invalid: which, and why.
    pub fn new(rule: &AnswerRule) -> Result<Self, String> {
        let pattern = |text: &String| {
            Regex::new(text).map_err(|error| {
                let error = error.to_string();
                let problem = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("`{text}` is not a regular expression: {problem}")
            })
        };
        let extraction = match rule.pattern.is_empty() {
            true => None,
            false => Some(Extraction { pattern: pattern(&rule.pattern)?, which: rule.which }),
        };
        let patterns = rule.ignore.iter().map(pattern).collect::<Result<_, _>>()?;
        let ignored = Ignored { patterns, case: rule.ignore_case, punctuation: rule.ignore_punctuation };
        Ok(Self { extraction, ignored })
    }

    /// What an answer says.
    pub fn said(&self, answer: &str) -> Option<String> {
        let taken = match &self.extraction {
            Some(extraction) => extraction.of(answer)?,
            None => answer.trim().to_owned(),
        };
        let said = self.ignored.bare(&taken).trim().to_owned();
        (!said.is_empty()).then_some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_is_found() {
        let number = AnswerRule::whole().pattern(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1);
        let number = AnswerMatch::new(&number.ignore(",").ignore(r"\$").ignore(r"\.$")).unwrap();
        let said = |text: &str| number.said(text);
        assert_eq!(said("She has 3, then 1,200.").as_deref(), Some("1200"));
        assert_eq!(said("It costs $12."), said("so\n#### 12"));
        assert_eq!((said("none"), said("")), (None, None));
        let whole = AnswerMatch::new(&AnswerRule::whole().ignore_case().ignore_punctuation()).unwrap();
        assert_eq!(whole.said(" Paris!\n"), whole.said("paris"));
        assert_eq!(whole.said(" ?"), None);
        let boxed = AnswerMatch::new(&AnswerRule::whole().pattern(r"boxed\{(.*?)\}", 0)).unwrap();
        assert_eq!(boxed.said(r"So \boxed{x+1}, not \boxed{2}.").as_deref(), Some("x+1"));
        let wrong = AnswerMatch::new(&AnswerRule::whole().ignore("(")).unwrap_err();
        assert!(wrong.starts_with("`(` is not a regular expression: "), "{wrong}");
    }
}
