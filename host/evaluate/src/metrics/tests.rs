use super::{exact_match, f1, porter::stem, rouge::Rouge, rouge1};
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Deserialize)]
struct Row {
    prediction: String,
    references: Vec<String>,
    exact_match: f64,
    f1: f64,
    rouge1: Recorded,
    rouge1_stemmed: Recorded,
}

#[derive(Deserialize)]
struct Recorded {
    precision: f64,
    recall: f64,
    fmeasure: f64,
}

fn read<T: for<'a> Deserialize<'a>>(fixture: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(fixture);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn metrics_are_those_of_the_published_codes() {
    let rows: Vec<Row> = read("metrics.json");
    assert!(rows.len() >= 300);
    for row in rows {
        let close = |found: f64, recorded: f64, what: &str| {
            let (prediction, references) = (&row.prediction, &row.references);
            assert!(
                (found - recorded).abs() < 1e-9,
                "{what} of {prediction:?} for {references:?}: {found}, not {recorded}"
            );
        };
        let (prediction, references) = (row.prediction.as_str(), row.references.as_slice());
        close(exact_match(prediction, references), row.exact_match, "exact match");
        close(f1(prediction, references), row.f1, "F1");
        for (stemmed, recorded) in [(false, &row.rouge1), (true, &row.rouge1_stemmed)] {
            let Rouge { precision, recall, fmeasure } = rouge1(prediction, references, stemmed);
            close(precision, recorded.precision, "ROUGE-1 precision");
            close(recall, recorded.recall, "ROUGE-1 recall");
            close(fmeasure, recorded.fmeasure, "ROUGE-1");
        }
    }
}

#[test]
fn stems_are_those_of_nltk() {
    let stems: Vec<(String, String)> = read("stems.json");
    assert!(stems.len() >= 1000);
    for (word, recorded) in stems {
        assert_eq!(stem(&word), recorded, "{word}");
    }
}
