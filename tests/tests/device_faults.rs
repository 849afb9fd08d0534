//! A device that is lost, hangs or is asked for too much: an error with names, or a run that goes on.

use espalier_tests::{built, host, path, run, said};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn prune(out: &Path, device: &str) -> Command {
    let mut command = host();
    command.args(["prune", "--plugin", "sparsegpt", "--samples", "4", "--seqlen", "64", "--device", device]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(path("models/data/c4.jsonl")).arg("--out").arg(out);
    if let Ok(adapter) = std::env::var("ESPALIER_TEST_ADAPTER")
        && device == "gpu"
    {
        command.args(["--adapter", &adapter]);
    }
    command
}

/// A method of the library of hostile kernels.
fn hostile(method: &str, device: &str, out: &Path) -> Command {
    let mut command = prune(out, device);
    let library =
        built().join(format!("{}kernels{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    command.arg("--plugin").arg(library).args(["--method", method]);
    command
}

fn weights(out: &Path) -> Vec<u8> {
    fs::read(out.join("model.safetensors")).unwrap()
}

#[test]
fn a_lost_device_is_opened_again_and_the_block_redone() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    run(&mut prune(&whole, "gpu"));
    let lost = run(prune(&out, "gpu").env("ESPALIER_TEST_LOSE_DEVICE", "9,30,60"));
    assert_eq!(said(&lost).matches("the device is opened again").count(), 3, "{}", said(&lost));
    assert!(weights(&whole) == weights(&out), "other bytes");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    // The fourth loss is the last.
    let out = folder.path().join("again");
    let often = prune(&out, "gpu").env("ESPALIER_TEST_LOSE_DEVICE", "9,30,60,70").output().unwrap();
    assert!(!often.status.success() && said(&often).contains("the device was lost"), "{}", said(&often));
    let said_of = said(&often);
    assert!(
        said_of.contains("model.layers.") || said_of.contains("in block"),
        "where it happened: {said_of}"
    );
    assert!(!out.exists());
}

#[test]
fn kernels_that_no_device_should_run_are_refused_by_name() {
    for (method, words) in [
        ("huge_workgroup", "the kernel huge_workgroup: it takes 400000000 bytes of workgroup memory"),
        ("many_invocations", "the kernel many_invocations: its workgroups have 67108864 invocations"),
        ("garbage", "the kernel garbage: its WGSL does not parse"),
        ("no_parameters", "the kernel no_parameters: it declares 8 bytes of parameters, and is given 0"),
        ("large_variable", "the kernel large_variable: its variables take 40000004 bytes an invocation"),
        ("undeclared", "compiling the kernel `undeclared (plugin kernel 0)` failed on the device"),
        ("huge_tensor", "the run may take"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = hostile(method, "gpu", &folder.path().join("out")).output().unwrap();
        assert!(!output.status.success(), "{method}");
        assert!(said(&output).contains(words), "{method}: {}", said(&output));
        assert!(said(&output).contains("q_proj.weight"), "{method}: {}", said(&output));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{method}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = hostile("huge_tensor", "cpu", &folder.path().join("out")).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("the run may take"), "{}", said(&output));
}

#[test]
fn a_kernel_that_does_not_end_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hostile("endless", "gpu", &folder.path().join("out"));
    let started = Instant::now();
    let output = command.env("ESPALIER_DEVICE_TIMEOUT", "2").output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
    let said = said(&output);
    assert!(output.status.code() == Some(1) && said.contains("the device has not answered for"), "{said}");
    assert!(said.contains("handed over last: read, endless (plugin kernel"), "{said}");
}

#[test]
fn a_device_that_was_given_up_takes_no_more_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hostile("stubborn", "gpu", &folder.path().join("out"));
    let started = Instant::now();
    let output = command.env("ESPALIER_DEVICE_TIMEOUT", "2").output().unwrap();
    // A thousand waits of two seconds would take longer.
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
    let said = said(&output);
    assert!(output.status.code() == Some(1) && said.contains("the device has not answered for"), "{said}");
    assert!(said.contains("model.layers.0.self_attn.q_proj.weight"), "{said}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_heeded_while_the_device_is_waited_for() {
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    let mut command = hostile("endless", "gpu", &folder.path().join("out"));
    let child = command.arg("-v").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(10));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let asked = Instant::now();
    assert!(sent.success(), "it ended by itself");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn a_limit_that_is_no_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        prune(&folder.path().join("out"), "gpu").env("ESPALIER_DEVICE_TIMEOUT", "soon").output().unwrap();
    let said = said(&output);
    assert!(!output.status.success() && said.contains("ESPALIER_DEVICE_TIMEOUT: `soon`"), "{said}");
}

#[test]
fn a_device_out_of_memory_goes_on_with_less() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    run(&mut prune(&whole, "gpu"));
    // Each buffer is asked for twice, and the next block may be loaded at the same time.
    let full = run(prune(&out, "gpu").env("ESPALIER_TEST_OUT_OF_MEMORY", "40,41,42,43"));
    assert!(said(&full).contains("continuing with one block and fewer tokens"), "{}", said(&full));
    assert!(weights(&whole) == weights(&out), "other bytes");

    // Memory that never comes back ends the run, with what it was for.
    let out = folder.path().join("never");
    let all = (40..4000).map(|number: u32| number.to_string()).collect::<Vec<_>>().join(",");
    let never = prune(&out, "gpu").env("ESPALIER_TEST_OUT_OF_MEMORY", all).output().unwrap();
    let said = said(&never);
    assert!(!never.status.success() && said.contains("no memory left for"), "{said}");
    assert!(said.contains("error: the device failed at a batch of"), "{said}");
    assert!(!out.exists());
}

#[test]
fn the_budget_that_is_too_small_is_named() {
    for (flags, words) in [
        (["--host-memory", "1M"], "raise --host-memory"),
        (["--device-memory", "100K"], "raise --device-memory"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = prune(&folder.path().join("out"), "cpu").args(flags).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(words), "{}", said(&output));
    }
}
