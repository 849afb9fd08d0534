//! `host verify`: a pruned model as it was written passes, and every kind of damage is found and named.

use espalier_tests::{host, path, run, said};
use safetensors::SafeTensors;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn verify(out: &Path) -> Command {
    let mut command = host();
    command.args(["verify", "--device", "cpu"]).arg(out);
    command
}

fn pruned(folder: &Path, flags: &[&str]) -> PathBuf {
    let out = folder.join("out");
    let mut command = host();
    command.args(["prune", "--plugin", "magnitude", "--device", "cpu"]).args(flags);
    run(command.arg("--model").arg(path("models/tiny-instruct")).arg("--out").arg(&out));
    out
}

#[test]
fn what_was_written_passes() {
    for flags in
        [&["--sparsity", "0.6"][..], &["--sparsity", "2:4", "--skip", "down_proj", "--layers", "1-2"]]
    {
        let folder = tempfile::tempdir().unwrap();
        let out = pruned(folder.path(), flags);
        let said = said(&run(&mut verify(&out)));
        for check in ["files", "sparsity", "weights", "untouched", "logits"] {
            let line = said.lines().find(|line| line.starts_with(check)).unwrap_or_default();
            assert!(line.contains(" ok ") || line.contains(" ok"), "{said}");
        }
        let json = run(verify(&out).arg("--json"));
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&json["failed"], json["checks"].as_array().unwrap().len()), (&0.into(), 5));
    }
}

/// The bytes of a tensor, to be changed in place.
fn change(out: &Path, tensor: &str, change: impl FnOnce(&mut [u8])) {
    let file = out.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let (start, end) = metadata.info(tensor).unwrap().data_offsets;
    change(&mut bytes[8 + header + start..8 + header + end]);
    fs::write(file, bytes).unwrap();
}

/// Makes the manifest agree with the files again, so that only the deeper checks can find what is wrong.
fn forge(out: &Path) {
    let path = out.join("espalier.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["files"] = serde_json::json!({});
    fs::write(path, manifest.to_string()).unwrap();
}

#[test]
fn every_damage_is_found_and_named() {
    let pruned_layer = "model.layers.1.mlp.up_proj.weight";
    let norm = "model.layers.2.input_layernorm.weight";
    let first_zero = |bytes: &mut [u8]| {
        let at = bytes.chunks_exact(4).position(|word| word == [0; 4]).unwrap();
        bytes[4 * at..][..4].copy_from_slice(&1e-3f32.to_le_bytes());
    };
    type Damage<'a> = &'a dyn Fn(&Path);
    let cases: [(Damage, bool, &str); 9] = [
        (
            &|out| change(out, pruned_layer, |bytes| bytes[3] ^= 0x80),
            false,
            "model.safetensors is not as it was written",
        ),
        (&|out| change(out, pruned_layer, first_zero), true, "model.layers.1.mlp.up_proj.weight has"),
        (
            &|out| change(out, norm, |bytes| bytes[0] ^= 1),
            true,
            "model.layers.2.input_layernorm.weight differs",
        ),
        (
            &|out| change(out, norm, |bytes| bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            true,
            "input_layernorm.weight has a value that is NaN, at row 0, column 0",
        ),
        (
            &|out| change(out, norm, |bytes| bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            true,
            "some logits are NaN or infinite",
        ),
        (
            &|out| fs::write(out.join("config.json"), "{}").unwrap(),
            false,
            "config.json has 2 bytes instead of",
        ),
        (&|out| fs::remove_file(out.join("tokenizer.json")).unwrap(), false, "tokenizer.json cannot be read"),
        (
            &|out| fs::remove_file(out.join("model.safetensors")).unwrap(),
            false,
            "model.safetensors cannot be read",
        ),
        (
            &|out| {
                let path = out.join("espalier.json");
                let text =
                    fs::read_to_string(&path).unwrap().replace("\"target\": \"0.5\"", "\"target\": \"0.7\"");
                fs::write(path, text).unwrap();
            },
            false,
            "its sparsity is 0.5",
        ),
    ];
    for (damage, forged, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let out = pruned(folder.path(), &[]);
        damage(&out);
        if forged {
            forge(&out);
        }
        let output = verify(&out).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {}", said(&output));
        assert!(
            said(&output).contains(words) && said(&output).contains("FAILED"),
            "{words}: {}",
            said(&output)
        );
    }
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |folder: &Path, words: &str| {
        let output = verify(folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    };
    refused(&path("models/tiny-instruct"), "espalier.json cannot be read");
    let out = pruned(folder.path(), &[]);
    // The source is elsewhere now: that check is said to be not done.
    let manifest = out.join("espalier.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("tiny-instruct", "gone")).unwrap();
    assert!(said(&run(&mut verify(&out))).contains("not done"));
    run(verify(&out).arg("--model").arg(path("models/tiny-instruct")));
    let wrong = verify(&out).args(["--model", "no/such-model"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    // So is one that no device is there for.
    let no_device = run(verify(&out)
        .args(["--device", "gpu", "--adapter", "no such adapter", "--model"])
        .arg(path("models/tiny-instruct")));
    assert!(said(&no_device).contains("not done"), "{}", said(&no_device));
    // A file that came later is said; a manifest reads nothing outside of its folder.
    fs::write(out.join("later.txt"), "").unwrap();
    assert!(said(&run(&mut verify(&out))).contains("later.txt came later"));
    fs::write(&manifest, text.replace("\"config.json\": {", "\"../config.json\": {")).unwrap();
    let outside = verify(&out).output().unwrap();
    assert_eq!(outside.status.code(), Some(1));
    assert!(said(&outside).contains("is not the name of a file in the folder"), "{}", said(&outside));
    fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    refused(&out, "espalier.json is damaged");
}
