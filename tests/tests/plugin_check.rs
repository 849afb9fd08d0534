//! `host plugin check`: shipped methods pass, and faults of methods are found.

use espalier_tests::{host, run, said};
use serde_json::Value;

#[test]
fn shipped_methods_pass_on_the_cpu_and_on_a_gpu() {
    for method in ["magnitude", "wanda", "sparsegpt"] {
        let output = run(host().args(["plugin", "check", method, "--device", "gpu", "--json"]));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["devices"].as_array().unwrap().len(), 2, "{report}");
        let cases = report["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 28);
        for case in cases {
            assert_eq!(case["outcome"], "ok", "{method}: {case}");
        }
    }
}

#[test]
fn what_a_method_cannot_do_is_no_failure() {
    let arguments = ["--option", "use_variant=true", "--device", "cpu", "--json"];
    let output = run(host().args(["plugin", "check", "wanda"]).args(arguments));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = |name: &str| {
        let cases = report["cases"].as_array().unwrap();
        cases.iter().find(|case| case["case"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("pattern 2:4"), "refused");
    assert_eq!(outcome("square"), "ok");
}

#[test]
fn faults_are_found() {
    let faults = [
        ("panics", "panicked: out of ideas"),
        ("fails", "no reason at all"),
        ("wrong_shape", "it returned f32 [1, 2] where f32 [64, 64] is expected"),
        ("not_finite", "is NaN"),
        ("unasked", "without asking for it"),
        ("prunes_nothing", "its sparsity is 0.0000"),
        ("prunes_all", "all its weights are 0"),
    ];
    for (method, words) in faults {
        let arguments = ["plugin", "check", "hostile", "--method", method, "--device", "cpu"];
        let output = host().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(words), "{method}: {}", said(&output));
        assert!(said(&output).contains("checks"), "{method}: {}", said(&output));
    }
}

#[test]
fn methods_on_blocks_and_on_the_model_prune_small_models() {
    for method in ["magnitude,block_matching", "owl,wanda", "wanda_sp"] {
        let mut check = host();
        check.args(["plugin", "check", "libpublished.so", "--method", method, "--device", "gpu", "--json"]);
        let output = check.output().unwrap();
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        let cases = report["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 18, "{method}");
        let count = |outcome: &str| cases.iter().filter(|case| case["outcome"] == outcome).count();
        assert!(count("ok") >= 10, "{method}: {report}");
        let failed: Vec<_> = cases.iter().filter(|case| case["outcome"] == "failed").collect();
        assert!(failed.is_empty(), "{method}: {failed:?}");
    }
}

#[test]
fn a_stage_that_finds_nothing_to_refine_fails() {
    let arguments = ["plugin", "check", "libpublished.so", "--method", "block_matching", "--device", "cpu"];
    let output = host().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("nothing is pruned yet"), "{}", said(&output));
}
