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
