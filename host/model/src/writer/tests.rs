use super::*;
use crate::fixture;
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

/// Begins a copy of `source` at `target`.
fn create<'a>(
    source: &'a Checkpoint,
    target: &Path,
    overwrite: bool,
) -> Result<CheckpointWriter<'a>, WriteError> {
    CheckpointWriter::create(
        source,
        Place::open(source, target, overwrite)?,
        &["begin".to_owned()],
        Cut::default(),
    )
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
        let mut writer = create(&source, &out, false).unwrap();
        let name = "model.layers.1.mlp.down_proj.weight";
        let length = source.tensor(name).unwrap().bytes.len();
        writer.write(name, vec![0; length]).unwrap();
        writer.copy_remaining().unwrap();
        writer.side_files(2).unwrap();
        writer.add_file("README.md", b"our card").unwrap();
        assert!(!out.exists(), "nothing is to be seen before it is whole");
        writer.commit().unwrap();
        assert_eq!(
            files(&out),
            [
                "LICENSE",
                "README.md",
                "README.original.md",
                "config.json",
                "espalier.1.json",
                "model.safetensors"
            ]
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
    let mut writer = create(&source, &folder.path().join("out"), false).unwrap();
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
    let mut writer = create(&source, &folder.path().join("out"), false).unwrap();
    let name = "model.norm.weight";
    writer.write(name, source.tensor(name).unwrap().bytes).unwrap();
    assert!(matches!(writer.commit(), Err(WriteError::Unwritten { .. })));
    assert_eq!(files(folder.path()), ["model"]);
}

#[test]
fn targets_that_would_lose_something_are_refused() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let create = |target: &Path, overwrite| create(&source, target, overwrite).map(|_| ());
    assert!(matches!(create(&model, true), Err(WriteError::Overlaps { .. })));
    assert!(matches!(create(&model.join("pruned"), false), Err(WriteError::Overlaps { .. })));
    assert!(matches!(create(folder.path(), true), Err(WriteError::Overlaps { .. })));
    assert!(matches!(create(Path::new("/"), true), Err(WriteError::NoName(_))));
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file").unwrap();
    assert!(matches!(create(&taken, false), Err(WriteError::Exists(_))));
    assert!(matches!(create(&taken, true), Err(WriteError::NotReplaced { .. })));
    assert_eq!(fs::read_to_string(&taken).unwrap(), "a file");
}

/// A finished copy of `source` at `target`, with a manifest.
fn finish(source: &Checkpoint, target: &Path, overwrite: bool, note: &str) {
    let mut writer = create(source, target, overwrite).unwrap();
    writer.copy_remaining().unwrap();
    writer.add_file("note.txt", note.as_bytes()).unwrap();
    let manifest = serde_json::json!({ "files": writer.files().unwrap() });
    writer.add_file(MANIFEST, manifest.to_string().as_bytes()).unwrap();
    writer.commit().unwrap();
}

#[test]
fn an_output_is_replaced_and_nothing_else() {
    let (folder, model) = model(&[]);
    let out = folder.path().join("out");
    let source = Checkpoint::open(&model).unwrap();
    finish(&source, &out, false, "old");
    let mut writer = create(&source, &out, true).unwrap();
    writer.copy_remaining().unwrap();
    assert_eq!(fs::read_to_string(out.join("note.txt")).unwrap(), "old", "it is there until the new one is");
    drop(writer);
    finish(&source, &out, true, "new");
    assert_eq!(fs::read_to_string(out.join("note.txt")).unwrap(), "new");
    assert_eq!(files(folder.path()), ["model", "out"]);

    fs::write(out.join("mine.txt"), "keep me").unwrap();
    let error = create(&source, &out, true).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("mine.txt is not a file that this program wrote"), "{error}");
    assert_eq!(files(folder.path()), ["model", "out"]);
}

/// Puts the files of an unfinished run where they would be, had the process ended while it committed.
#[test]
fn a_commit_that_was_cut_off_is_settled() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let (out, other) = (folder.path().join("out"), folder.path().join("other"));
    finish(&source, &out, false, "new");
    finish(&source, &other, false, "old");
    let manifest = Hashed::new(File::open(out.join(MANIFEST)).unwrap()).finish().unwrap();
    let partial = folder.path().join(".out.partial");
    let leave = |last: &str, inner: Option<&str>| {
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("lock"), "").unwrap();
        let commit = serde_json::json!({ "commit": last });
        fs::write(partial.join("journal.jsonl"), format!("begin\nblock\n{commit}\n")).unwrap();
        if let Some(inner) = inner {
            fs::rename(&other, partial.join(inner)).unwrap();
        }
    };
    // Ended after the exchange: what was replaced is removed.
    leave(&manifest, Some("model"));
    drop(Place::open(&source, &out, true).unwrap());
    assert_eq!(files(folder.path()), ["model", "out"]);
    assert_eq!(fs::read_to_string(out.join("note.txt")).unwrap(), "new");
    leave(&manifest, None);
    tidy(&out).unwrap();
    assert_eq!(files(folder.path()), ["model", "out"]);
    // Ended before it: the unfinished output is still one.
    finish(&source, &other, false, "old");
    leave("another", None);
    tidy(&out).unwrap();
    assert!(partial.exists(), "what is not finished stays");
    assert_eq!(Place::open(&source, &out, true).unwrap().journal().unwrap().len(), 3);
    remove_unfinished(&partial).unwrap();
    // Ended between two renames: the target gets its former contents back.
    fs::remove_dir_all(&out).unwrap();
    leave("another", Some("replaced"));
    drop(Place::open(&source, &out, true).unwrap());
    assert_eq!(fs::read_to_string(out.join("note.txt")).unwrap(), "old");
}

#[test]
fn what_is_marked_outlives_the_writer_and_is_continued() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let out = folder.path().join("out");
    let name = "model.layers.1.mlp.down_proj.weight";
    let length = source.tensor(name).unwrap().bytes.len();
    let mut writer = create(&source, &out, false).unwrap();
    writer.write(name, vec![7; length]).unwrap();
    writer.mark("first".to_owned()).unwrap();
    writer.write_hidden(1, vec![1; 8]).unwrap();
    writer.mark_hidden(1, "hidden 1".to_owned()).unwrap();
    writer.write_hidden(2, vec![2; 8]).unwrap();
    writer.write_hidden(2, vec![3; 8]).unwrap();
    writer.mark_hidden(2, "hidden 2".to_owned()).unwrap();
    drop(writer);
    assert_eq!(files(folder.path()), [".out.partial", "model"]);

    let place = Place::open(&source, &out, false).unwrap();
    assert_eq!(place.journal().unwrap(), ["begin", "first", "hidden 1", "hidden 2"]);
    assert!(!place.hidden(1).unwrap().exists(), "older hidden states are removed");
    assert_eq!(fs::read(place.hidden(2).unwrap()).unwrap(), [[2; 8], [3; 8]].concat());
    let mut writer =
        CheckpointWriter::resume(&source, place, [name.to_owned()].into(), Cut::default()).unwrap();
    assert_eq!(writer.read_back(name).unwrap(), vec![7; length]);
    writer.copy_remaining().unwrap();
    writer.commit().unwrap();
    assert_eq!(files(folder.path()), ["model", "out"]);
    let written = fs::read(out.join("model.safetensors")).unwrap();
    assert_eq!(SafeTensors::deserialize(&written).unwrap().tensor(name).unwrap().data(), vec![7; length]);
}

#[test]
fn an_unfinished_output_of_another_model_is_not_continued() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    let out = folder.path().join("out");
    let mut writer = create(&source, &out, false).unwrap();
    writer.mark("first".to_owned()).unwrap();
    drop(writer);
    let shard = folder.path().join(".out.partial/model/model.safetensors");
    fs::write(&shard, "cut").unwrap();
    let place = Place::open(&source, &out, false).unwrap();
    let error =
        CheckpointWriter::resume(&source, place, BTreeSet::new(), Cut::default()).map(|_| ()).unwrap_err();
    assert!(matches!(&error, WriteError::Write { path, .. } if *path == shard), "{error}");
}

#[test]
fn a_write_that_fails_in_the_background_is_said_at_the_next_or_at_the_end() {
    let (folder, model) = model(&[]);
    let source = Checkpoint::open(&model).unwrap();
    // Files that are open for reading only stand for a disk that takes nothing.
    let broken = |name: &str| {
        let writer = create(&source, &folder.path().join(name), false).unwrap();
        let shards = source.shards().iter().map(|shard| OpenShard::read_only(shard, &writer.place.model()));
        let journal = writer.place.open_journal().unwrap();
        let output = Background::start(shards.collect(), journal, writer.folder()).unwrap();
        CheckpointWriter { output, ..writer }
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
