use super::*;
use crate::model::fixture;
use safetensors::{Dtype, SafeTensors};
use std::{fs, path::PathBuf};

/// A model folder with files beside its weights, and an empty folder to write into.
fn model(metadata: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    let weights = fixture::safetensors(&fixture::tensors(Dtype::BF16), metadata);
    fs::write(model.join("model.safetensors"), weights).unwrap();
    for (file, text) in [
        ("config.json", "{}"),
        ("README.md", "their card"),
        ("LICENSE", "free"),
        ("pytorch_model.bin", "other weights"),
        ("pytorch_model.bin.index.json", "{}"),
        ("espalier.json", "an earlier run"),
    ] {
        fs::write(model.join(file), text).unwrap();
    }
    (folder, model)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_replaces_and_the_rest_is_copied() {
    for metadata in [&[][..], &[("format", "pt")], &[("note", "kept")]] {
        let (folder, model) = model(metadata);
        let out = folder.path().join("deep/out");
        let source = Checkpoint::open(&model).unwrap();
        let mut writer = CheckpointWriter::create(&source, &out, false).unwrap();
        let name = "model.layers.1.mlp.down_proj.weight";
        let length = source.tensor(name).unwrap().bytes.len();
        writer.write(name, vec![0; length]).unwrap();
        writer.copy_remaining().unwrap();
        writer.side_files().unwrap();
        writer.add_file("README.md", b"our card").unwrap();
        assert!(!out.exists(), "nothing is to be seen before it is whole");
        writer.commit().unwrap();
        assert_eq!(
            files(&out),
            ["LICENSE", "README.md", "README.original.md", "config.json", "model.safetensors"]
        );
        assert_eq!(files(out.parent().unwrap()), ["out"]);

        let written = fs::read(out.join("model.safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&written).unwrap();
        let notes = header.metadata().clone().unwrap();
        assert_eq!(notes["format"], "pt");
        assert_eq!(notes.contains_key("note"), metadata.iter().any(|(key, _)| *key == "note"));
        let written = SafeTensors::deserialize(&written).unwrap();
        assert_eq!(written.len(), source.names().count());
        for tensor in source.names() {
            let (old, new) = (source.tensor(tensor).unwrap(), written.tensor(tensor).unwrap());
            assert_eq!((old.shape.as_slice(), Dtype::BF16), (new.shape(), new.dtype()), "{tensor}");
            let expected = if tensor == name { vec![0; length] } else { old.bytes.to_vec() };
            assert_eq!(expected, new.data(), "{tensor}");
        }
    }
}

#[test]
fn one_that_is_not_finished_leaves_nothing_behind() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let mut writer = CheckpointWriter::create(&source, &folder.path().join("out"), false).unwrap();
    writer.copy_remaining().unwrap();
    assert!(matches!(
        writer.write("model.norm.weight", vec![0; 3]),
        Err(WriteError::Size { expected: 16, .. })
    ));
    assert!(matches!(writer.write("absent", Bytes::new()), Err(WriteError::UnknownTensor { .. })));
    drop(writer);
    assert_eq!(files(folder.path()), ["model"]);
}

#[test]
fn one_that_lacks_a_tensor_is_not_put_in_place() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let mut writer = CheckpointWriter::create(&source, &folder.path().join("out"), false).unwrap();
    let name = "model.norm.weight";
    writer.write(name, source.tensor(name).unwrap().bytes).unwrap();
    assert!(matches!(writer.commit(), Err(WriteError::Unwritten { .. })));
    assert_eq!(files(folder.path()), ["model"]);
}

#[test]
fn targets_that_would_lose_something_are_refused() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let create = |target: &Path, overwrite| CheckpointWriter::create(&source, target, overwrite).map(|_| ());
    assert!(matches!(create(&model, true), Err(WriteError::Overlaps { .. })));
    assert!(matches!(create(&model.join("pruned"), false), Err(WriteError::Overlaps { .. })));
    assert!(matches!(create(folder.path(), true), Err(WriteError::Overlaps { .. })));
    assert!(matches!(create(Path::new("/"), true), Err(WriteError::NoName(_))));
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file").unwrap();
    assert!(matches!(create(&taken, false), Err(WriteError::Exists(_))));
    assert!(matches!(create(&taken, true), Err(WriteError::NoModel(_))));
    assert_eq!(fs::read_to_string(&taken).unwrap(), "a file");
}

#[test]
fn a_replaced_target_is_there_until_the_new_one_is() {
    let (folder, model) = model(&[]);
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("config.json"), "old").unwrap();
    let source = Checkpoint::open(&model).unwrap();
    let mut writer = CheckpointWriter::create(&source, &out, true).unwrap();
    writer.copy_remaining().unwrap();
    assert_eq!(files(&out), ["config.json"]);
    writer.commit().unwrap();
    assert_eq!(files(&out), ["model.safetensors"]);
    assert_eq!(files(folder.path()), ["model", "out"]);
}

#[test]
fn a_write_that_fails_in_the_background_is_said_at_the_next_or_at_the_end() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    // Files that are open for reading only stand for a disk that takes nothing.
    let broken = |name: &str| {
        let writer = CheckpointWriter::create(&source, &folder.path().join(name), false).unwrap();
        let shards = source.shards().iter().map(|shard| OpenShard::read_only(shard, writer.folder()));
        let shards = Background::start(shards.collect(), writer.folder()).unwrap();
        CheckpointWriter { shards, ..writer }
    };
    let mut writer = broken("first");
    let name = "model.norm.weight";
    let bytes = || source.tensor(name).unwrap().bytes;
    let error = (0..=IN_FLIGHT + 1).find_map(|_| writer.write(name, bytes()).err()).unwrap();
    assert!(
        matches!(&error, WriteError::Write { path, .. } if path.ends_with("model.safetensors")),
        "{error}"
    );
    assert!(matches!(writer.write(name, bytes()), Err(WriteError::Failed)));
    writer.written.extend(source.names().map(str::to_owned));
    assert!(matches!(writer.commit(), Err(WriteError::Failed)));

    let mut writer = broken("second");
    let written: Vec<_> = source.names().map(str::to_owned).collect();
    writer.write(name, bytes()).unwrap();
    writer.written.extend(written);
    assert!(matches!(writer.commit(), Err(WriteError::Write { .. })));
    assert_eq!(files(folder.path()), ["model"]);
}
