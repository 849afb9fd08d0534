//! Studies from the command line: the matrix is run whole, goes on where it was stopped, and says what is wrong.

#[path = "study/shipped.rs"]
mod shipped;

use espalier_tests::{built, host, path, run, said};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A folder with a small study in it.
struct Small {
    folder: tempfile::TempDir,
}

/// Two methods, one of which needs no data, on a few items.
const STUDY: &str = r#"
seeds = [0, 1]
samples = 2
seqlen = 32

[models]
tiny = "MODEL"

[methods]
Wanda = [0.5, "2:4"]
Magnitude = 0.5

[calibration]
C4 = "DATA/c4.jsonl"

[evaluations]
Text = { file = "text.txt", metrics = "perplexity" }
Alpaca = { file = "DATA/alpaca_evaluation.json", limit = 3, max_new_tokens = 4 }
"#;

impl Small {
    fn new(study: &str) -> Self {
        let small = Self { folder: tempfile::tempdir().unwrap() };
        let text = fs::read_to_string(path("models/data/text_evaluation.txt")).unwrap();
        fs::write(small.path("text.txt"), text.chars().take(600).collect::<String>()).unwrap();
        small.write(study);
        small
    }

    fn write(&self, study: &str) {
        let model = path("models/tiny-instruct").display().to_string();
        let data = path("models/data").display().to_string();
        fs::write(self.path("small.toml"), study.replace("MODEL", &model).replace("DATA", &data)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `host study small.toml`, with results in this folder.
    fn study(&self, out: &str) -> Command {
        let mut command = host();
        command.arg("study").arg(self.path("small.toml")).arg("--out").arg(self.path(out));
        command.args(["--device", "cpu"]);
        command
    }

    fn cells(&self, out: &str) -> Vec<Value> {
        let output = run(self.study(out).args(["--list-cells", "json"]));
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        listed["cells"].as_array().unwrap().clone()
    }

    fn hashes(&self, out: &str) -> Vec<String> {
        self.cells(out).iter().map(|cell| cell["hash"].as_str().unwrap().to_owned()).collect()
    }

    /// The results that do not depend on how often a study was stopped.
    fn results(&self, out: &str) -> [String; 2] {
        ["results.csv", "table.md"].map(|file| fs::read_to_string(self.path(out).join(file)).unwrap())
    }
}

fn ends_with(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
    said(&output)
}

#[test]
fn a_study_gives_a_table_and_a_report() {
    let small = Small::new(STUDY);
    let listed = small.cells("out");
    let labels: Vec<_> = listed.iter().map(|cell| cell["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["dense", "Magnitude", "Wanda-C4", "Wanda-C4", "Wanda-C4", "Wanda-C4"]);
    assert!(listed.iter().all(|cell| cell["state"] == "missing"), "{listed:?}");
    assert!(!small.path("out").exists(), "listing cells writes nothing");

    let table = String::from_utf8(run(&mut small.study("out")).stdout).unwrap();
    assert!(table.contains("| dense ") && table.contains("| Wanda-C4 ") && table.contains(" ± "), "{table}");
    assert!(table.contains("tiny, 50% pruned") && table.contains("tiny, 2:4 pruned"), "{table}");
    assert_eq!(small.results("out")[1].trim_end(), table.trim_end());
    let lines = fs::read_to_string(small.path("out/results.jsonl")).unwrap();
    for (line, cell) in lines.lines().zip(&listed) {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&row["hash"], &row["state"]), (&cell["hash"], &Value::from("done")));
        assert!(row["scores"]["Alpaca"]["exact_match"]["mean"].is_number(), "{row}");
        assert!(row["scores"]["Text"]["perplexity"]["mean"].as_f64().unwrap() > 1.0, "{row}");
    }
    assert_eq!(lines.lines().count(), listed.len());
    assert!(small.results("out")[0].lines().count() > 6 * 4);
    assert!(
        table.contains("## Calibration data") && table.contains("no correlation is claimed of fewer than 10"),
        "{table}"
    );
    let properties = fs::read_to_string(small.path("out/properties.csv")).unwrap();
    // Of two seeds, the six properties of the data alone and the overlap with two evaluations.
    assert_eq!(properties.lines().count(), 1 + 2 * (6 + 2), "{properties}");
    let perplexity = properties.lines().find_map(|line| line.strip_prefix("tiny,C4,0,perplexity,,")).unwrap();
    assert!(perplexity.parse::<f64>().unwrap() > 1.0, "{properties}");
    assert!(
        fs::read_to_string(small.path("out/correlations.csv"))
            .unwrap()
            .contains("tiny,Wanda,2:4,digits,Text,")
    );
    let page = fs::read_to_string(small.path("out/report.html")).unwrap();
    assert!(page.contains("<html") && page.contains("Wanda-C4"), "{}", &page[..200]);
    for hash in small.hashes("out") {
        let home = small.path("out/cells").join(hash);
        assert!(!home.join("model").exists(), "models are not kept where nothing is said");
        assert_eq!(fs::read_dir(home.join("evaluations")).unwrap().count(), 2);
    }

    // Nothing is left to do, and a line that changes touches only what it is about.
    let before = newest(&small.path("out/cells"));
    run(&mut small.study("out"));
    assert_eq!(newest(&small.path("out/cells")), before, "something was done twice");
    small.write(&STUDY.replace("Magnitude = 0.5", "Magnitude = 0.4"));
    let states: Vec<_> = small.cells("out").iter().map(|cell| cell["state"] == "done").collect();
    assert_eq!(states, [true, false, true, true, true, true]);

    // A study beside itself, and beside one that is worse.
    let diff = |after: &str| {
        let mut command = host();
        command.args(["study", "diff"]).arg(small.path("out")).arg(small.path(after));
        command
    };
    assert!(String::from_utf8(run(&mut diff("out")).stdout).unwrap().contains("scores are the same"));
    let worse = small.path("worse");
    fs::create_dir(&worse).unwrap();
    let mut first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    first["scores"]["Text"]["perplexity"]["mean"] = 1e6.into();
    fs::write(worse.join("results.jsonl"), first.to_string()).unwrap();
    let text = ends_with(&mut diff("worse"), 1);
    assert!(text.contains("worse") && text.contains("missing"), "{text}");
    ends_with(&mut diff("nowhere"), 2);
}

/// When the last file in a folder changed.
fn newest(folder: &Path) -> std::time::SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = entries.map(|path| match path.is_dir() {
        true => newest(&path),
        false => fs::metadata(path).unwrap().modified().unwrap(),
    });
    times.max().unwrap_or(std::time::UNIX_EPOCH)
}

#[test]
fn a_dry_run_says_what_it_will_take() {
    let small = Small::new(STUDY);
    let output = run(small.study("out").args(["--dry-run", "--json"]));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = plan["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 6);
    assert_eq!(cells[0]["estimate"]["pruning_seconds"], 0.0);
    assert!(cells[2]["estimate"]["pruning_seconds"].as_f64().unwrap() > 0.0, "{plan}");
    assert!(
        plan["seconds"].as_f64().unwrap() > 0.0 && plan["disk_bytes"].as_u64().unwrap() > 1 << 20,
        "{plan}"
    );
    assert!(!small.path("out").exists());
    let text = String::from_utf8(run(small.study("out").arg("--dry-run")).stdout).unwrap();
    assert!(text.contains("6 cells are left to run"), "{text}");
}

/// With a budget, the first seed of every way to prune is done before the second of any, and what is left can be gone on with.
#[test]
fn a_budget_begins_with_what_says_most() {
    let sets = "C4 = \"DATA/c4.jsonl\"\nAlpaca = \"DATA/alpaca_calibration.json\"";
    let study = STUDY.replace("C4 = \"DATA/c4.jsonl\"", sets).replace("[0.5, \"2:4\"]", "0.5");
    let small = Small::new(&study);
    let text = ends_with(small.study("out").args(["--budget", "0.0000001"]), 75);
    assert!(text.contains("6 cells were not begun") && text.contains("run again"), "{text}");
    let table = fs::read_to_string(small.path("out/table.md")).unwrap();
    assert!(
        table.contains("6 of 6 cells have not run") && table.contains("- Wanda-Alpaca at 50%\n"),
        "{table}"
    );

    let said_of_it = said(&run(small.study("out").args(["-v", "--budget", "100"])));
    let cells = [
        "dense:",
        "Magnitude 0.5:",
        "C4 0.5 seed 0:",
        "Alpaca 0.5 seed 0:",
        "C4 0.5 seed 1:",
        "Alpaca 0.5 seed 1:",
    ];
    let places: Vec<_> = cells.iter().map(|cell| said_of_it.find(cell).expect(cell)).collect();
    assert!(places.is_sorted(), "{said_of_it}");
    run(&mut small.study("whole"));
    assert_eq!(small.results("out"), small.results("whole"));
    // Nothing is left, so that nothing is beyond the smallest budget.
    run(small.study("out").args(["--budget", "0.0000001"]));
    for hours in ["0", "-1", "soon", "inf"] {
        assert!(
            ends_with(small.study("out").args([&format!("--budget={hours}")]), 2).contains("in hours"),
            "{hours}"
        );
    }
}

#[test]
fn shards_together_are_the_whole_study() {
    let small = Small::new(STUDY);
    run(&mut small.study("whole"));
    let mut seen = BTreeSet::new();
    for shard in ["1/2", "2/2"] {
        let output = run(small.study("parts").args(["--shard", shard, "--json"]));
        let cells: Value = serde_json::from_slice(&output.stdout).unwrap();
        for cell in cells.as_array().unwrap() {
            assert!(seen.insert(cell["hash"].as_str().unwrap().to_owned()), "{cell} is in two shards");
        }
    }
    assert_eq!(seen, small.hashes("whole").into_iter().collect());
    assert_eq!(small.results("parts"), small.results("whole"));
    // One cell more than once is one cell, and one that is not there is bad input.
    let one = &small.hashes("whole")[1];
    run(small.study("one").args(["--cell", &one[..8]]));
    assert_eq!(fs::read_dir(small.path("one/cells")).unwrap().count(), 1);
    assert!(ends_with(small.study("one").args(["--cell", "feed"]), 2).contains("no cell feed"));
}

/// Runs that do not propagate need the same dense pass behind the same windows: that is made once, and changes nothing.
#[test]
fn cells_share_a_dense_pass() {
    let dense = "Wanda = { sparsity = [0.5, \"2:4\"], propagate = false }\n\
                 SparseGPT = { sparsity = 0.5, propagate = false }";
    let small = Small::new(&STUDY.replace("Wanda = [0.5, \"2:4\"]", dense));
    let sharing = |out: &str| -> Vec<Option<u64>> {
        let pruning = |hash| small.path(out).join("cells").join(hash).join("pruning.json");
        let manifests = small.hashes(out).into_iter().map(pruning).filter(|path| path.exists());
        let manifests = manifests.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
        manifests.map(|manifest: Value| manifest["sharing"].as_u64()).collect()
    };
    run(&mut small.study("together"));
    assert_eq!(sharing("together"), [&[None][..], &[Some(3); 6]].concat());
    for hash in small.hashes("alone") {
        run(small.study("alone").args(["--cell", &hash]));
    }
    assert_eq!(sharing("alone"), [None; 7]);
    assert_eq!(small.results("alone"), small.results("together"));

    // One that fails does not take the others with it.
    let hostile = built().join("libhostile.so").display().to_string();
    let broken =
        format!("Broken = {{ plugin = \"{hostile}\", method = \"fails_measured\", propagate = false }}");
    small.write(&STUDY.replace("Wanda = [0.5, \"2:4\"]", &format!("{dense}\n{broken}")));
    let text = ends_with(&mut small.study("failing"), 1);
    assert!(text.contains("4 cells cannot share a pass") && text.contains("no reason at all"), "{text}");
    let failed = |cell: &Value| cell["state"] == "failed";
    let states: Vec<_> = small.cells("failing").iter().map(failed).collect();
    assert_eq!(states.iter().filter(|failed| **failed).count(), 2, "{states:?}");
    assert_eq!(
        small.results("failing")[0].matches(",done,").count(),
        small.results("alone")[0].matches(",done,").count()
    );
}

#[test]
fn a_study_that_is_stopped_goes_on() {
    let small = Small::new(STUDY);
    run(&mut small.study("whole"));
    // Killed whenever the next thing has appeared, be it finished or not.
    let mut kills = 0;
    loop {
        let before = files(&small.path("killed")).len();
        let mut child = small.study("killed").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        if wait_for(&mut child, || files(&small.path("killed")).len() > before + 1) {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 400, "it never ends");
    }
    assert!(kills > 3, "it was killed {kills} times");
    run(&mut small.study("killed"));
    assert_eq!(small.results("killed"), small.results("whole"));
    let mut left = files(&small.path("killed"));
    left.retain(|file| file.trim_start_matches(small.path("").to_str().unwrap()).contains("/."));
    assert!(left.is_empty(), "half-written: {left:?}");
}

#[test]
#[cfg(unix)]
fn a_study_that_is_asked_to_stop_commits_and_says_so() {
    let small = Small::new(STUDY);
    let mut child = small.study("out").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let scores = || files(&small.path("out")).iter().any(|file| file.ends_with("scores.json"));
    assert!(!wait_for(&mut child, scores), "it ended before it could be stopped");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    let rows = fs::read_to_string(small.path("out/results.csv")).unwrap();
    assert!(rows.contains(",missing,"), "{rows}");
    run(&mut small.study("out"));
    run(&mut small.study("whole"));
    assert_eq!(small.results("out"), small.results("whole"));
}

/// Waits for `event` or for the process to end; whether it ended.
fn wait_for(child: &mut Child, event: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        if event() {
            return false;
        }
        assert!(started.elapsed() < Duration::from_secs(300), "nothing happens");
        sleep(Duration::from_millis(2));
    }
}

/// Every file in a folder and below.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] })
        .collect()
}

#[test]
fn a_cell_that_fails_is_recorded_and_the_others_go_on() {
    let hostile = built().join("libhostile.so").display().to_string();
    let method = format!("Broken = {{ plugin = \"{hostile}\", method = \"fails\" }}\nMagnitude = 0.5");
    let small = Small::new(&STUDY.replace("Magnitude = 0.5", &method));
    let text = ends_with(&mut small.study("out"), 1);
    assert!(text.contains("no reason at all") && text.contains("cells failed"), "{text}");
    let states: Vec<_> =
        small.cells("out").iter().map(|cell| (cell["label"].clone(), cell["state"].clone())).collect();
    assert!(
        states
            .iter()
            .all(|(label, state)| (label.as_str().unwrap().starts_with("Broken")) == (state == "failed"))
    );
    let rows = fs::read_to_string(small.path("out/results.jsonl")).unwrap();
    let row = rows.lines().find(|row| row.contains("\"failed\"")).unwrap();
    assert!(row.contains("model.layers.0.self_attn.q_proj.weight"), "{row}");
    assert!(fs::read_to_string(small.path("out/table.md")).unwrap().contains("failed"));
}

#[test]
fn a_cell_that_another_process_works_on_is_left_to_it() {
    let small = Small::new(STUDY);
    run(small.study("out").args(["--cell", &small.hashes("out")[0]]));
    let held = &small.hashes("out")[1];
    let lease = fs::File::create(small.path("out/leases").join(held)).unwrap();
    lease.lock().unwrap();
    let text = ends_with(&mut small.study("out"), 75);
    assert!(text.contains("1 cell"), "{text}");
    let missing: Vec<_> = small.cells("out").into_iter().filter(|cell| cell["state"] == "missing").collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0]["hash"].as_str(), Some(held.as_str()));
    drop(lease);
    run(&mut small.study("out"));
}

#[test]
fn what_cannot_run_is_refused_before_anything_does() {
    let cases = [
        ("Wanda = ", "Wandy = ", "the plugin wandy is not usable"),
        (
            "Magnitude = 0.5",
            "Magnitude = { options = { speed = 11 } }",
            ":11:27: the method magnitude has no option",
        ),
        (
            "Magnitude = 0.5",
            "Magnitude = { plugin = \"sparsegpt\", options = { blocksize = 500 } }",
            "must be from 1 to 256",
        ),
        ("Magnitude = 0.5", "Magnitude = { skip = \"head\" }", "not a linear layer"),
        ("Magnitude = 0.5", "Magnitude = { layers = \"0-99\" }", "no block 99"),
        ("\"2:4\"", "\"2:7\"", "columns, which do not divide"),
        ("max_new_tokens = 4", "max_new_tokens = 1000", "the context of tiny is"),
        ("text.txt", "none.txt", "there is no "),
        ("\"perplexity\"", "\"f1\"", "needs answers"),
        ("\"perplexity\"", "\"bleu\"", "there is no metric `bleu`"),
        ("MODEL", "no/model", "the model tiny is not usable"),
        ("[calibration]\nC4 = \"DATA/c4.jsonl\"", "", "needs calibration data"),
        ("C4 = ", "C4 = { selector = \"best\", files = \"x\" } #", "there is no "),
        (
            "Magnitude = 0.5",
            "Magnitude = 0.5\nAgain = { plugin = \"magnitude\", sparsity = 0.5 }",
            "are the same",
        ),
    ];
    for (from, to, words) in cases {
        assert!(STUDY.contains(from), "{from}");
        let small = Small::new(&STUDY.replace(from, to));
        let text = ends_with(&mut small.study("out"), 2);
        assert!(text.contains(words), "{to}: no `{words}` in {text}");
        assert!(!small.path("out").exists(), "{to}: something was written");
    }
    let small = Small::new(&STUDY.replace("seeds = [0, 1]", "seeds = [0, 1]\nseed = 3"));
    let text = ends_with(&mut small.study("out"), 2);
    assert!(text.contains("small.toml:3:1: unknown key `seed`"), "{text}");
}

/// Results that a study file does not name leave its table only with a word, and another study's not at all.
#[test]
fn the_results_of_another_study_stay() {
    let small = Small::new(STUDY);
    run(&mut small.study("out"));
    let kept = fs::read_to_string(small.path("out/results.csv")).unwrap();
    let renamed = STUDY.replace("Text = ", "Other = ").replace("Alpaca = ", "Another = ");
    small.write(&renamed);
    let said_of_it = ends_with(&mut small.study("out"), 2);
    assert!(said_of_it.contains("holds the results of another study"), "{said_of_it}");
    assert_eq!(fs::read_to_string(small.path("out/results.csv")).unwrap(), kept);
    assert!(fs::read_to_string(small.path("out/study.toml")).unwrap().contains("Text = "));
    // The same study with one evaluation less goes on, and says what leaves the table.
    small.write(STUDY.split("Alpaca = ").next().unwrap());
    let output = run(&mut small.study("out"));
    assert!(said(&output).contains("results in") && said(&output).contains("Alpaca"), "{}", said(&output));
    small.write(STUDY);
    run(&mut small.study("out"));
    assert_eq!(fs::read_to_string(small.path("out/results.csv")).unwrap(), kept);
}

/// The commands of the results can be pasted into a shell, whatever the paths.
#[test]
fn commands_of_results_are_quoted() {
    let small = Small::new(STUDY);
    let odd = small.path("it's a stüdy.toml");
    fs::rename(small.path("small.toml"), &odd).unwrap();
    let mut command = host();
    command.arg("study").arg(&odd).arg("--out").arg(small.path("out $HOME")).args(["--list-cells", "json"]);
    let listed: Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
    let line = listed["cells"][0]["command"].as_str().unwrap();
    let words =
        Command::new("sh").arg("-c").arg(format!("for word in {line}; do echo \"$word\"; done")).output();
    let words = String::from_utf8(words.unwrap().stdout).unwrap();
    let expected = [odd.to_str().unwrap().to_owned(), small.path("out $HOME").to_str().unwrap().to_owned()];
    assert!(expected.iter().all(|word| words.lines().any(|line| line == word)), "{words}");
}

/// Kept models are folders or archives, whichever the file says now, and the results are the same.
#[test]
fn kept_models_may_be_archives() {
    let study = |keep: &str| {
        let study = STUDY.replace("Wanda = [0.5, \"2:4\"]\n", "").replace("seeds = [0, 1]", "seeds = [0]");
        let start = study.find("[calibration]").unwrap();
        let end = study.find("[evaluations]").unwrap();
        format!("keep_models = {keep}\n{}{}", &study[..start], &study[end..])
    };
    let small = Small::new(&study("false"));
    run(&mut small.study("dropped"));
    let mut before = None;
    for (keep, kept, other) in [("\"packed\"", "model.sparse", "model"), ("true", "model", "model.sparse")] {
        small.write(&study(keep));
        run(&mut small.study("out"));
        let home = small.path("out/cells").join(&small.hashes("out")[1]);
        assert!(home.join(kept).exists() && !home.join(other).exists(), "{keep}");
        run(host().args(["verify", "--device", "cpu"]).arg(home.join(kept)));
        assert_eq!(small.results("out"), small.results("dropped"), "{keep}");
        let pruning = fs::read(home.join("pruning.json")).unwrap();
        assert!(before.replace(pruning.clone()).is_none_or(|before| before == pruning), "pruned once");
    }
    small.write(&study("\"other\""));
    assert!(ends_with(&mut small.study("out"), 2).contains("`true`, `false` or \"packed\""));
}
