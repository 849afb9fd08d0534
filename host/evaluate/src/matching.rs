//! What a prediction says, and whether it is the answer: regular expressions and the rules of `exact_match`, as in
//! lm-evaluation-harness 0.4 (`RegexFilter`, `exact_match_hf_evaluate`).

use super::{
    Item, Metric,
    definition::{Extraction, Matching},
    items::TaskItem,
};

/// What stands for a prediction in which nothing is found.
const NOTHING: &str = "[invalid]";

/// The item with the prediction and its scores.
pub(super) fn matches(matching: &Matching, metrics: &[Metric], item: &TaskItem, prediction: String) -> Item {
    let score = |&metric: &Metric| {
        let extraction = match metric {
            Metric::StrictMatch => matching.strict.as_ref(),
            _ => matching.flexible.as_ref(),
        };
        let said = matching.bare(&extraction.map_or_else(|| prediction.clone(), |it| it.of(&prediction)));
        let right = item.references.iter().any(|reference| matching.bare(reference) == said);
        (metric, f64::from(u8::from(right)))
    };
    let scores = metrics.iter().map(score).collect();
    Item { scores, prediction: Some(prediction), ..Item::new(item) }
}

impl Extraction {
    /// What is taken from a text: of the place where the pattern is found, the first group that holds something, or all of it
    /// where there are no groups.
    fn of(&self, text: &str) -> String {
        let found: Vec<_> = self.pattern.captures_iter(text).collect();
        let which = match usize::try_from(self.which) {
            Ok(which) => Some(which),
            Err(_) => {
                found.len().checked_sub(usize::try_from(self.which.unsigned_abs()).unwrap_or(usize::MAX))
            }
        };
        let Some(found) = which.and_then(|which| found.get(which)) else { return NOTHING.to_owned() };
        let groups = || found.iter().skip(1).map(|group| group.map_or("", |group| group.as_str()));
        let taken = match found.len() {
            1 => found.get(0).map(|whole| whole.as_str()),
            // Of a single group what it holds, be it nothing.
            2 => groups().next(),
            _ => groups().find(|group| !group.is_empty()),
        };
        taken.unwrap_or(NOTHING).trim().to_owned()
    }
}

impl Matching {
    /// A text without what does not count.
    fn bare(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for ignored in &self.ignore {
            text = ignored.replace_all(&text, "").into_owned();
        }
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{DefinitionName, Requests, TaskDefinition};
    use std::path::Path;

    #[test]
    fn answers_are_found_as_the_harness_finds_them() {
        let definition = TaskDefinition::open(&DefinitionName::of("gsm8k").unwrap()).unwrap();
        let Requests::Generation { matching, .. } = &definition.requests else { panic!("it generates") };
        // As RegexFilter gives them.
        for (text, strict, flexible) in [
            ("so 3 + 4 = 7.\n#### 7", "7", "7"),
            ("#### -1,234.5 and #### 6", "-1,234.5", "6"),
            ("it is $12.", "[invalid]", "$12."),
            ("nothing here", "[invalid]", "[invalid]"),
            ("#### ", "[invalid]", "[invalid]"),
            ("a, b 5 c .", "[invalid]", "5"),
        ] {
            assert_eq!(matching.strict.as_ref().unwrap().of(text), strict, "{text}");
            assert_eq!(matching.flexible.as_ref().unwrap().of(text), flexible, "{text}");
        }
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/choices.json");
        let fixture: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
        let cases = fixture["extraction"].as_array().unwrap();
        assert!(cases.len() >= 12);
        for case in cases {
            let said = case["prediction"].as_str().unwrap();
            let item = TaskItem {
                references: vec![case["answer"].as_str().unwrap().to_owned()],
                ..TaskItem::default()
            };
            let found = matches(matching, &definition.metrics, &item, said.to_owned());
            for (metric, name, extraction) in [
                (Metric::StrictMatch, "strict-match", &matching.strict),
                (Metric::FlexibleExtract, "flexible-extract", &matching.flexible),
            ] {
                assert_eq!(
                    extraction.as_ref().unwrap().of(said),
                    case[name]["taken"].as_str().unwrap(),
                    "{said}"
                );
                assert_eq!(found.scores[&metric], case[name]["right"].as_f64().unwrap(), "{said} {name}");
            }
        }
        assert_eq!(matching.bare("She has 1,200.\nSo\n#### $1,200."), "1200");
        assert_eq!(matching.bare("$12."), "12");
    }
}
