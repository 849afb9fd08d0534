//! Choosing calibration windows, from the command line: every selector, every way of cutting, and that what was
//! chosen is used.

use espalier_host::data::Tokenizer;
use espalier_tests::{built, host, path, run, said};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

const SELECTORS: [&str; 11] = [
    "random",
    "first",
    "length",
    "perplexity",
    "diverse",
    "zipf",
    "balanced",
    "clusters",
    "language",
    "mix",
    "self",
];

fn data(name: &str) -> PathBuf {
    path("models/data").join(name)
}

fn select(out: &Path, flags: &[&str]) -> Command {
    let mut command = host();
    command.args(["select", "--device", "cpu", "--samples", "6", "--seqlen", "48"]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(data("c4.jsonl"));
    command.arg("--out").arg(out).args(flags);
    command
}

fn prune(out: &Path, calibration: &Path) -> Command {
    let mut command = host();
    command.args(["--plugin", "wanda", "--device", "cpu"]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(calibration).arg("--out").arg(out);
    command
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&run(command.arg("--json")).stdout).unwrap()
}

fn rows(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(row: &Value) -> Vec<u64> {
    row["input_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

fn write(folder: &Path, name: &str, lines: impl IntoIterator<Item = Value>) -> PathBuf {
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn every_selector_gives_what_is_asked_for_and_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    for selector in SELECTORS {
        let file = |name: &str| folder.path().join(format!("{selector}-{name}.jsonl"));
        for (name, seed, isolate) in [("a", "3", "never"), ("b", "3", "always"), ("c", "4", "never")] {
            let isolate = format!("--isolate={isolate}");
            let mut command = select(&file(name), &["--selector", selector, "--seed", seed, &isolate]);
            if selector == "language" {
                command.args(["--option", "script=Latin"]);
            }
            let report = json(&mut command);
            assert_eq!(report["record"]["selector"]["name"], selector);
            assert_eq!(report["summary"]["windows"], 6, "{selector}: {report}");
            assert_eq!(report["summary"]["tokens"], 6 * 48, "{selector}: {report}");
        }
        let read = |name: &str| std::fs::read(file(name)).unwrap();
        // In a process of its own, too.
        assert!(read("a") == read("b"), "{selector}");
        // What is first or longest is so whatever the seed; its crops are not.
        assert!(read("a") != read("c"), "{selector}: the seed has no effect");
        for row in rows(&file("a")) {
            assert_eq!(ids(&row).len(), 48);
            assert_eq!(row["attention_mask"], Value::from(vec![1; 48]));
            assert!(row["text"].as_str().is_some_and(|text| text.len() > 20), "{row}");
            assert_eq!(row["source"].is_string(), selector != "self", "{row}");
            let scored = !["random", "first", "mix"].contains(&selector);
            assert_eq!(row["score"].is_number(), scored, "{selector}: {row}");
        }
    }
}

#[test]
fn selectors_prefer_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    let scores = |flags: &[&str]| -> Vec<f64> {
        run(&mut select(&out, &[flags, &["--windows", "single", "--overwrite"]].concat()));
        rows(&out).iter().map(|row| row["score"].as_f64().unwrap()).collect()
    };
    let low = scores(&["--selector", "perplexity", "--option", "band=low"]);
    let high = scores(&["--selector", "perplexity", "--option", "band=high"]);
    let middle = scores(&["--selector", "perplexity"]);
    assert!(low.is_sorted() && high.is_sorted_by(|a, b| a >= b), "{low:?} {high:?}");
    let (most, least) = (low[5], high[5]);
    assert!(middle.iter().all(|score| (most..least).contains(score)), "{low:?} {middle:?} {high:?}");

    let longest = scores(&["--selector", "length"]);
    let nearest = scores(&["--selector", "length", "--option", "order=nearest", "--option", "target=100"]);
    let shortest = scores(&["--selector", "length", "--option", "order=shortest"]);
    assert!(longest[5] > shortest[5] && shortest.is_sorted(), "{longest:?} {shortest:?}");
    assert!(nearest.iter().all(|length| (length - 100.0).abs() < (longest[0] - 100.0).abs()), "{nearest:?}");

    let unique = |selector: &str| {
        let report = json(&mut select(&out, &["--selector", selector, "--samples", "12", "--overwrite"]));
        report["summary"]["unique_tokens"].as_u64().unwrap()
    };
    assert!(unique("diverse") > unique("first"));
}

/// Windows of what the model samples to the prompts of the Alpaca rows.
fn answered(out: &Path, flags: &[&str]) -> Command {
    let mut command = host();
    command.args(["select", "--device", "cpu", "--windows", "single", "--seqlen", "96", "--overwrite"]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(data("alpaca_calibration.json"));
    command.arg("--out").arg(out).args(flags);
    command
}

#[test]
fn the_model_answers_prompts_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tokenizer = Tokenizer::open(&path("models/tiny-instruct"), usize::MAX).unwrap();
    let flags = ["--selector", "traces", "--samples", "8", "--seed", "3", "--loss-mask", "answers"];
    let exact = [&flags[..], &["--option", "match=exact", "--option", "samples=2"]].concat();
    let report = json(&mut answered(&at("a.jsonl"), &exact));
    assert_eq!(report["summary"]["windows"], 8, "{report}");
    // In a process of its own, too.
    run(answered(&at("b.jsonl"), &exact).arg("--isolate=always"));
    let read = |name: &str| std::fs::read(at(name)).unwrap();
    assert!(read("a.jsonl") == read("b.jsonl"));
    let source: Vec<Value> =
        serde_json::from_slice(&std::fs::read(data("alpaca_calibration.json")).unwrap()).unwrap();
    for row in rows(&at("a.jsonl")) {
        let (ids, mask) = (ids(&row), row["loss_mask"].as_array().unwrap().clone());
        let prompt = mask.iter().take_while(|weight| **weight == 0.0).count();
        assert!(mask[prompt..].iter().all(|weight| *weight == 1.0), "{row}");
        // The prompt is the row's in the model's chat template; the answer is the row's, too, or it would not be kept.
        let piece = &row["pieces"][0];
        assert_eq!((piece["length"].as_u64(), piece["offset"].as_u64()), (Some(prompt as u64), Some(0)));
        let from = &source[row["document"].as_u64().unwrap() as usize];
        let text = |ids: &[u64]| {
            let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
            tokenizer.decode_all(&ids).unwrap()
        };
        let asked = text(&ids[..prompt]);
        assert!(asked.ends_with("### Response:\n"), "{asked}");
        assert!(asked.contains(from["instruction"].as_str().unwrap()), "{asked}");
        let said = text(&ids[prompt..]).replace("</s>", "");
        assert_eq!(said.trim().to_lowercase(), from["output"].as_str().unwrap().trim().to_lowercase());
        assert_eq!(row["score"].as_f64(), Some((ids.len() - prompt) as f64));
    }
    // What was chosen is pruned on as it is, with the weights of its tokens.
    let manifest = json(&mut prune(&at("pruned"), &at("a.jsonl")));
    assert_eq!(manifest["calibration"]["windows_sha256"], report["record"]["windows_sha256"]);
    // By length, another format of the prompt, and no more tokens than are asked for.
    let length = ["--option", "min_tokens=4", "--option", "max_new_tokens=6", "--option", "temperature=1.5"];
    run(&mut answered(&at("c.jsonl"), &[&flags[..], &length, &["--prompt", "raw"]].concat()));
    for row in rows(&at("c.jsonl")) {
        assert!((4.0..=6.0).contains(&row["score"].as_f64().unwrap()), "{row}");
        assert!(!row["text"].as_str().unwrap().contains("###"), "{row}");
    }

    // Rows by how often the answers are right.
    let bands = [("min=1", "max=1"), ("min=0", "max=0")].map(|(min, max)| {
        let tries = [
            "--selector",
            "difficulty",
            "--samples",
            "4",
            "--option",
            "samples=3",
            "--option",
            "match=exact",
        ];
        let band =
            ["--option", min, "--option", max, "--option", "temperature=2", "--option", "max_new_tokens=8"];
        run(&mut answered(&at("d.jsonl"), &[&tries[..], &band].concat()));
        rows(&at("d.jsonl"))
    });
    for (rows, share) in bands.iter().zip([1.0, 0.0]) {
        assert!(rows.len() == 4 && rows.iter().all(|row| row["score"] == share), "{rows:?}");
        // They are the rows themselves, with their own answers.
        let own = rows.iter().all(|row| row["pieces"][0]["length"].as_u64() == Some(ids(row).len() as u64));
        assert!(own, "{rows:?}");
    }
    let named = |row: &Value| row["document"].as_u64();
    assert!(bands[0].iter().all(|row| bands[1].iter().all(|other| named(row) != named(other))));

    let mut command = select(&at("e.jsonl"), &["--selector", "traces"]);
    refused(&mut command, "no row has a prompt that could be answered", &at("e.jsonl"));
}

#[test]
fn a_mix_is_exact_to_one_window() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    for (by, weights, expected) in
        [("equal", ["", "", ""], [7, 7, 6]), ("weights", [":1", ":3", ":4"], [3, 7, 10])]
    {
        let mut command = host();
        command.args(["select", "--selector", "mix", "--samples", "20", "--seqlen", "32", "--overwrite"]);
        command.args(["--option", &format!("by={by}")]).arg("--model").arg(path("models/tiny-instruct"));
        for (name, weight) in
            ["alpaca_calibration.json", "c4.jsonl", "unnatural_calibration.jsonl"].iter().zip(weights)
        {
            command.arg("--calibration").arg(format!("{}{weight}", data(name).display()));
        }
        let report = json(command.arg("--out").arg(&out));
        let sources = report["summary"]["sources"].as_object().unwrap();
        let windows: Vec<_> = sources.values().map(|share| share["windows"].as_u64().unwrap()).collect();
        // 1/8, 3/8 and 4/8 of 20 are 2.5, 7.5 and 10.
        assert_eq!(windows, expected, "{by}: {report}");
        // The windows of a source are its own.
        assert!(sources.values().all(|share| share["tokens"] == share["windows"].as_u64().unwrap() * 32));
    }
}

#[test]
fn the_draw_is_uniform_and_goes_by_weights() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |from: u64, count: u64| (from..from + count).map(|id| serde_json::json!({"input_ids": [id]}));
    let first = write(folder.path(), "first.jsonl", lines(10, 6));
    let second = write(folder.path(), "second.jsonl", lines(16, 2));
    let out = folder.path().join("windows.jsonl");
    let drawn = |weights: [&str; 2], seed: u64| {
        let mut command = host();
        // The old word for it.
        command.args(["select", "--selector", "random", "--windows", "pad", "--samples", "1", "--overwrite"]);
        command.args(["--seed", &seed.to_string()]).arg("--model").arg(path("models/tiny-instruct"));
        for (file, weight) in [&first, &second].iter().zip(weights) {
            command.arg("--calibration").arg(format!("{}{weight}", file.display()));
        }
        run(command.arg("--out").arg(&out));
        ids(&rows(&out)[0])[0] as usize - 10
    };
    // Chi-squared with 7 degrees of freedom: 24.32 is passed once in a thousand such tests.
    let check = |weights: [&str; 2], expected: [f64; 8]| {
        let mut counts = [0u32; 8];
        (0..160).for_each(|seed| counts[drawn(weights, seed)] += 1);
        let chi: f64 = counts.iter().zip(expected).map(|(&c, e)| (f64::from(c) - e).powi(2) / e).sum();
        assert!(chi < 24.32, "{counts:?} gives {chi}");
    };
    check(["", ""], [20.0; 8]);
    check([":0.5", ":0.5"], [13.33, 13.33, 13.33, 13.33, 13.33, 13.33, 40.0, 40.0]);
}

#[test]
fn a_file_of_windows_reproduces_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let windows = folder.path().join("windows.jsonl");
    let weights = |out: &str| std::fs::read(folder.path().join(out).join("model.safetensors")).unwrap();
    for (mode, selector) in [("crop", "random"), ("pack", "diverse"), ("single", "perplexity")] {
        let flags = ["--windows", mode, "--selector", selector, "--seed", "5"];
        let report = json(select(&windows, &flags).arg("--overwrite"));
        let (direct, again) = (format!("{mode}-direct"), format!("{mode}-again"));
        let mut command = prune(&folder.path().join(&direct), &data("c4.jsonl"));
        let manifest = json(command.args(flags).args(["--samples", "6", "--seqlen", "48"]));
        let reproduced = json(&mut prune(&folder.path().join(&again), &windows));
        assert!(weights(&direct) == weights(&again), "{mode}");
        let record = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
        for key in ["windows_sha256", "fingerprint"] {
            assert_eq!(record(&report["record"], key), record(&manifest["calibration"], key), "{mode}");
        }
        let hash = record(&reproduced["calibration"], "windows_sha256");
        assert_eq!(hash, record(&manifest["calibration"], "windows_sha256"), "{mode}");
        assert_ne!(
            record(&reproduced["calibration"], "fingerprint"),
            record(&manifest["calibration"], "fingerprint")
        );
    }
}

#[test]
fn padding_is_inert() {
    let folder = tempfile::tempdir().unwrap();
    let windows = folder.path().join("windows.jsonl");
    let flags = ["--windows", "single", "--seqlen", "96"];
    run(select(&windows, &flags).arg("--calibration").arg(data("alpaca_calibration.json")));
    let examples: Vec<Vec<u64>> = rows(&windows).iter().map(ids).collect();
    let lengths: BTreeSet<usize> = examples.iter().map(Vec::len).collect();
    assert!(lengths.len() > 1, "{lengths:?}");
    let padded = |method: &str, width: usize, left: bool| {
        let name = format!("{method}-{width}-{left}");
        let row = |ids: &Vec<u64>| {
            let padding = width - ids.len();
            // Not always the same token, as padding must not matter.
            let pad: Vec<u64> = (0..padding as u64).map(|at| at % 7).collect();
            let (pad, mask) = (pad.as_slice(), |ones: usize| vec![1; ones]);
            let (ids, ones, zeros) = (ids.as_slice(), mask(ids.len()), vec![0; padding]);
            if left {
                serde_json::json!({"input_ids": ([pad, ids].concat()), "attention_mask": ([zeros, ones].concat())})
            } else {
                serde_json::json!({"input_ids": ([ids, pad].concat()), "attention_mask": ([ones, zeros].concat())})
            }
        };
        let file = write(folder.path(), &format!("{name}.jsonl"), examples.iter().map(row));
        let out = folder.path().join(&name);
        let manifest = json(prune(&out, &file).args(["--plugin", "sparsegpt", "--method", method]));
        let weights = std::fs::read(out.join("model.safetensors")).unwrap();
        let errors: Vec<Value> =
            manifest["layers"].as_array().unwrap().iter().map(|layer| layer["error"].clone()).collect();
        (weights, errors)
    };
    // Wanda's masks and SparseGPT's updates both come of the statistics.
    for method in ["wanda", "sparsegpt"] {
        let right = padded(method, 96, false);
        assert!(right == padded(method, 140, false) && right == padded(method, 96, true), "{method}");
    }
}

#[test]
fn a_budget_in_tokens_is_met_to_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    for mode in ["crop", "pack", "single"] {
        let mut command = host();
        command.args(["select", "--tokens", "1000", "--seqlen", "48", "--windows", mode, "--overwrite"]);
        command.arg("--model").arg(path("models/tiny-instruct")).arg("--calibration").arg(data("c4.jsonl"));
        let report = json(command.arg("--out").arg(&out));
        assert_eq!(report["summary"]["tokens"], 1000, "{mode}");
        assert!(rows(&out).iter().all(|row| ids(row).len() <= 48), "{mode}");
    }
}

#[test]
fn short_text_is_packed_where_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let line = |at: u64| serde_json::json!({"text": format!("Anna had {at} boats.")});
    let short = write(folder.path(), "short.jsonl", (0..80).map(line));
    let out = folder.path().join("windows.jsonl");
    let command = |flags: &[&str]| {
        let mut command = host();
        command.args(["select", "--samples", "4", "--seqlen", "48"]).args(flags);
        command.arg("--model").arg(path("models/tiny-instruct")).arg("--calibration").arg(&short);
        command.arg("--out").arg(&out);
        command
    };
    let said_to = said(&run(&mut command(&[])));
    assert!(said_to.contains("no document is as long as a window of 48 tokens"), "{said_to}");
    assert!(rows(&out).iter().all(|row| ids(row).len() == 48 && row["pieces"].as_array().unwrap().len() > 1));
    std::fs::remove_file(&out).unwrap();
    refused(&mut command(&["--windows", "crop"]), "80 of 80 documents are shorter than a window of 48", &out);
    refused(&mut command(&["--samples", "400"]), "and a window of 48 each takes 19200", &out);
    refused(&mut command(&["--windows", "single", "--samples", "81"]), "there are 80 documents", &out);
}

#[test]
fn a_file_is_whole_or_not_there_and_kept_unless_it_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    std::fs::write(&out, "precious").unwrap();
    let output = select(&out, &[]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("--overwrite"), "{}", said(&output));
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    run(&mut select(&out, &["--overwrite"]));
    assert_eq!(rows(&out).len(), 6);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn selections_are_compared_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.jsonl"), folder.path().join("second.jsonl"));
    run(&mut select(&first, &["--selector", "first", "--windows", "single"]));
    let compare = first.to_str().unwrap();
    let flags = ["--selector", "first", "--windows", "single", "--samples", "9", "--compare", compare];
    let report = json(&mut select(&second, &flags));
    let overlap = &report["overlap"];
    assert_eq!((&overlap["windows"], &overlap["documents"]), (&6.into(), &6.into()), "{overlap}");
    assert_eq!(overlap["all_documents"], 9, "{overlap}");
    let shown = run(&mut select(&second, &["--show-samples", "2", "--overwrite", "--windows", "pack"]));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.matches("--- window ").count(), 2, "{shown}");
    // Special tokens are seen.
    assert!(shown.contains("<s>"), "{shown}");
}

#[test]
fn selectors_that_lie_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    let hostile = built().join("libhostile.so");
    for (lie, words) in [
        ("document", "it offered document 300, but the collection has 300, from 0"),
        ("tokens", "it offered the token 4294967295, but the model's vocabulary ends at 1023"),
        ("no_tokens", "a text of its own without a token"),
        ("endless", "it does not stop offering"),
        ("few", "found 1 windows, where 6 windows are wanted"),
        ("deaf", "but the collection has 300, from 0"),
        ("model", "it asks the model, which it did not say it needs"),
        ("panics", "panicked: lost at"),
    ] {
        for isolate in ["--isolate=never", "--isolate=always"] {
            let mut command =
                select(&out, &["--selector", "liar", "--option", &format!("lie={lie}"), isolate]);
            refused(command.arg("--plugin").arg(&hostile), words, &out);
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{lie}: something was left behind");
        }
    }
}

#[cfg(unix)]
#[test]
fn faults_of_an_isolated_selector_are_errors_that_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    for (lie, words) in [
        ("crashes", "libhostile.so crashed with signal 11"),
        ("aborts", "libhostile.so crashed with signal 6"),
        ("exits", "libhostile.so ended itself with exit code 0"),
        ("loops", "libhostile.so gave no sign of life for 1 s"),
    ] {
        let lie = format!("lie={lie}");
        let mut command = select(&out, &["--plugin", "hostile", "--selector", "liar", "--option", &lie]);
        refused(command.args(["--isolate", "--plugin-timeout", "1"]), words, &out);
    }
}

#[test]
fn options_of_selectors_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("windows.jsonl");
    for (selector, option, words) in [
        ("perplexity", "band=lowest", "must be one of low, middle, high"),
        ("perplexity", "pool=0", "must be at least 1"),
        ("length", "order=long", "must be one of longest, shortest, nearest"),
        ("clusters", "layers=7", "`7` is not a layer from 0 to 3"),
        ("mix", "by=size", "must be one of equal, weights, tokens"),
        ("self", "drop=1", "must be from 0 to 0.9"),
        ("difficulty", "min=0.9", "option `min` is 0.9, above `max`, which is 0.8"),
        ("traces", "match=(", "`(` is not a regular expression"),
        ("random", "pool=3", "unknown option `pool`"),
        ("no-such", "pool=3", "looked for libno-such.so"),
    ] {
        let mut command = select(&out, &["--selector", selector, "--option", option]);
        refused(&mut command, words, &out);
    }
}

/// Fails without a panic, says `words`, and writes nothing.
fn refused(command: &mut Command, words: &str, out: &Path) {
    let output = command.output().unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{command:?} succeeded");
    assert!(output.status.code().is_some_and(|code| code < 100), "{:?}: {said}", output.status);
    assert!(said.contains(words), "no `{words}` in: {said}");
    assert!(!out.exists(), "{command:?}");
}

#[test]
fn statistics_count_answers_alone_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let lines = [
        ("Say it.", "the cat sat on the mat and looked at the dog"),
        ("Name a colour that the sky has.", "blue is a colour of the sky"),
    ];
    let row = |(instruction, output): (&str, &str)| serde_json::json!({ "instruction": instruction, "output": output });
    let data = write(folder.path(), "rows.jsonl", lines.iter().cycle().take(24).map(|&line| row(line)));
    let select = |windows: &str, mask: &[&str]| {
        let out = at(&format!("{windows}-{}.jsonl", mask.len()));
        let mut command = host();
        command.args(["select", "--device", "cpu", "--samples", "4", "--seqlen", "96", "--windows", windows]);
        command.arg("--model").arg(path("models/tiny-instruct")).arg("--calibration").arg(&data);
        run(command.args(mask).arg("--out").arg(&out));
        out
    };
    let answers = ["--loss-mask", "answers"];
    let tokenizer = Tokenizer::open(&path("models/tiny-instruct"), usize::MAX).unwrap();
    for row in rows(&select("single", &answers)) {
        let counts = row["loss_mask"].as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap());
        let counted: Vec<u32> = ids(&row)
            .into_iter()
            .zip(counts)
            .filter(|(_, counts)| *counts == 1.0)
            .map(|(id, _)| id as u32)
            .collect();
        let text = tokenizer.decode_all(&counted).unwrap();
        assert!(lines.iter().any(|(_, answer)| text.contains(answer)), "{text}");
        assert!(!lines.iter().any(|(instruction, _)| text.contains(instruction)), "{text}");
    }
    assert!(rows(&select("single", &[])).iter().all(|row| row.get("loss_mask").is_none()));

    // The same, whether windows are cut for the run or ready; another model than from all tokens.
    let weights = |name: &str, calibration: &Path, flags: &[&str]| {
        run(prune(&at(name), calibration).args(flags));
        std::fs::read(at(name).join("model.safetensors")).unwrap()
    };
    let cut = ["--samples", "4", "--seqlen", "96"];
    let direct = weights("direct", &data, &[&cut[..], &answers].concat());
    assert!(direct == weights("ready", &select("pack", &answers), &[]));
    assert!(direct != weights("all", &data, &cut));
    let counted = |name: &str| {
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(at(name).join("espalier.json")).unwrap()).unwrap();
        (
            manifest["calibration"]["tokens"].as_u64().unwrap(),
            manifest["calibration"]["counted_tokens"].as_u64(),
        )
    };
    let (tokens, masked) = counted("direct");
    assert!(masked.unwrap() < tokens && masked == counted("ready").1);
    assert_eq!(counted("all").1, None);

    for (calibration, why) in [
        (path("models/data/c4.jsonl"), "no token of the calibration windows counts"),
        (select("pack", &[]), "do not say which tokens are answers"),
    ] {
        let output = prune(&at("refused"), &calibration).args(answers).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(why), "{}", said(&output));
        assert!(!at("refused").exists());
    }
}
