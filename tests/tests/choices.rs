//! Tasks of choices and likelihoods beside lm-evaluation-harness, item by item, and what is refused of them.

use espalier_tests::{host, path, run, said};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

fn eval(model: &Path, task: &str, data: &Path) -> Command {
    let mut command = host();
    command.args(["eval", "--device", "cpu", "--json", "--task", task, "--data"]).arg(data);
    command.arg("--model").arg(model);
    command
}

/// Rows as a file of lines, named as the hub names it.
fn write(folder: &Path, split: &str, rows: &[Value]) {
    fs::create_dir_all(folder).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.join(format!("{split}-00000-of-00001.jsonl")), lines).unwrap();
}

fn fixture() -> Value {
    serde_json::from_str(&fs::read_to_string(path("fixtures/choices.json")).unwrap()).unwrap()
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The flags of a run in the chat template.
fn chat(run_of: &Value) -> Vec<String> {
    let Some(multiturn) = run_of.get("multiturn") else { return Vec::new() };
    vec!["--apply-chat-template".to_owned(), format!("--fewshot-as-multiturn={multiturn}")]
}

#[test]
fn every_item_is_as_the_harness_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = fixture();
    let (mut items, mut worst) = (0, 0f64);
    for (task, recorded) in fixture
        .as_object()
        .unwrap()
        .iter()
        .filter(|(task, _)| !matches!(task.as_str(), "gsm8k" | "extraction"))
    {
        let data = folder.path().join(task);
        write(&data, recorded["split"].as_str().unwrap(), rows(&recorded["items"]));
        if let Some(split) = recorded["examples_split"].as_str() {
            write(&data, split, rows(&recorded["examples"]));
        }
        for run_of in rows(&recorded["runs"]) {
            let shots = run_of["shots"].to_string();
            let out = folder.path().join("predictions.jsonl");
            let mut command = eval(&path("models/tiny-instruct"), task, &data);
            command.args(["--shots", &shots, "--overwrite", "--predictions"]).arg(&out);
            command.args(chat(run_of));
            let found: Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
            let result = &found["tasks"][0];
            assert_eq!(result["name"], **task);
            for (metric, mean) in run_of["means"].as_object().unwrap() {
                let name = if metric == "perplexity" { "target_perplexity" } else { metric };
                let Some(of_metric) = result["metrics"].get(name.trim_end_matches("_stderr")) else {
                    continue;
                };
                let own =
                    of_metric[if name.ends_with("_stderr") { "stderr" } else { "mean" }].as_f64().unwrap();
                let recorded = mean.as_f64().unwrap();
                assert!(
                    (own / recorded - 1.0).abs() < 1e-4 || own == recorded,
                    "{task} {metric}: {own} for {recorded}"
                );
            }
            let text = fs::read_to_string(&out).unwrap();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), rows(&run_of["items"]).len());
            for (number, (own, recorded)) in lines.iter().zip(rows(&run_of["items"])).enumerate() {
                let numbers =
                    |value: &Value| rows(value).iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
                let (choices, expected) = (numbers(&own["choices"]), numbers(&recorded["choices"]));
                assert_eq!(choices.len(), expected.len(), "{task} {number}");
                for (one, other) in choices.iter().zip(&expected) {
                    worst = worst.max((one - other).abs());
                    assert!(
                        (one - other).abs() <= 1e-4,
                        "{task}, {shots} shots, item {number}: {one} for {other}"
                    );
                }
                for metric in ["acc", "acc_norm"] {
                    assert_eq!(
                        own["scores"].get(metric),
                        recorded.get(metric),
                        "{task}, {shots} shots, item {number}"
                    );
                }
                items += 1;
            }
            // One item of each is longer than the context.
            assert!(result["counts"]["prompts_cut"].as_u64() >= Some(1), "{task}: {result}");
        }
    }
    assert!(items > 100 && worst > 0.0, "{items} items, {worst} apart");
}

#[test]
fn what_is_written_and_extracted_is_as_the_harness_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = &fixture()["gsm8k"];
    write(folder.path(), "test", rows(&recorded["items"]));
    write(folder.path(), "train", rows(&recorded["examples"]));
    let out = folder.path().join("predictions.out");
    for run_of in rows(&recorded["runs"]) {
        let shots = run_of["shots"].to_string();
        let mut command = eval(&path("models/tiny-instruct"), "gsm8k", folder.path());
        command.args(["--shots", &shots, "--max-new-tokens", "24", "--overwrite", "--predictions"]).arg(&out);
        command.args(chat(run_of));
        let found: Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
        assert_eq!(found["tasks"][0]["counts"]["prompts_cut"], 1, "{found}");
        let text = fs::read_to_string(&out).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len() * 2, rows(&run_of["items"]).len());
        for sample in rows(&run_of["items"]) {
            let own = &lines[sample["item"].as_u64().unwrap() as usize];
            let metric = sample["filter"].as_str().unwrap().replace('-', "_");
            assert_eq!(
                (&own["prediction"], &own["scores"][&metric]),
                (&sample["text"], &sample["right"]),
                "{shots} shots"
            );
        }
    }
}

#[test]
fn data_are_found_in_the_cache_of_the_hub() {
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("hub/datasets--allenai--ai2_arc");
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "abc\n").unwrap();
    let recorded = &fixture()["arc_easy"];
    let easy = repository.join("snapshots/abc/ARC-Easy");
    write(&easy, "test", rows(&recorded["items"]));
    write(&easy, "train", rows(&recorded["examples"]));
    write(&repository.join("snapshots/abc/ARC-Challenge"), "test", &rows(&recorded["items"])[..2]);
    let items = |name: &str| {
        let mut command = eval(&path("models/tiny-instruct"), "arc_easy", Path::new(name));
        let output =
            command.args(["--shots", "0"]).env("HF_HOME", cache.path()).env_remove("HF_HUB_CACHE").output();
        let output = output.unwrap();
        let found: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        (found.map(|found| found["tasks"][0]["counts"]["items"].as_u64().unwrap()), said(&output))
    };
    assert_eq!(items("allenai/ai2_arc").0, Some(rows(&recorded["items"]).len() as u64));
    assert_eq!(items("allenai/ai2_arc/ARC-Challenge").0, Some(2));
    for (name, words) in [
        ("allenai/ai2_arc/ARC-Hard", "has no ARC-Hard in"),
        ("allenai/arc", "hub/datasets--allenai--arc): download it first"),
        ("none.jsonl", "none.jsonl cannot be read"),
    ] {
        let (found, said) = items(name);
        assert!(found.is_none() && said.contains(words), "{name}: {said}");
    }
}

fn arc(question: &str, texts: &[&str], answer: &str) -> Value {
    let labels = &["A", "B", "C", "D"][..texts.len()];
    json!({ "question": question, "choices": { "text": texts, "label": labels }, "answerKey": answer })
}

#[test]
fn what_cannot_be_scored_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, rows: &[Value]| {
        let path = folder.path().join(name);
        fs::write(&path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
        path
    };
    let good = arc("Is the sea blue?", &["yes", "no"], "A");
    let mine = folder.path().join("mine.toml");
    let definition = fs::read_to_string(path("../host/evaluate/tasks/arc_easy.toml")).unwrap();
    let refused = |task: &str, data: &Path, arguments: &[&str]| {
        let out = folder.path().join("predictions.jsonl");
        let mut command = eval(&path("models/tiny-instruct"), task, data);
        let output = command.args(arguments).arg("--predictions").arg(&out).output().unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty() && !out.exists(),
            "{task} {arguments:?}"
        );
        said(&output)
    };
    let boolq = json!({ "passage": "The sea is blue.", "question": "is it", "label": 2 });
    for (task, row, words) in [
        ("boolq", &boolq, "line 2 does not fit `gold`: it is 2, and the choices are numbered from 0 to 1"),
        (
            "boolq",
            &good,
            "line 2 does not fit `gold`: the row has no field `label`, only `answerKey`, `choices`, `question`",
        ),
        (
            "arc_easy",
            &arc("Is it?", &["yes", "yes"], "A"),
            "line 2 does not fit `choices`: choices 0 and 1 (from 0) are equal",
        ),
        (
            "arc_easy",
            &arc("Is it?", &["yes", " "], "A"),
            "line 2 does not fit `choices`: choice 1 (from 0) is empty",
        ),
        ("arc_easy", &arc("Is it?", &["yes"], "A"), "there is nothing to choose from: 1 choices"),
        (
            "arc_easy",
            &arc("Is it?", &["yes", "no"], "E"),
            "line 2 does not fit `gold`: list.index: the value is not in the list",
        ),
        (
            "winogrande",
            &json!({"sentence": "No blank.", "option1": "a", "option2": "b", "answer": "1"}),
            "`target`: it is empty",
        ),
        ("lambada", &json!({ "text": 7 }), "line 2 does not fit `"),
    ] {
        let ok = if task == "boolq" {
            json!({ "passage": "a", "question": "b", "label": 1 })
        } else {
            good.clone()
        };
        let ok = match task {
            "winogrande" => json!({"sentence": "A _ b.", "option1": "a", "option2": "b", "answer": "1"}),
            "lambada" => json!({ "text": "one two" }),
            _ => ok,
        };
        let data = file("rows.jsonl", &[ok, row.clone()]);
        let found = refused(task, &data, &[]);
        assert!(found.contains(words), "{task}: {found}");
    }
    let data = file("rows.jsonl", std::slice::from_ref(&good));
    fs::write(&mine, definition.replace("gold =", "golden =")).unwrap();
    let found = refused(mine.to_str().unwrap(), &data, &[]);
    assert!(found.contains("mine.toml:6:1: unknown field `golden`"), "{found}");
    for (task, arguments, words) in [
        ("arc_easy", &["--shots", "2"][..], "they are of the split `train`: give the folder that holds it"),
        ("arc_easy", &["--metrics", "f1"], "--metrics has no meaning here"),
        ("arc_easy", &["--fewshot-as-multiturn=true"], "--apply-chat-template"),
        ("arc_easy", &["--task", "piqa"], "--data is given 1 times, and 2 of the tasks are named"),
        (
            "arc_eazy",
            &[],
            "there is no task arc_eazy; did you mean `arc_easy`?; there are arc_challenge, arc_easy",
        ),
        ("no.toml", &[], "no.toml cannot be read; a task is one of arc_challenge"),
    ] {
        let found = refused(task, &data, arguments);
        assert!(found.contains(words), "{task} {arguments:?}: {found}");
    }
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused("arc_easy", &empty, &[]).contains("has no file of the split `test`"));
    let mut rows = host();
    rows.args(["eval", "--metrics", "acc", "--task"]).arg(path("models/data/alpaca_evaluation.json"));
    let output = rows.arg("--model").arg(path("models/tiny-instruct")).output().unwrap();
    assert!(said(&output).contains("acc is measured by the definition of a task"), "{}", said(&output));
}

#[test]
fn one_bad_row_among_many_is_refused_and_a_task_of_ones_own_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    let row = |number: usize| arc(&format!("What is {number}?"), &["a fox", "two foxes", "red"], "B");
    let mut rows: Vec<_> = (0..200).map(row).collect();
    rows[77] = arc("Is it?", &["yes", "yes"], "A");
    fs::write(&data, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    let mine = folder.path().join("mine.toml");
    let definition = fs::read_to_string(path("../host/evaluate/tasks/arc_easy.toml")).unwrap();
    let examples = "count = 1\nexamples = [{ question = 'é?', choices = { text = ['a'] , label = ['A'] }, answerKey = 'A' }]\n";
    let examples = examples.replace("['a'] , label = ['A']", "['a', 'b'], label = ['A', 'B']");
    fs::write(&mine, format!("{definition}{examples}")).unwrap();
    let run_with = |extra: &[&str]| {
        let mut command = eval(&path("models/tiny-instruct"), mine.to_str().unwrap(), &data);
        command.args(extra);
        command
    };
    let out = folder.path().join("predictions.jsonl");
    let with_predictions = || {
        let mut command = run_with(&["--predictions"]);
        command.arg(&out);
        command
    };
    let refused = with_predictions().output().unwrap();
    assert!(!refused.status.success() && !out.exists(), "{}", said(&refused));
    assert!(said(&refused).contains("rows.jsonl, line 78 does not fit `choices`"), "{}", said(&refused));
    rows[77] = row(77);
    fs::write(&data, rows.iter().map(|row| format!("{row}\n")).collect::<String>() + "{\"question\": }\n")
        .unwrap();
    let refused = with_predictions().output().unwrap();
    assert!(!refused.status.success() && !out.exists(), "{}", said(&refused));
    assert!(
        said(&refused).contains("line 201") && said(&refused).contains("column 14"),
        "{}",
        said(&refused)
    );
    fs::write(&data, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    let found: Value = serde_json::from_slice(&run(&mut with_predictions()).stdout).unwrap();
    let counts = &found["tasks"][0]["counts"];
    assert_eq!((&counts["items"], &counts["refused"]), (&200.into(), &0.into()), "{found}");
    let first: Value =
        serde_json::from_str(fs::read_to_string(&out).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(first["prompt"], "Question: é?\nAnswer: a\n\nQuestion: What is 0?\nAnswer:");
    assert_eq!((&first["references"][0], &found["tasks"][0]["name"]), (&"two foxes".into(), &"mine".into()));
}

#[test]
fn a_study_reports_what_is_kept_of_an_ability() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = fixture();
    for task in ["arc_easy", "boolq", "lambada"] {
        let recorded = &fixture[task];
        let data = folder.path().join(task);
        write(&data, recorded["split"].as_str().unwrap(), rows(&recorded["items"]));
        if let Some(split) = recorded["examples_split"].as_str() {
            write(&data, split, rows(&recorded["examples"]));
        }
    }
    let study = folder.path().join("study.toml");
    let write_study = |evaluations: &str| {
        let model = path("models/tiny-instruct").display().to_string();
        let text = format!("models = '{model}'\n[methods]\nMagnitude = 0.6\n[evaluations]\n{evaluations}");
        fs::write(&study, text).unwrap();
    };
    let host_study = |out: &str| {
        let mut command = host();
        command.arg("study").arg(&study).arg("--out").arg(folder.path().join(out)).args(["--device", "cpu"]);
        command
    };
    let arc = "ARC = { task = 'arc_easy', data = 'arc_easy', group = 'commonsense' }\n";
    let words = "Words = { task = 'lambada', data = 'lambada', group = 'commonsense' }\n";
    let bool_q = "BoolQ = { task = 'boolq', data = 'boolq', shots = 1, limit = 5, chat_template = true }\n";
    write_study(&format!("{arc}{words}{bool_q}"));
    let table = String::from_utf8(run(&mut host_study("out")).stdout).unwrap();
    assert!(table.contains("## Abilities kept") && table.contains("commonsense"), "{table}");
    let csv = fs::read_to_string(folder.path().join("out/results.csv")).unwrap();
    let kept: Vec<_> = csv.lines().filter(|line| line.contains(",commonsense,retention,")).collect();
    assert!(kept.len() == 1 && kept[0].contains(",Magnitude,"), "{csv}");
    let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("Abilities kept") && page.contains("Retention at 60%"));
    // The same scores as without a study, and the same cells as without groups.
    let eval: Value = serde_json::from_slice(
        &run(&mut eval(&path("models/tiny-instruct"), "arc_easy", &folder.path().join("arc_easy"))).stdout,
    )
    .unwrap();
    let dense = |name: &str, found: &Value| {
        let mean = found["tasks"][0]["metrics"]["acc"]["mean"].as_f64().unwrap();
        assert!(csv.lines().any(|line| line.contains(&format!(",dense,,,,,,,{name},acc,{mean},"))), "{csv}");
    };
    dense("ARC", &eval);
    let mut command = self::eval(&path("models/tiny-instruct"), "boolq", &folder.path().join("boolq"));
    command.args(["--shots", "1", "--limit", "5", "--apply-chat-template"]);
    dense("BoolQ", &serde_json::from_slice(&run(&mut command).stdout).unwrap());
    write_study(&format!("{arc}{words}{bool_q}").replace(", group = 'commonsense'", ""));
    let list =
        |out: &str| String::from_utf8(run(host_study(out).args(["--list-cells", "json"])).stdout).unwrap();
    assert!(list("out").contains("\"done\"") && !list("out").contains("\"missing\""), "{}", list("out"));
    run(&mut host_study("out"));
    let without = fs::read_to_string(folder.path().join("out/results.csv")).unwrap();
    let scores = csv.lines().filter(|line| !line.contains(",retention,"));
    assert_eq!(without.lines().collect::<Vec<_>>(), scores.collect::<Vec<_>>());

    for (evaluations, words) in [
        (arc.to_owned(), "study.toml:5:55: the group commonsense has one member"),
        (
            arc.replace("arc_easy'", "arc_eazy'") + words,
            "there is no task `arc_eazy`; did you mean `arc_easy`?",
        ),
        (arc.replace("data = 'arc_easy'", "data = 'boolq'") + words, "has no file of the split `test`"),
        (
            arc.replace("group", "metrics = 'f1', group") + words,
            "the task arc_easy says itself what `metrics` is",
        ),
        (arc.replace("group", "multiturn = true, group") + words, "give `chat_template = true` too"),
        (arc.replace("data = 'arc_easy'", "data = 'allenai/none'") + words, "datasets--allenai--none"),
        (arc.replace("group", "shots = 100, group") + words, "100 are drawn for an item, and there are 8"),
        (arc.replace("data =", "file ="), "lacks `data`"),
    ] {
        write_study(&evaluations);
        let output = host_study("other").output().unwrap();
        assert!(!output.status.success() && !folder.path().join("other").exists());
        assert!(said(&output).contains(words), "{evaluations}: {}", said(&output));
    }
}
