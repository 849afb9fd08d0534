//! Arbitrary and damaged input for every reader: an error or a value, never a panic, soon.

use espalier_host::{
    data::{ChatTemplate, Collection, Conversation, Message, Reading, Source, Tokenizer},
    model::{Checkpoint, LlamaConfig, checkpoint::Header},
    prune::{Size, Targets},
    study::StudyFile,
};
use espalier_sdk::Sparsity;
use espalier_tests::path;
use proptest::{prelude::*, sample::Index, test_runner::TestCaseError};
use std::{collections::BTreeMap, fs, path::Path};

/// A damage to the bytes of a file.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, u8),
    Repeat(Index, u8),
    Insert(Index, Vec<u8>),
    /// Puts an extreme number where there is one.
    Number(Index, &'static str),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let number = prop::sample::select(vec![
        "-1",
        "0",
        "18446744073709551615",
        "1e308",
        "-9223372036854775808",
        "0.5",
        "null",
        "\"7\"",
        "[]",
    ]);
    let damage = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, with)| Damage::Flip(at, with)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Remove(at, count)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Repeat(at, count)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), number).prop_map(|(at, number)| Damage::Number(at, number)),
    ];
    prop::collection::vec(damage, 1..4)
}

fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match damage {
            Damage::Flip(at, with) => bytes[at.index(length)] ^= with,
            Damage::Cut(at) => bytes.truncate(at.index(length)),
            Damage::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + usize::from(*count)).min(length));
            }
            Damage::Repeat(at, count) => {
                let at = at.index(length);
                let piece = bytes[at..(at + usize::from(*count)).min(length)].to_vec();
                bytes.splice(at..at, piece);
            }
            Damage::Insert(at, new) => {
                let at = at.index(length);
                bytes.splice(at..at, new.iter().copied());
            }
            Damage::Number(at, number) => {
                let starts: Vec<_> = (1..length)
                    .filter(|&at| bytes[at].is_ascii_digit() && !bytes[at - 1].is_ascii_alphanumeric())
                    .collect();
                if !starts.is_empty() {
                    let start = starts[at.index(starts.len())];
                    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    bytes.splice(start..start + digits, number.bytes());
                }
            }
        }
    }
    bytes
}

/// Gives `see` arbitrary bytes, and damaged versions of `valid`.
fn every_way(cases: u32, valid: &[u8], see: impl Fn(&[u8])) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let bytes = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..400),
        4 => damages().prop_map(|damages| damaged(valid, &damages)),
    ];
    let result = runner.run(&bytes, |bytes| {
        see(&bytes);
        Ok::<_, TestCaseError>(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// As [`every_way`], with the bytes in a file of a copy of the small model.
fn in_model(cases: u32, name: &str, see: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(path("models/tiny-instruct")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    let file = folder.path().join(name);
    let valid = fs::read(&file).unwrap_or_else(|_| INDEX.as_bytes().to_vec());
    every_way(cases, &valid, |bytes| {
        fs::write(&file, bytes).unwrap();
        see(folder.path());
    });
}

const INDEX: &str =
    r#"{"metadata": {"total_size": 12}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}"#;

#[test]
fn headers_and_checkpoints() {
    let header =
        br#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"format":"pt"}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([0; 16]);
    assert!(Header::parse(&file).is_ok());
    every_way(1500, &file, |bytes| drop(Header::parse(bytes)));
    let folder = tempfile::tempdir().unwrap();
    every_way(200, &file, |bytes| {
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        let Ok(checkpoint) = Checkpoint::open(folder.path()) else { return };
        let names: Vec<_> = checkpoint.names().map(str::to_owned).collect();
        names.iter().for_each(|name| drop(checkpoint.tensor(name)));
    });
    let folder = tempfile::tempdir().unwrap();
    every_way(300, INDEX.as_bytes(), |bytes| {
        fs::write(folder.path().join("model.safetensors.index.json"), bytes).unwrap();
        assert!(Checkpoint::open(folder.path()).is_err());
    });
}

#[test]
fn configurations_and_tokenizers() {
    in_model(400, "config.json", |folder| {
        if let Ok(config) = LlamaConfig::read(folder) {
            drop(config.rope.table(8));
        }
    });
    in_model(100, "generation_config.json", |folder| drop(LlamaConfig::read(folder)));
    in_model(200, "tokenizer_config.json", |folder| {
        drop(Tokenizer::open(folder, 1024));
        drop(ChatTemplate::of_model(folder));
    });
    in_model(24, "tokenizer.json", |folder| {
        if let Ok(tokenizer) = Tokenizer::open(folder, 1024) {
            let ids = tokenizer.encode("Hello, wörld! 12345\n\n <s>", true, String::new).unwrap_or_default();
            drop(tokenizer.decode(&ids));
            drop(tokenizer.decode_all(&[0, 1, 5, 1023]));
        }
    });
}

#[test]
fn templates() {
    let template = "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message['content'] \
                    | trim }} [/INST]{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}";
    let message = |role: &str, content: &str| Message::new(role, content);
    let messages = [message("user", "hi"), message("assistant", "ho")];
    every_way(600, template.as_bytes(), |bytes| {
        let source = String::from_utf8_lossy(bytes);
        if let Ok(template) = ChatTemplate::new(&source, BTreeMap::new(), "t".into()) {
            drop(template.render(&Conversation::new(messages.to_vec()), true));
        }
    });
}

#[test]
fn collections() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "{\"instruction\": \"Say\", \"input\": \"\", \"output\": \"hi\\n\"}\n{\"instruction\": \"Go\", \"output\": \"on\"}\n";
    let list = r#"[{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, {"messages": []}]"#;
    let windows = "{\"input_ids\": [1, 2, 3], \"attention_mask\": [1, 1, 0]}\n";
    for (name, valid) in [
        ("a.jsonl", rows),
        ("b.json", list),
        ("c.jsonl", windows),
        ("d.txt", "running text\n"),
        ("e.jsonl.gz", rows),
        ("f.jsonl.zst", rows),
        ("g.parquet", rows),
    ] {
        let file = folder.path().join(name);
        every_way(150, valid.as_bytes(), |bytes| {
            fs::write(&file, bytes).unwrap();
            if let Ok(collection) = Collection::open(&[Source::new(&file)], &Reading::default()) {
                (0..collection.len()).for_each(|index| drop(collection.record(index)));
            }
        });
    }
}

#[test]
fn settings() {
    let folder = tempfile::tempdir().unwrap();
    let study = fs::read(path("studies/demo.toml")).unwrap();
    let file = folder.path().join("study.toml");
    every_way(300, &study, |bytes| {
        fs::write(&file, bytes).unwrap();
        drop(StudyFile::read(&file));
    });
    let layers = folder.path().join("layers.json");
    every_way(300, br#"{"3": 0.4, "down_proj": "2:4", "1.q_proj": 0}"#, |bytes| {
        fs::write(&layers, bytes).unwrap();
        drop(Targets::everywhere(Sparsity::Ratio(0.5)).read_per_layer(&layers));
    });
    every_way(1000, b"2:4", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        drop(text.parse::<Sparsity>());
        drop(text.parse::<Size>());
        drop(text.parse::<Source>());
    });
}
