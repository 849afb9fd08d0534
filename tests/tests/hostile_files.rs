//! Files from outside that are not what they should be: each ends in one clear error, soon and in bounded memory.
#![cfg(unix)]

use espalier_tests::{host, path, said};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// No refusal may take longer, whatever the machine does beside it.
const LONGEST: Duration = Duration::from_secs(60);

/// A copy of the small model, to be damaged.
fn model(folder: &Path) -> PathBuf {
    let model = folder.join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(path("models/tiny-instruct")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, model.join(from.file_name().unwrap())).unwrap();
    }
    model
}

fn prune(model: &Path, calibration: &Path, out: &Path) -> Command {
    let mut command = host();
    command.args(["prune", "--plugin", "wanda", "--device", "cpu", "--samples", "2", "--seqlen", "32"]);
    command.arg("--model").arg(model).arg("--calibration").arg(calibration).arg("--out").arg(out);
    command
}

/// The output of a command that must end by itself, and the most memory it held, in MiB, where that is known.
fn ends(command: &mut Command) -> (Output, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(held(&child));
        assert!(started.elapsed() < LONGEST || child.kill().is_err(), "{command:?} does not end");
        sleep(Duration::from_millis(5));
    }
    (child.wait_with_output().unwrap(), peak)
}

fn held(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn refused(command: &mut Command, words: &str) {
    let (output, peak) = ends(command);
    let said = said(&output);
    assert!(
        !output.status.success() && output.status.code().is_some(),
        "{command:?}: {:?} {said}",
        output.status
    );
    assert!(said.contains(words), "no `{words}` in: {said}");
    assert!(!said.contains("panicked at") && !said.contains("RUST_BACKTRACE"), "{said}");
    assert!(peak < 1024, "{peak} MiB for {command:?}");
}

fn pipe(at: &Path) {
    assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
}

#[test]
fn special_files_are_refused_as_every_input() {
    let c4 = path("models/data/c4.jsonl");
    for name in
        ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "chat_template.jinja"]
    {
        for special in ["pipe", "zero"] {
            let folder = tempfile::tempdir().unwrap();
            let model = model(folder.path());
            let at = model.join(name);
            let _ = fs::remove_file(&at);
            if special == "pipe" {
                pipe(&at)
            } else {
                symlink("/dev/zero", &at).unwrap()
            }
            let mut command = prune(&model, &c4, &folder.path().join("out"));
            if name == "chat_template.jinja" {
                command.args(["--prompt", "chat"]);
            }
            refused(&mut command, "not a regular file");
        }
    }
    for name in ["c4.jsonl", "text.txt", "rows.json", "rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join(name);
        pipe(&at);
        let tiny = path("models/tiny-instruct");
        refused(&mut prune(&tiny, &at, &folder.path().join("out")), "a pipe, not a regular file");
        fs::remove_file(&at).unwrap();
        symlink("/dev/zero", &at).unwrap();
        refused(&mut prune(&tiny, &at, &folder.path().join("out")), "a device, not a regular file");
        let mut eval = host();
        eval.args(["eval", "--device", "cpu", "--model"]).arg(&tiny).arg("--perplexity").arg(&at);
        refused(&mut eval, "a device, not a regular file");
    }
}

#[test]
fn files_that_are_too_long_are_refused_by_their_kind() {
    for (name, words) in [
        ("config.json", "16 MiB, the most that is read of a configuration"),
        ("tokenizer.json", "512 MiB, the most that is read of a tokenizer"),
        ("chat_template.jinja", "4 MiB, the most that is read of a template"),
        ("LICENSE", "512 MiB, the most that is read of a file beside the weights"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        // A hole of 4 GiB takes no room on the disk.
        fs::File::create(model.join(name)).unwrap().set_len(4 << 30).unwrap();
        let mut command = prune(&model, &path("models/data/c4.jsonl"), &folder.path().join("out"));
        if name == "chat_template.jinja" {
            command.args(["--prompt", "chat"]);
        }
        refused(&mut command, words);
    }
    let folder = tempfile::tempdir().unwrap();
    let row = folder.path().join("row.jsonl");
    fs::write(&row, format!("{{\"text\": \"{}\"}}\n", "word ".repeat(14 << 20))).unwrap();
    refused(
        &mut prune(&path("models/tiny-instruct"), &row, &folder.path().join("out")),
        "but 64 MiB is the most",
    );
}

#[test]
fn folders_that_link_to_themselves_end() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::copy(path("models/data/c4.jsonl"), data.join("c4.jsonl")).unwrap();
    for name in ["a", "b", "c"] {
        symlink(".", data.join(name)).unwrap();
    }
    let (output, _) = ends(&mut prune(&path("models/tiny-instruct"), &data, &folder.path().join("out")));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn tokenizers_and_templates_that_fail_are_named() {
    let c4 = path("models/data/c4.jsonl");
    let tokenizer = |change: &dyn Fn(&mut serde_json::Value)| {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let at = model.join("tokenizer.json");
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&at).unwrap()).unwrap();
        change(&mut json);
        fs::write(&at, json.to_string()).unwrap();
        (folder, model)
    };
    let (folder, absent) = tokenizer(&|json| {
        json["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<absent>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {}
        });
    });
    fs::remove_file(absent.join("tokenizer_config.json")).unwrap();
    refused(&mut prune(&absent, &c4, &folder.path().join("out")), "tokenizer.json is not usable");

    let (folder, backtracking) = tokenizer(&|json| {
        json["pre_tokenizer"] = serde_json::json!({
            "type": "Split", "pattern": {"Regex": "(a|a|aa)+$"}, "behavior": "Isolated", "invert": false
        });
    });
    let rows = folder.path().join("rows.jsonl");
    fs::write(&rows, format!("{{\"text\": \"{}b\"}}\n", "a".repeat(5000))).unwrap();
    refused(&mut prune(&backtracking, &rows, &folder.path().join("out")), "tokenizer.json is not usable");

    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let endless =
        "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i %}{% endfor %}{% endfor %}";
    fs::write(model.join("chat_template.jinja"), endless).unwrap();
    let chat = folder.path().join("chat.jsonl");
    fs::write(&chat, "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n").unwrap();
    refused(prune(&model, &chat, &folder.path().join("out")).args(["--prompt", "chat"]), "fuel");
}

#[test]
fn only_files_that_belong_to_a_model_are_published_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let secret = folder.path().join("secret");
    fs::write(&secret, "private").unwrap();
    symlink(&secret, model.join("notes.txt")).unwrap();
    symlink(&secret, model.join("more.json")).unwrap();
    fs::write(model.join("id_rsa"), "private").unwrap();
    fs::write(model.join("LICENSE"), "free").unwrap();
    fs::create_dir(model.join("additional_chat_templates")).unwrap();
    fs::write(model.join("additional_chat_templates/tool.jinja"), "{{ messages }}").unwrap();
    // As the Hugging Face cache has it: the files are links to blobs.
    fs::rename(model.join("config.json"), folder.path().join("blob")).unwrap();
    symlink("../blob", model.join("config.json")).unwrap();
    let out = folder.path().join("out");
    let (output, _) = ends(&mut prune(&model, &path("models/data/c4.jsonl"), &out));
    assert!(output.status.success(), "{}", said(&output));
    for absent in ["notes.txt", "more.json", "id_rsa", "training.json"] {
        assert!(!out.join(absent).exists(), "{absent}");
    }
    for present in ["LICENSE", "config.json", "tokenizer.json", "additional_chat_templates/tool.jinja"] {
        assert!(out.join(present).is_file(), "{present}");
    }
}

#[test]
fn the_umask_holds_for_what_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let command = prune(&path("models/tiny-instruct"), &path("models/data/c4.jsonl"), &out);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(ends(&mut shell).0.status.success());
    for name in ["", "model.safetensors", "config.json", "espalier.json"] {
        let mode = fs::metadata(out.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[test]
fn weights_are_the_same_read_as_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let written = ["mapped", "read"].map(|name| {
        let out = folder.path().join(name);
        let mut command = prune(&path("models/tiny-instruct"), &path("models/data/c4.jsonl"), &out);
        if name == "read" {
            command.arg("--no-mmap");
        }
        let (output, _) = ends(&mut command);
        assert!(output.status.success(), "{}", said(&output));
        fs::read(out.join("model.safetensors")).unwrap()
    });
    assert!(written[0] == written[1]);
}

/// A checkpoint that another program changes while it is read: noticed at the next block, or by the read itself.
#[test]
fn a_checkpoint_that_changes_meanwhile_is_noticed() {
    use std::io::{BufRead, BufReader};
    for (flags, shorten, words) in [
        (&["--no-mmap"][..], true, "model.safetensors"),
        (&[][..], false, "model.safetensors was changed while it was read"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let out = folder.path().join("out");
        let mut command = prune(&model, &path("models/data/c4.jsonl"), &out);
        command.args([
            "-v",
            "--samples",
            "64",
            "--seqlen",
            "128",
            "--plugin",
            "sparsegpt",
            "--method",
            "sparsegpt",
        ]);
        let mut child = command.args(flags).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("model.layers.0.") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended early");
        }
        let file = fs::File::options().write(true).open(model.join("model.safetensors")).unwrap();
        if shorten {
            file.set_len(1000).unwrap();
        }
        file.set_modified(std::time::SystemTime::now()).unwrap();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut log, &mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
        assert!(rest.contains(words) && !out.exists(), "{rest}");
    }
}

/// Nothing can be read behind the new end of a file that is mapped. The process ends, and says why.
#[test]
fn a_mapped_file_that_is_shortened_ends_the_run_with_a_message() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let out = folder.path().join("out");
    let mut command = prune(&model, &path("models/data/c4.jsonl"), &out);
    command.args([
        "-v",
        "--samples",
        "64",
        "--seqlen",
        "128",
        "--plugin",
        "sparsegpt",
        "--method",
        "sparsegpt",
    ]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("model.layers.0.") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended early");
    }
    let weights = fs::File::options().write(true).open(model.join("model.safetensors")).unwrap();
    weights.set_len(1000).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut log, &mut rest).unwrap();
    let code = child.wait().unwrap().code();
    // Either the block that is loaded meets the end, or the check before the next one does.
    assert!(code == Some(135) || code == Some(1), "{code:?}: {rest}");
    assert!(rest.contains("shortened by another program") || rest.contains("was changed while"), "{rest}");
    assert!(!out.exists());
}
