//! Plugins with faults, in a process of their own and in the host's; and libraries that are not to be trusted.

use espalier_tests::{built, host, path, run, said};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// `host prune` with a plugin; `folder` gets the output and holds the user's configuration.
fn prune(plugin: &str, folder: &Path) -> Command {
    let mut command = host();
    command.args(["prune", "--plugin", plugin, "--device", "cpu"]);
    command.args(["--samples", "4", "--seqlen", "32"]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(path("models/data/c4.jsonl"));
    command.arg("--out").arg(folder.join("pruned"));
    command.env("XDG_CONFIG_HOME", folder.join("config")).env_remove("ESPALIER_TRUSTED_ONLY");
    command.stdin(Stdio::null());
    command
}

fn hostile(method: &str, folder: &Path) -> Command {
    let mut command = prune("hostile", folder);
    // They prune nothing, which is near enough to this target.
    command.args(["--method", method, "--sparsity", "0.005"]);
    command
}

fn weights(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("pruned/model.safetensors")).unwrap()
}

/// The exit code where something failed on the way, and the one where what was given cannot be used.
const FAILED: i32 = 1;
const BAD_INPUT: i32 = 2;

/// Ends with this exit code, says all of `words`, and leaves no output.
fn refused(code: i32, command: &mut Command, words: &[&str], folder: &Path) -> String {
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(!folder.join("pruned").exists(), "{said}");
    said
}

/// A copy of a plugin outside the binary's folder.
fn copied(plugin: &str, folder: &Path) -> PathBuf {
    let copy = folder.join(format!("lib{plugin}_copy.so"));
    fs::copy(built().join(format!("lib{plugin}.so")), &copy).unwrap();
    copy
}

#[cfg(unix)]
#[test]
fn faults_of_an_isolated_method_are_errors_that_name_layer_and_plugin() {
    let layer = "model.layers.0.self_attn.q_proj.weight";
    for (method, words) in [
        ("segfaults", "signal 11"),
        ("aborts", "signal 6"),
        // Rust aborts where it sees a stack overflow; a large frame may jump over the page that it watches.
        ("overflows", "crashed with signal"),
        ("exits", "exit code 0"),
        ("loops", "no sign of life for 1 s"),
        ("twin_segfaults", "signal 11"),
        ("twin_loops", "no sign of life for 1 s"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = hostile(method, folder.path());
        command.args(["--isolate", "--plugin-timeout", "1"]);
        refused(FAILED, &mut command, &[layer, "libhostile.so", words], folder.path());
    }
}

#[test]
fn faults_that_end_no_process_are_the_same_errors_in_either() {
    for isolate in ["--isolate=never", "--isolate=always"] {
        for (method, words) in [
            ("reenters", "the CPU twin of kernel odd called the device"),
            ("twin_panics", "the twin fell"),
            ("panics", "out of ideas at model.layers.0.self_attn.q_proj.weight"),
            ("panics_at_birth", "not today"),
            ("fails", "no reason at all"),
            ("wrong_shape", "f32 [1, 2] where f32"),
            ("not_finite", "row 0, column 0 is NaN"),
            ("babbles", "characters)"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let said = refused(FAILED, hostile(method, folder.path()).arg(isolate), &[words], folder.path());
            assert!(said.len() < 8000, "{} bytes of a message", said.len());
        }
    }
}

#[test]
fn a_panic_in_drop_costs_a_warning_and_no_more() {
    for isolate in ["--isolate=never", "--isolate=always"] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(hostile("drop_panics", folder.path()).arg(isolate));
        assert!(said(&output).contains("not without a fight"), "{}", said(&output));
        assert!(folder.path().join("pruned/model.safetensors").is_file());
    }
}

#[test]
fn the_result_is_the_same_in_a_process_of_its_own() {
    for (plugin, method) in [("wanda", None), ("sparsegpt", None), ("hostile", Some("twin_negates"))] {
        let bytes = ["never", "always"].map(|isolate| {
            let folder = tempfile::tempdir().unwrap();
            let mut command = match method {
                Some(method) => hostile(method, folder.path()),
                None => prune(plugin, folder.path()),
            };
            command.arg(format!("--isolate={isolate}"));
            run(&mut command);
            weights(folder.path())
        });
        assert!(bytes[0] == bytes[1], "{plugin}");
    }
}

#[test]
fn what_an_isolated_plugin_prints_is_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(hostile("prints", folder.path()).args(["--isolate", "--json"]));
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("a plugin's own words"));
    assert_eq!(manifest["method"]["sha256"].as_str().unwrap().len(), 64);
}

/// Ctrl-C ends a loop that never asks the host for anything, where the plugin is isolated, and one that asks, anywhere.
#[cfg(unix)]
#[test]
fn the_first_interrupt_is_heeded() {
    for (method, isolate) in [
        ("loops", "--isolate=always"),
        ("twin_loops", "--isolate=always"),
        ("asks_for_ever", "--isolate=never"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = hostile(method, folder.path());
        command.args([isolate, "-v"]).stderr(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let since = Instant::now();
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = said(&output);
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
        assert_eq!(output.status.code(), Some(130), "{method}: {said}");
        assert!(
            said.contains("error: interrupted") && !said.contains("the method failed"),
            "{method}: {said}"
        );
    }
}

/// The processes that are children of this one.
#[cfg(target_os = "linux")]
fn children(of: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// An endless loop in a plugin does not outlive a host that was killed.
#[cfg(target_os = "linux")]
#[test]
fn a_plugin_process_ends_with_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hostile("loops", folder.path());
    command.arg("--isolate").stderr(Stdio::null()).stdout(Stdio::null());
    let mut process = command.spawn().unwrap();
    let since = Instant::now();
    let plugin = loop {
        if let [plugin] = children(process.id())[..] {
            break plugin;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "no plugin process");
        std::thread::sleep(Duration::from_millis(20));
    };
    process.kill().unwrap();
    process.wait().unwrap();
    let since = Instant::now();
    while fs::read_to_string(format!("/proc/{plugin}/cmdline"))
        .is_ok_and(|line| line.contains("plugin-process"))
    {
        assert!(since.elapsed() < Duration::from_secs(30), "the plugin process goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn libraries_from_elsewhere_are_isolated_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let magnitude = copied("magnitude", folder.path());
    let magnitude = magnitude.to_str().unwrap();
    let apart = "run in a process of their own";
    for (plugin, flags, is_apart) in [
        (magnitude, &["-v"][..], true),
        (magnitude, &["-v", "--isolate=never"], false),
        ("magnitude", &["-v"], false),
        ("magnitude", &["-v", "--isolate"], true),
    ] {
        let output = run(prune(plugin, folder.path()).args(flags));
        assert_eq!(said(&output).contains(apart), is_apart, "{plugin} {flags:?}: {}", said(&output));
        fs::remove_dir_all(folder.path().join("pruned")).unwrap();
    }
}

#[test]
fn bad_libraries_are_listed_beside_the_good_ones() {
    let listed = run(host().args(["plugins", "--json"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names = |key: &str| -> Vec<String> {
        let all = listed[key].as_array().unwrap().iter();
        all.map(|found| found["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert!(names("plugins").contains(&"libwanda.so".to_owned()), "{listed}");
    for bad in ["libbare.so", "libfuture.so", "libheadless.so", "liblethal.so"] {
        assert!(names("unusable").contains(&bad.to_owned()), "{listed}");
    }
    let text = said(&run(host().arg("plugins")));
    assert!(text.contains("not usable:") && text.contains("crashed with signal 6"), "{text}");
}

#[test]
fn only_trusted_libraries_are_opened_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let library = copied("magnitude", folder.path());
    let named = library.to_str().unwrap();
    let plugins = |action: &[&str]| {
        let mut command = host();
        command.arg("plugins").args(action).env("XDG_CONFIG_HOME", folder.path().join("config"));
        run(&mut command)
    };
    refused(
        BAD_INPUT,
        prune(named, folder.path()).arg("--trusted-only"),
        &["is not trusted", named],
        folder.path(),
    );
    refused(
        BAD_INPUT,
        prune(named, folder.path()).env("ESPALIER_TRUSTED_ONLY", "1"),
        &["is not trusted"],
        folder.path(),
    );
    // What came with the binary needs no list.
    run(prune("magnitude", folder.path()).arg("--trusted-only"));
    fs::remove_dir_all(folder.path().join("pruned")).unwrap();

    let trusted = said(&plugins(&["trust", named]));
    assert!(trusted.contains("libmagnitude_copy.so") && trusted.contains("SHA-256 "), "{trusted}");
    run(prune(named, folder.path()).arg("--trusted-only"));
    fs::remove_dir_all(folder.path().join("pruned")).unwrap();
    assert!(said(&plugins(&["trusted"])).contains("libmagnitude_copy.so"));

    // A byte more, and it is another library.
    let bytes = fs::read(&library).unwrap();
    fs::write(&library, [bytes.as_slice(), b"x"].concat()).unwrap();
    refused(BAD_INPUT, prune(named, folder.path()).arg("--trusted-only"), &["is not trusted"], folder.path());
    fs::write(&library, bytes).unwrap();
    plugins(&["untrust", named]);
    refused(BAD_INPUT, prune(named, folder.path()).arg("--trusted-only"), &["is not trusted"], folder.path());
}

#[cfg(unix)]
#[test]
fn libraries_that_everybody_may_change_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("open");
    fs::create_dir(&place).unwrap();
    let library = copied("magnitude", &place);
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    let words = ["everybody may write to", "chmod o-w"];
    refused(BAD_INPUT, &mut prune(library.to_str().unwrap(), folder.path()), &words, folder.path());
    let mut found = prune("magnitude_copy", folder.path());
    refused(BAD_INPUT, found.env("ESPALIER_PLUGIN_PATH", &place), &words, folder.path());
    let listed = run(host().arg("plugins").env("ESPALIER_PLUGIN_PATH", &place));
    assert!(said(&listed).contains("everybody may write to"), "{}", said(&listed));
}

/// A rebuilt plugin is another one for a study, whatever its version says.
#[test]
fn a_changed_library_makes_other_cells() {
    let folder = tempfile::tempdir().unwrap();
    let library = copied("magnitude", folder.path());
    let study = folder.path().join("study.toml");
    let (model, data) = (path("models/tiny-instruct"), path("models/data/text_evaluation.txt"));
    let text = format!(
        "[models]\ntiny = {model:?}\n[methods]\nM = {{ plugin = {library:?} }}\n\
         [evaluations]\nT = {{ file = {data:?}, metrics = \"perplexity\" }}\n"
    );
    fs::write(&study, text).unwrap();
    let cells = || -> Vec<String> {
        let mut command = host();
        command.arg("study").arg(&study).args(["--list-cells", "json", "--isolate=never", "--out"]);
        let listed = run(command.arg(folder.path().join("results")));
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["cells"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cell| cell["hash"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = cells();
    assert_eq!((before.len(), &before), (2, &cells()));
    let bytes = fs::read(&library).unwrap();
    fs::write(&library, [bytes.as_slice(), b"x"].concat()).unwrap();
    let after = cells();
    let same = before.iter().filter(|cell| after.contains(cell)).count();
    assert_eq!(same, 1, "the dense cell alone stays: {before:?} {after:?}");
}

#[test]
fn the_child_is_not_for_people() {
    let mut command = host();
    let output =
        command.args(["plugin-process", "/tmp/libx.so", "00"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("started by `host` alone"), "{}", said(&output));
    assert!(!said(&run(host().arg("--help"))).contains("plugin-process"));
}

#[test]
fn stages_of_every_scope_give_the_same_bytes_apart() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["oats", "gblm", "shortened", "wanda_sp", "ria_permuted"] {
        let prune = |flags: &[&str]| {
            let out = folder.path().join(format!("{method}{}", flags.concat()));
            let mut command = host();
            command.args(["--plugin", "libpublished.so", "--method", method, "--device", "cpu"]);
            command.args(["--samples", "4", "--seqlen", "64", "--model"]).arg(path("models/tiny-instruct"));
            command.arg("--calibration").arg(path("models/data/c4.jsonl"));
            if method == "oats" {
                command.args(["--option", "iterations=3"]);
            }
            run(command.args(flags).arg("--out").arg(&out));
            std::fs::read(out.join("model.safetensors")).unwrap()
        };
        assert!(prune(&["--isolate"]) == prune(&[]), "{method}");
    }
}
