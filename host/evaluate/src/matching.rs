//! Whether a prediction is the answer, as lm-evaluation-harness 0.4 has it.

use super::{Item, Metric, definition::Matching, items::TaskItem};

/// What stands for a prediction in which nothing is found.
const NOTHING: &str = "[invalid]";

/// The item with the prediction and its scores.
pub(super) fn matches(matching: &Matching, metrics: &[Metric], item: &TaskItem, prediction: String) -> Item {
    let bare = |text: &str| matching.ignored.bare(text);
    let score = |&metric: &Metric| {
        let extraction = match metric {
            Metric::StrictMatch => matching.strict.as_ref(),
            _ => matching.flexible.as_ref(),
        };
        let said = match extraction {
            Some(extraction) => bare(extraction.of(&prediction).as_deref().unwrap_or(NOTHING)),
            None => bare(&prediction),
        };
        let right = item.references.iter().any(|reference| bare(reference) == said);
        (metric, f64::from(u8::from(right)))
    };
    let scores = metrics.iter().map(score).collect();
    Item { scores, prediction: Some(prediction), ..Item::new(item) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{DefinitionName, Requests, TaskDefinition};
    use espalier_data::Extraction;
    use std::path::Path;

    #[test]
    fn answers_are_found_as_the_harness_finds_them() {
        let definition = TaskDefinition::open(&DefinitionName::of("gsm8k").unwrap()).unwrap();
        let Requests::Generation { matching, .. } = &definition.requests else { panic!("it generates") };
        let taken = |extraction: &Option<Extraction>, text: &str| {
            extraction.as_ref().unwrap().of(text).unwrap_or_else(|| NOTHING.to_owned())
        };
        // As RegexFilter gives them.
        for (text, strict, flexible) in [
            ("so 3 + 4 = 7.\n#### 7", "7", "7"),
            ("#### -1,234.5 and #### 6", "-1,234.5", "6"),
            ("it is $12.", "[invalid]", "$12."),
            ("nothing here", "[invalid]", "[invalid]"),
            ("#### ", "[invalid]", "[invalid]"),
            ("a, b 5 c .", "[invalid]", "5"),
        ] {
            assert_eq!(taken(&matching.strict, text), strict, "{text}");
            assert_eq!(taken(&matching.flexible, text), flexible, "{text}");
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
                assert_eq!(taken(extraction, said), case[name]["taken"].as_str().unwrap(), "{said}");
                assert_eq!(found.scores[&metric], case[name]["right"].as_f64().unwrap(), "{said} {name}");
            }
        }
        assert_eq!(matching.ignored.bare("She has 1,200.\nSo\n#### $1,200."), "1200");
        assert_eq!(matching.ignored.bare("$12."), "12");
    }
}
