use super::*;
use serde_json::{Value, json};

/// A tokenizer of whole words, which begins a text with `<s>`.
pub(crate) fn words() -> Value {
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "<unk>"},
        "added_tokens": [
            {"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true},
            {"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
        },
        "decoder": null,
        "model": {
            "type": "WordLevel",
            "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "c": 5},
            "unk_token": "<unk>"
        }
    })
}

/// A folder with this tokenizer.
pub(crate) fn folder(config: Option<Value>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), words().to_string()).unwrap();
    if let Some(config) = config {
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    dir
}

fn encode(config: Option<Value>, special: bool) -> Vec<u32> {
    let tokenizer = Tokenizer::open(folder(config).path(), 6).unwrap();
    tokenizer.encode("a b c a", special, String::new).unwrap()
}

#[test]
fn special_tokens_are_those_of_the_tokenizer() {
    assert_eq!(encode(None, true), [1, 3, 4, 5, 3]);
    assert_eq!(encode(None, false), [3, 4, 5, 3]);
}

/// In transformers 5, `tokenizer.json` decides, whatever the configuration says of the tokens around a text.
#[test]
fn tokenizer_json_says_what_stands_around_a_text() {
    for bos in [None, Some(true), Some(false)] {
        for eos in [None, Some(true), Some(false)] {
            let config = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": bos, "add_eos_token": eos});
            assert_eq!(encode(Some(config.clone()), true), [1, 3, 4, 5, 3]);
            assert_eq!(encode(Some(config), false), [3, 4, 5, 3]);
        }
    }
    let config = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}});
    let tokenizer = Tokenizer::open(folder(Some(config)).path(), 6).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.decode(&[1, 3, 4, 2]).unwrap(), "a b");
}

/// Tokens that stand beside `tokenizer.json` are tokens of their own.
#[test]
fn tokens_beside_the_tokenizer_are_added() {
    let ids = |files: &[(&str, Value)]| {
        let dir = folder(None);
        for (name, value) in files {
            fs::write(dir.path().join(name), value.to_string()).unwrap();
        }
        let tokenizer = Tokenizer::open(dir.path(), 20).unwrap();
        let ids = tokenizer.encode("a <end> b", false, String::new).unwrap();
        (ids, tokenizer.bos(), tokenizer.eos())
    };
    let decoder =
        json!({"added_tokens_decoder": {"6": {"content": "<end>", "special": true}}, "bos_token": "<s>"});
    assert_eq!(ids(&[("tokenizer_config.json", decoder.clone())]), (vec![3, 6, 4], Some(1), None));
    let map = json!({"bos_token": "</s>", "eos_token": {"content": "<end>", "lstrip": false}});
    let map = ("special_tokens_map.json", map);
    assert_eq!(ids(std::slice::from_ref(&map)), (vec![3, 6, 4], Some(2), Some(6)));
    // An `added_tokens_decoder` is newer than the map.
    assert_eq!(ids(&[("tokenizer_config.json", decoder), map]), (vec![3, 6, 4], Some(1), None));
    assert_eq!(ids(&[("added_tokens.json", json!({"<end>": 6}))]), (vec![3, 6, 4], None, None));
    let list = json!({"additional_special_tokens": ["<end>"]});
    assert_eq!(ids(&[("tokenizer_config.json", list)]), (vec![3, 6, 4], None, None));
}

/// A long text has the tokens that it has as a whole.
#[test]
fn long_texts_are_tokenised_in_pieces() {
    let tokenizer = Tokenizer::open(folder(None).path(), 6).unwrap();
    let text = "a b c b a a c ".repeat(40_000);
    let whole = tokenizer.whole(&text, true).ok().unwrap();
    assert_eq!(tokenizer.encode(&text, true, String::new).unwrap(), whole.get_ids());
}

#[test]
fn tokens_beyond_the_vocabulary_are_refused() {
    let tokenizer = Tokenizer::open(folder(None).path(), 5).unwrap();
    let error = tokenizer.encode("a c", true, || "rows.jsonl, line 7".to_owned()).unwrap_err();
    let words = "rows.jsonl, line 7 has the token 5, but the model's vocabulary ends at 4: they do not belong together";
    assert_eq!(error.to_string(), words);
}

#[test]
fn what_is_missing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let refused = || Tokenizer::open(dir.path(), 6).map(|_| ()).unwrap_err().to_string();
    assert!(refused().contains("fetch the model's tokenizer, or give rows of `input_ids`"));
    fs::write(dir.path().join("tokenizer.model"), "x").unwrap();
    assert!(refused().contains("make one of its tokenizer.model with: python -c"));
    let path = dir.path().join("tokenizer.json");
    fs::write(&path, "{}").unwrap();
    assert!(refused().contains("tokenizer.json is not usable"));
    fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    assert!(refused().contains("git lfs pull"));
}

/// The same of a tokenizer in use, on the source text of this crate.
#[test]
fn source_text_is_tokenised_in_pieces() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = espalier_base::files::walk(&root.join("src"), &|_| true).unwrap();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let text = &text[..text.floor_char_boundary(4 * SIZES.piece)];
    let tokenizer = Tokenizer::open(&root.join("../../tests/models/tiny-instruct"), 1024).unwrap();
    let whole = tokenizer.whole(text, true).ok().unwrap();
    assert!(tokenizer.encode(text, true, String::new).unwrap() == whole.get_ids());
}
