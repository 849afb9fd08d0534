//! The shipped studies: each can run where its data is. Stand-ins of a row each take the data's place here, and the small
//! model that of the study's.

use espalier_tests::{host, path, run};
use serde_json::Value;
use std::{fs, path::Path};

/// The studies of papers, with how many cells each has.
const PAPERS: [(&str, usize); 6] = [
    ("sources", 1 + 2 * 5 * 10),
    ("formats", 1 + 2 * 7 * 3),
    ("self_written", 1 + 2 * 2 * 5 * 5),
    ("languages", 1 + 2 * 6 * 3),
    ("length_size_format", 1 + 2 * 19 * 3),
    ("abilities", 1 + 2 * 11 * 3),
];

#[test]
fn every_shipped_study_parses_and_says_what_it_is_of() {
    let mut found = 0;
    for entry in fs::read_dir(path("studies")).unwrap() {
        let study = entry.unwrap().path();
        if study.extension().is_some_and(|end| end == "toml") {
            espalier_host::study::StudyFile::read(&study).unwrap();
            let text = fs::read_to_string(&study).unwrap();
            assert!(
                text.starts_with("# ") && text.contains("host study tests/studies/"),
                "{}",
                study.display()
            );
            found += 1;
        }
    }
    assert!(found >= PAPERS.len() + 3, "{found}");
}

#[test]
fn the_studies_of_papers_run_where_their_data_is() {
    for (name, cells) in PAPERS {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(path("studies").join(format!("{name}.toml"))).unwrap();
        // Stand-ins are plain rows.
        let text = text.replace(".json.gz\"", ".jsonl\"").replace(".parquet\"", ".jsonl\"");
        for data in text.split('"').filter(|word| word.starts_with("data/")) {
            stand_in(&folder.path().join(data));
        }
        for beside in ["prompts", "tasks"] {
            fs::create_dir(folder.path().join(beside)).unwrap();
            for entry in fs::read_dir(path("studies").join(beside)).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), folder.path().join(beside).join(entry.file_name())).unwrap();
            }
        }
        let (head, rest) = text.split_once("[models]\n").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let model = path("models/tiny-instruct").display().to_string();
        let study = folder.path().join("study.toml");
        fs::write(&study, format!("{head}[models]\ntiny = \"{model}\"\n{rest}")).unwrap();
        let mut command = host();
        command.arg("study").arg(&study).args(["--list-cells", "json", "--device", "cpu"]);
        let listed: Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
        assert_eq!(listed["cells"].as_array().unwrap().len(), cells, "{name}");
    }
}

/// A file of one row of the shape that its name tells, or a folder with one for each part of a data set.
fn stand_in(data: &Path) {
    let name = data.file_name().unwrap().to_string_lossy().into_owned();
    let within = data.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    if data.extension().is_some() {
        fs::create_dir_all(data.parent().unwrap()).unwrap();
        fs::write(data, row(if within == "gsm8k" { "gsm8k" } else { &name })).unwrap();
        return;
    }
    fs::create_dir_all(data).unwrap();
    let of = if ["ai2_arc", "mmlu", "global_mmlu"].contains(&within.as_str()) { &within } else { &name };
    for split in ["train", "validation", "test", "dev"] {
        // As many as examples are put before an item.
        fs::write(data.join(format!("{split}.jsonl")), format!("{}\n", row(of)).repeat(6)).unwrap();
    }
}

/// A row of a data set.
fn row(of: &str) -> String {
    let of = of.split('.').next().unwrap_or(of);
    let row = match of {
        "alpaca_data" => r#"{"instruction": "Add.", "input": "1 and 2", "output": "3"}"#,
        "code_alpaca" => r#"{"instruction": "Add.", "input": "1, 2", "output": "1 + 2"}"#,
        "dolly" => r#"{"instruction": "Add 1 and 2.", "context": "", "response": "3"}"#,
        "metamath" => r#"{"query": "What is 1 and 2?", "response": "3"}"#,
        "ultrachat" => {
            r#"{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."}]}"#
        }
        "cnn_dailymail" => r#"{"article": "It was a day in May.", "highlights": "A day."}"#,
        "gsm8k" => "{\"question\": \"What is 1 and 2?\", \"answer\": \"1 and 2 is 3.\\n#### 3\"}",
        "ai2_arc" => {
            r#"{"question": "1 and 2?", "choices": {"text": ["3", "4"], "label": ["A", "B"]}, "answerKey": "A"}"#
        }
        "openbookqa" => {
            r#"{"question_stem": "1 and 2 is", "choices": {"text": ["3", "4"], "label": ["A", "B"]}, "answerKey": "A"}"#
        }
        "boolq" => r#"{"question": "is it 3", "passage": "It is 3.", "label": 1}"#,
        "rte" => r#"{"sentence1": "It is 3.", "sentence2": "It is 4.", "label": 1}"#,
        "piqa" => r#"{"goal": "Add 1 and 2.", "sol1": "3", "sol2": "4", "label": 0}"#,
        "winogrande" => {
            r#"{"sentence": "Of 3 and 4, _ is less.", "option1": "3", "option2": "4", "answer": "1"}"#
        }
        "hellaswag" => {
            r#"{"activity_label": "Adding", "ctx_a": "She adds 1 and 2.", "ctx_b": "she", "endings": ["says 3.", "sleeps."], "label": 0}"#
        }
        "lambada" => r#"{"text": "One and two is three"}"#,
        "mmlu" => {
            r#"{"subject": "sums", "question": "1 and 2?", "choices": ["1", "2", "3", "4"], "answer": 2}"#
        }
        "global_mmlu" => {
            r#"{"subject": "sums", "question": "1 and 2?", "option_a": "1", "option_b": "2", "option_c": "3", "option_d": "4", "answer": "C"}"#
        }
        _ => return format!(r#"{{"text": "One and two is {of}.", "content": "One and two is {of}."}}"#),
    };
    row.to_owned()
}
