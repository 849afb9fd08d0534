//! `host eval` on tasks: what is printed, what is kept, and what is refused.

use espalier_tests::{copy_model, host, path, run, said};
use serde_json::Value;
use std::{path::Path, process::Command};

fn eval(task: &Path) -> Command {
    let mut command = host();
    command.args(["eval", "--device", "cpu", "--json", "--limit", "24", "--max-new-tokens", "24"]);
    command.arg("--model").arg(path("models/tiny-instruct")).arg("--task").arg(task);
    command
}

fn json(command: &mut Command) -> Value {
    let output = run(command);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)))
}

fn mean(found: &Value, metric: &str) -> f64 {
    found["tasks"][0]["metrics"][metric]["mean"].as_f64().unwrap_or_else(|| panic!("{metric} in {found}"))
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_prediction_is_kept_with_its_scores() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("predictions.jsonl");
    let task = path("models/data/alpaca_evaluation.json");
    let metrics = "exact_match,f1,rouge1,rouge1_stemmed,answer_perplexity";
    let command = || {
        let mut command = eval(&task);
        command.args(["--metrics", metrics]).arg("--predictions").arg(&file).arg("--overwrite");
        command
    };
    let found = json(&mut command());
    let result = &found["tasks"][0];
    assert_eq!((&result["name"], &result["counts"]["items"]), (&"alpaca_evaluation".into(), &24.into()));
    let kept = lines(&file);
    assert_eq!(kept.len(), 24);
    for metric in ["exact_match", "f1", "rouge1"] {
        let sum: f64 = kept.iter().map(|line| line["scores"][metric].as_f64().unwrap()).sum();
        assert!((sum / 24.0 - mean(&found, metric)).abs() < 1e-12, "{metric}");
        let [low, high] = ["low", "high"].map(|end| result["metrics"][metric][end].as_f64().unwrap());
        assert!(low <= mean(&found, metric) && mean(&found, metric) <= high && low < high, "{metric}");
    }
    // The loss of all answers' tokens together.
    let (loss, tokens) = kept.iter().fold((0.0, 0.0), |(loss, tokens), line| {
        let [own, count] =
            [&line["scores"]["answer_perplexity"], &line["tokens"]].map(|x| x.as_f64().unwrap());
        (loss + own.ln() * count, tokens + count)
    });
    assert!((mean(&found, "answer_perplexity") / f64::exp(loss / tokens) - 1.0).abs() < 1e-9);
    for (number, line) in kept.iter().enumerate() {
        assert_eq!((&line["task"], &line["item"]), (&"alpaca_evaluation".into(), &number.into()));
        let prompt = line["prompt"].as_str().unwrap();
        assert!(prompt.ends_with("### Response:\n"), "{prompt:?}");
        let equal = line["references"].as_array().unwrap().contains(&line["prediction"]);
        assert!(!equal || line["scores"]["exact_match"] == 1.0, "{line}");
    }
    assert!(kept.iter().any(|line| line["scores"]["exact_match"] == 1.0), "the model knows some");
    // The same again, to the byte.
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(json(&mut command()), found);
    assert!(std::fs::read(&file).unwrap() == bytes);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn the_divergence_from_itself_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pruned = folder.path().join("pruned");
    let mut prune = host();
    prune.args(["--plugin", "magnitude", "--device", "cpu", "--sparsity", "0.3", "--model"]);
    prune.arg(path("models/tiny-instruct")).arg("--out").arg(&pruned);
    let output = prune.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let task = path("models/data/unnatural_evaluation.jsonl");
    let compare = |model: &Path| {
        let mut command = host();
        command.args(["eval", "--device", "cpu", "--json", "--limit", "12"]);
        command.args(["--metrics", "js_divergence,answer_perplexity"]);
        command.arg("--dense").arg(path("models/tiny-instruct"));
        command.arg("--model").arg(model).arg("--task").arg(&task);
        mean(&json(&mut command), "js_divergence")
    };
    assert_eq!(compare(&path("models/tiny-instruct")), 0.0);
    let found = compare(&pruned);
    assert!(found > 1e-6 && found < std::f64::consts::LN_2, "{found}");
}

#[test]
fn running_text_has_perplexity() {
    let text = path("models/data/text_evaluation.txt");
    let mut task = host();
    task.args(["eval", "--device", "cpu", "--json", "--metrics", "perplexity", "--model"]);
    task.arg(path("models/tiny-instruct")).arg("--task").arg(&text).arg("--perplexity").arg(&text);
    let found = json(&mut task);
    let expected = found["perplexity"].as_f64().unwrap();
    assert!((mean(&found, "perplexity") / expected - 1.0).abs() < 1e-6, "{found}");

    for compute in ["f16", "bf16"] {
        let mut rounded = host();
        rounded.args(["eval", "--device", "cpu", "--json", "--compute", compute, "--model"]);
        rounded.arg(path("models/tiny-instruct")).arg("--perplexity").arg(&text);
        let rounded = json(&mut rounded)["perplexity"].as_f64().unwrap() / expected;
        assert!(rounded != 1.0 && (rounded - 1.0).abs() < 2e-3, "{compute}: {rounded} times the perplexity");
    }
    task.args(["--compute", "f64"]);
    assert!(said(&task.output().unwrap()).contains("choose f32, f16 or bf16"));
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let answers = path("models/data/alpaca_evaluation.json");
    let text = path("models/data/text_evaluation.txt");
    let predictions = folder.path().join("predictions.jsonl");
    for (task, arguments, words) in [
        (&text, ["--metrics", "exact_match"], "exact_match needs answers to compare with"),
        (&text, ["--metrics", "answer_perplexity"], "answer_perplexity needs answers"),
        (&answers, ["--metrics", "perplexity"], "perplexity is for running text"),
        (&answers, ["--metrics", "f1,bleu"], "there is no metric `bleu`"),
        (&answers, ["--metrics", "js_divergence"], "give its folder with --dense"),
        (&answers, ["--max-new-tokens", "256"], "leave no room for a prompt in the model's context of 256"),
        (&answers, ["--prompt", "no-such-file"], "no-such-file"),
    ] {
        let output = eval(task).args(arguments).arg("--predictions").arg(&predictions).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn long_prompts_lose_their_beginning_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let task = folder.path().join("task.jsonl");
    let row = |words: usize, output: &str| {
        serde_json::json!({"instruction": "fox ".repeat(words), "output": output}).to_string()
    };
    std::fs::write(&task, [row(2, "red"), row(400, "red"), row(2, "")].join("\n")).unwrap();
    let found = json(eval(&task).args(["--metrics", "f1,answer_perplexity"]));
    let counts = &found["tasks"][0]["counts"];
    let expected = serde_json::json!({
        "items": 2, "without_answer": 1, "prompts_cut": 1, "answers_cut": 1, "refused": 0, "rewritten": 0, "unseen_by_rouge": 0
    });
    assert_eq!(counts, &expected);
}

/// A prediction that is stopped is what would have been written up to there.
#[test]
fn stops_end_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let predictions = |stops: &[&str]| -> Vec<String> {
        let file = folder.path().join("predictions.jsonl");
        let mut command = eval(&path("models/data/alpaca_evaluation.json"));
        command.args(["--metrics", "f1"]).arg("--predictions").arg(&file).arg("--overwrite");
        command.args(stops.iter().flat_map(|stop| ["--stop", stop]));
        json(&mut command);
        lines(&file).iter().map(|line| line["prediction"].as_str().unwrap().to_owned()).collect()
    };
    let (whole, stopped) = (predictions(&[]), predictions(&["e", "the ", "<pad>"]));
    let cut = |text: &String| text.split(['e']).next().unwrap_or_default().trim().to_owned();
    assert_eq!(stopped, whole.iter().map(cut).collect::<Vec<_>>());
    assert!(whole.iter().any(|text| text.contains('e')));

    let output = eval(&path("models/data/alpaca_evaluation.json")).args(["--stop", ""]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

/// One row in a hundred may be one that the model's template refuses.
#[test]
fn a_refused_row_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_model(&model);
    let template = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
        {{ raise_exception('roles must take turns') }}{% endif %}{{ m.content }}\n{% endfor %}";
    std::fs::write(model.join("chat_template.jinja"), template).unwrap();
    let row = |roles: &[&str]| {
        let messages: Vec<_> =
            roles.iter().map(|role| serde_json::json!({"role": role, "content": "fox"})).collect();
        serde_json::json!({ "messages": messages }).to_string()
    };
    let mut rows = vec![row(&["user", "assistant"]); 199];
    rows.insert(120, row(&["user", "user", "assistant"]));
    let task = folder.path().join("task.jsonl");
    std::fs::write(&task, rows.join("\n")).unwrap();
    let run = || {
        let mut command = host();
        command.args(["eval", "--device", "cpu", "--json", "--max-new-tokens", "1", "--metrics", "f1"]);
        command.arg("--model").arg(&model).arg("--task").arg(&task);
        command
    };
    let output = run().output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let counts = &found["tasks"][0]["counts"];
    assert_eq!((&counts["items"], &counts["refused"]), (&199.into(), &1.into()));
    let words = ["1 rows cannot be rendered", "line 121", "roles must take turns"];
    assert!(words.iter().all(|words| said(&output).contains(words)), "{}", said(&output));
    std::fs::write(&task, [&rows[100..], &rows[115..125]].concat().join("\n")).unwrap();
    let output = run().output().unwrap();
    assert!(!output.status.success() && said(&output).contains("rows cannot be used"), "{}", said(&output));
}

/// Sequences beyond the model's context are measured as transformers measures them, with a word.
#[test]
fn more_than_the_context_is_warned_of() {
    let output = run(eval(&path("models/data/text_evaluation.txt")).args([
        "--metrics",
        "perplexity",
        "--seqlen",
        "300",
    ]));
    assert!(
        said(&output).contains("300 tokens are more than the model's context of 256"),
        "{}",
        said(&output)
    );
}

/// A model that computes NaN has no perplexity, and that is an error.
#[test]
fn a_model_that_computes_nan_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_model(&model);
    let weights = model.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let begin = 8 + header + metadata.info("model.norm.weight").unwrap().data_offsets.0;
    bytes[begin..begin + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(weights, bytes).unwrap();
    for (flag, data, words) in [
        ("--perplexity", "models/data/text_evaluation.txt", "the model's logits for sequence 0 are NaN"),
        ("--task", "models/data/alpaca_evaluation.json", "the task alpaca_evaluation cannot be measured"),
    ] {
        let mut command = host();
        command.args(["eval", "--device", "cpu", "--json", "--metrics", "answer_perplexity", "--model"]);
        let output = command.arg(&model).arg(flag).arg(path(data)).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(words), "{}", said(&output));
        assert!(output.stdout.is_empty(), "{}", said(&output));
    }
}
