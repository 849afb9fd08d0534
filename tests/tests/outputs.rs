//! Outputs: nothing of the user's is lost, and a terminal that is gone ends no run.

use espalier_tests::{host, path, run, said};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

fn refused(command: &mut Command, words: &str) {
    let output = command.output().unwrap();
    assert!(!output.status.success() && said(&output).contains(words), "{command:?}: {}", said(&output));
}

fn magnitude(out: &Path) -> Command {
    let mut command = host();
    command.args(["prune", "--plugin", "magnitude", "--device", "cpu"]);
    command.arg("--model").arg(path("models/tiny-instruct")).arg("--out").arg(out);
    command
}

fn eval(task: &Path) -> Command {
    let mut command = host();
    command.args(["eval", "--device", "cpu", "--limit", "2", "--max-new-tokens", "2"]);
    command.arg("--model").arg(path("models/tiny-instruct")).arg("--task").arg(task);
    command
}

#[test]
fn files_that_are_there_are_replaced_only_when_asked_and_inputs_never() {
    let folder = tempfile::tempdir().unwrap();
    let task = folder.path().join("task.json");
    fs::copy(path("models/data/alpaca_evaluation.json"), &task).unwrap();
    let rows = fs::read(&task).unwrap();
    let taken = folder.path().join("taken.jsonl");
    fs::write(&taken, "mine").unwrap();
    refused(eval(&task).arg("--predictions").arg(&taken), "--overwrite");
    refused(eval(&task).arg("--predictions").arg(&task).arg("--overwrite"), "is an input of this run");
    refused(eval(&task).arg("--predictions").arg(folder.path()), "is not a regular file");
    refused(eval(&task).arg("--predictions").arg(folder.path().join("no/where.jsonl")), "cannot be written");
    assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
    assert!(fs::read(&task).unwrap() == rows);
    run(eval(&task).arg("--predictions").arg(&taken).arg("--overwrite"));
    assert_eq!(fs::read_to_string(&taken).unwrap().lines().count(), 2);

    let calibration = folder.path().join("c4.jsonl");
    fs::copy(path("models/data/c4.jsonl"), &calibration).unwrap();
    let out = folder.path().join("out");
    let profile = |file: &Path| {
        let mut command = magnitude(&out);
        command.arg("--calibration").arg(&calibration).arg("--profile").arg(file);
        command
    };
    refused(&mut profile(&taken), "--overwrite");
    refused(profile(&calibration).arg("--overwrite"), "is an input of this run");
    assert!(!out.exists());
    run(&mut profile(&folder.path().join("trace.json")));
    assert!(fs::read(&calibration).unwrap() == fs::read(path("models/data/c4.jsonl")).unwrap());
}

#[test]
fn a_folder_with_the_users_own_files_is_no_folder_of_results() {
    let folder = tempfile::tempdir().unwrap();
    let study = fs::read_to_string(path("studies/demo.toml")).unwrap();
    for (name, text) in [("study.toml", study.as_str()), ("table.md", "mine")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = host();
    command.arg("study").arg(path("studies/demo.toml")).args(["--device", "cpu", "--out"]).arg(folder.path());
    refused(&mut command, "no results of a study");
    assert_eq!(fs::read_to_string(folder.path().join("table.md")).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn a_log_that_cannot_be_written_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    for (name, redirection) in
        [("full", "2>/dev/full"), ("closed", "2>&-"), ("head", "2>&1 >/dev/null | head -c 1 >/dev/null")]
    {
        let out = folder.path().join(name);
        let command = magnitude(&out);
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", &format!("exec 3>&1; \"$0\" \"$@\" -vv {redirection}")]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        let status = shell.stdout(Stdio::null()).status().unwrap();
        assert!(status.success() && out.join("espalier.json").is_file(), "{name}: {status}");
    }
}

/// A damaged file of a cell is computed again.
#[test]
fn a_damaged_cell_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("small.toml");
    let text = format!(
        "samples = 2\nseqlen = 32\n[models]\ntiny = \"{0}/tiny-instruct\"\n[methods]\nWanda = 0.5\n\
         [calibration]\nC4 = \"{0}/data/c4.jsonl\"\n[evaluations]\n\
         Alpaca = {{ file = \"{0}/data/alpaca_evaluation.json\", limit = 3, max_new_tokens = 4 }}\n",
        path("models").display()
    );
    fs::write(&toml, text).unwrap();
    let out = folder.path().join("out");
    let study = || {
        let mut command = host();
        command.arg("study").arg(&toml).arg("--out").arg(&out).args(["--device", "cpu"]);
        command
    };
    run(&mut study());
    let results = || fs::read_to_string(out.join("results.csv")).unwrap();
    let before = results();
    for file in ["scores.json", "predictions.jsonl", "pruning.json"] {
        let found = find(&out.join("cells"), file);
        assert!(!found.is_empty());
        for damaged in [&b"{\"metrics\": "[..], b"", b"[1, 2]\n", b"\xff\xfe\n"] {
            if file == "predictions.jsonl" && damaged.is_empty() {
                continue;
            }
            fs::write(&found[0], damaged).unwrap();
            let listed = run(study().args(["--list-cells", "json"]));
            let said = said(&listed);
            assert!(said.contains(file) && said.contains("is damaged"), "{file}: {said}");
            run(&mut study());
            assert_eq!(results(), before, "{file}");
        }
    }
}

fn find(folder: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(find(&path, name));
        } else if path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let strange = folder.path().join("a\u{1b}[31mred\u{202e}.jsonl");
    let output = magnitude(&folder.path().join("out"))
        .args(["--plugin", "wanda", "--method", "wanda", "--calibration"])
        .arg(&strange)
        .output()
        .unwrap();
    let said = said(&output);
    assert!(!output.status.success() && said.contains("a\\u{1b}[31mred\\u{202e}.jsonl"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said}");
}
