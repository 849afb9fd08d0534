use super::*;
use crate::fixture;
use serde_json::{Value, json};
use std::error::Error as _;

fn opened(write: impl FnOnce(&Path)) -> Result<(Checkpoint, LlamaConfig), CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let config = LlamaConfig::read(dir.path()).unwrap();
    let checkpoint = Checkpoint::open(dir.path())?;
    checkpoint.validate(&config)?;
    Ok((checkpoint, config))
}

/// The message with its causes.
fn refused(write: impl FnOnce(&Path)) -> String {
    let error = opened(write).unwrap_err();
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn single_and_sharded_are_the_same() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let tensors = fixture::tensors(dtype);
        let (single, _) = opened(|dir| fixture::single(dir, &fixture::config(), &tensors)).unwrap();
        let (sharded, _) =
            opened(|dir| drop(fixture::sharded(dir, &fixture::config(), &tensors, 5))).unwrap();
        assert_eq!((single.shards().len(), single.index()), (1, None));
        assert_eq!((sharded.shards().len(), sharded.index()), (5, Some(INDEX)));
        assert_eq!(single.names().count(), tensors.len());
        for (name, _, shape, data) in &tensors {
            for checkpoint in [&single, &sharded] {
                let view = checkpoint.tensor(name).unwrap();
                assert_eq!((&view.shape, &view.bytes[..]), (shape, &data[..]));
                checkpoint.release(name);
                assert_eq!(&view.bytes[..], &data[..]);
            }
        }
    }
}

#[test]
fn a_file_of_another_name_does() {
    let tensors = fixture::tensors(Dtype::F32);
    let (checkpoint, _) = opened(|dir| {
        fixture::single(dir, &fixture::config(), &tensors);
        fs::rename(dir.join("model.safetensors"), dir.join("weights.safetensors")).unwrap();
    })
    .unwrap();
    assert_eq!(checkpoint.shards()[0].file, "weights.safetensors");
}

#[test]
fn tied_embeddings() {
    let mut config = fixture::config();
    config["tie_word_embeddings"] = json!(true);
    let without = |name: &str| -> Vec<_> {
        fixture::tensors(Dtype::F32).into_iter().filter(|(stored, ..)| stored != name).collect()
    };
    for (tensors, embedding, head) in [
        (without(LM_HEAD), EMBEDDING, EMBEDDING),
        (without(EMBEDDING), LM_HEAD, LM_HEAD),
        (without(""), EMBEDDING, LM_HEAD),
    ] {
        let (checkpoint, config) = opened(|dir| fixture::single(dir, &config, &tensors)).unwrap();
        assert_eq!((checkpoint.embedding(&config), checkpoint.head(&config)), (embedding, head));
    }
    let message = refused(|dir| fixture::single(dir, &fixture::config(), &without(LM_HEAD)));
    assert!(message.contains("the tensor `lm_head.weight` is missing"), "{message}");
}

/// A folder without the model's weights is an error that says what it holds instead and what to do.
#[test]
fn weights_of_other_kinds_are_told() {
    let renamed = |rename: fn(&str) -> String| {
        refused(|dir| {
            let tensors: Vec<_> = fixture::tensors(Dtype::F32)
                .into_iter()
                .map(|(name, a, b, c)| (rename(&name), a, b, c))
                .collect();
            fixture::single(dir, &fixture::config(), &tensors);
        })
    };
    for (rename, words) in [
        (
            (|name| name.strip_prefix("model.").unwrap_or(name).to_owned()) as fn(&str) -> String,
            "lack the prefix `model.`",
        ),
        (|name| format!("base_model.model.{name}"), "the names begin with `base_model.model.model.`"),
        (|name| format!("module.{name}"), "the names begin with `module.model.`"),
        (
            |name| name.replace("_proj.weight", "_proj.qweight"),
            "the checkpoint is quantized (it holds `model.layers.0",
        ),
    ] {
        let message = renamed(rename);
        assert!(message.contains(words), "{message}");
    }
    let tensors: Vec<_> =
        fixture::tensors(Dtype::F32).into_iter().filter(|(name, ..)| name != LM_HEAD).collect();
    let message = refused(|dir| fixture::single(dir, &fixture::config(), &tensors));
    assert!(message.contains("set `tie_word_embeddings` to true"), "{message}");
}

#[test]
fn extra_tensors_are_carried_along() {
    let mut tensors = fixture::tensors(Dtype::F16);
    let extra = "model.layers.0.self_attn.rotary_emb.inv_freq";
    tensors.push((extra.to_owned(), Dtype::F64, vec![2], vec![1; 16]));
    let (checkpoint, config) = opened(|dir| fixture::single(dir, &fixture::config(), &tensors)).unwrap();
    assert_eq!(checkpoint.unused(&config), [extra]);
    assert!(matches!(checkpoint.tensor(extra), Err(CheckpointError::Type { .. })));
}

#[test]
fn tensors_that_do_not_fit_the_configuration() {
    let with = |change: fn(&mut Vec<fixture::Stored>)| {
        let mut tensors = fixture::tensors(Dtype::F32);
        change(&mut tensors);
        refused(|dir| fixture::single(dir, &fixture::config(), &tensors))
    };
    let message = with(|tensors| drop(tensors.drain(1..3)));
    assert!(
        message.contains("`model.layers.0.input_layernorm.weight` is missing (and one more)"),
        "{message}"
    );
    let message = with(|tensors| tensors[2].2 = vec![4, 16]);
    assert!(
        message.contains("q_proj.weight` has the shape [4, 16], but config.json makes it [8, 8]"),
        "{message}"
    );
    let message = with(|tensors| tensors[1].2 = vec![8, 1]);
    assert!(message.contains("[8, 1], but config.json makes it [8]"), "{message}");
    let message = with(|tensors| tensors[2].1 = Dtype::I32);
    assert!(message.contains("q_proj.weight` is I32, but only F32, F16 and BF16"), "{message}");
}

#[test]
fn broken_files_are_named() {
    let with = |change: fn(&Path)| {
        refused(|dir| {
            fixture::single(dir, &fixture::config(), &fixture::tensors(Dtype::F32));
            change(&dir.join("model.safetensors"));
        })
    };
    let message = with(|path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(message.contains("model.safetensors is not usable: tensor `"), "{message}");
    assert!(message.contains("it is incomplete"), "{message}");
    let message = with(|path| fs::write(path, "").unwrap());
    assert!(message.contains("it has 0 bytes"), "{message}");
    let message =
        with(|path| fs::write(path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap());
    assert!(message.contains("git lfs pull"), "{message}");
    let message = with(|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    });
    assert!(message.contains("it is a folder, not a regular file"), "{message}");
}

#[test]
fn folders_without_safetensors_are_told_what_to_do() {
    for (file, words) in [
        ("pytorch_model-00001-of-00002.bin", "convert pytorch_model-00001-of-00002.bin with: python -c"),
        ("consolidated.00.pth", "Meta's own format"),
        ("model-q4.gguf", "llama.cpp's format"),
        ("tokenizer.json", "the weights were not fetched"),
    ] {
        let message = refused(|dir| {
            fs::write(dir.join("config.json"), fixture::config().to_string()).unwrap();
            fs::write(dir.join(file), "x").unwrap();
        });
        assert!(message.contains(words), "{message}");
    }
    assert!(matches!(Checkpoint::open(Path::new("/nowhere")), Err(CheckpointError::NoFolder { .. })));
}

/// Changes the index of a folder with shards of five tensors.
fn with_index(change: impl FnOnce(&Path, &mut Value)) -> String {
    refused(|dir| {
        fixture::sharded(dir, &fixture::config(), &fixture::tensors(Dtype::F32), 5);
        let path = dir.join(INDEX);
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(dir, &mut index);
        fs::write(path, index.to_string()).unwrap();
    })
}

#[test]
fn an_index_must_fit_its_shards() {
    // A buffer that the model does not use may be named and be gone, or be there without a word.
    opened(|dir| {
        let mut tensors = fixture::tensors(Dtype::F32);
        tensors.push((
            "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(),
            Dtype::F32,
            vec![1],
            vec![0; 4],
        ));
        fixture::sharded(dir, &fixture::config(), &tensors, 5);
        let path = dir.join(INDEX);
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let map = index["weight_map"].as_object_mut().unwrap();
        assert!(map.remove("model.layers.0.self_attn.rotary_emb.inv_freq").is_some());
        map.insert("ghost".to_owned(), json!("model-00001-of-00005.safetensors"));
        fs::write(path, index.to_string()).unwrap();
    })
    .unwrap();
    let message = with_index(|dir, index| {
        // A weight that is named and not there.
        let config = fixture::config();
        let mut tensors = fixture::tensors(Dtype::F32);
        let last = tensors.pop().unwrap().0;
        fixture::sharded(dir, &config, &tensors, 5);
        index["weight_map"][last] = json!("model-00001-of-00005.safetensors");
        let map = index["weight_map"].as_object_mut().unwrap();
        map.retain(|_, file| dir.join(file.as_str().unwrap()).exists());
    });
    assert!(message.contains("into model-00001-of-00005.safetensors, where it is not"), "{message}");
    let message = with_index(|_, index| {
        index["weight_map"].as_object_mut().unwrap().remove("model.norm.weight");
    });
    assert!(message.contains("it does not name `model.norm.weight`, which is in"), "{message}");
    let message = with_index(|_, index| {
        index["weight_map"]["model.norm.weight"] = json!("model-00001-of-00005.safetensors");
    });
    assert!(message.contains("has it too"), "{message}");
    let message = with_index(|_, index| index["weight_map"]["model.norm.weight"] = json!("gone.safetensors"));
    assert!(message.contains("names shards that are not there: gone.safetensors"), "{message}");
    let message = with_index(|_, index| index["weight_map"]["model.norm.weight"] = json!("../x.safetensors"));
    assert!(message.contains("`../x.safetensors`, which is not a file name"), "{message}");
    let message = with_index(|_, index| index["weight_map"] = json!({}));
    assert!(message.contains("its weight_map is empty"), "{message}");
    let message = with_index(|_, index| index["weight_map"] = json!([1]));
    assert!(message.contains("index.json is malformed"), "{message}");
    let message = with_index(|dir, _| fs::remove_file(dir.join("model-00002-of-00005.safetensors")).unwrap());
    assert!(
        message.contains("names shards that are not there: model-00002-of-00005.safetensors"),
        "{message}"
    );
    let message = refused(|dir| {
        fixture::sharded(dir, &fixture::config(), &fixture::tensors(Dtype::F32), 5);
        fs::remove_file(dir.join(INDEX)).unwrap();
    });
    assert!(message.contains("no model.safetensors.index.json"), "{message}");
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_named() {
    let message = with_index(|dir, _| {
        let shard = dir.join("model-00002-of-00005.safetensors");
        fs::remove_file(&shard).unwrap();
        std::os::unix::fs::symlink("../../blobs/abc", shard).unwrap();
    });
    assert!(message.contains("(a link to ../../blobs/abc, which is not there)"), "{message}");
    let message = refused(|dir| {
        fs::write(dir.join("config.json"), fixture::config().to_string()).unwrap();
        std::os::unix::fs::symlink("../../blobs/abc", dir.join("model.safetensors")).unwrap();
    });
    assert!(message.contains("model.safetensors cannot be read"), "{message}");
}
