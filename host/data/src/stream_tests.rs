use super::{super::tokenizer::tests::folder, *};
use espalier_sdk::Rng;
use serde_json::json;
use std::{fs, path::Path};

/// Byte-level pairs, with 1024 tokens.
fn byte_level() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-instruct");
    Tokenizer::open(&folder, 1024).unwrap()
}

/// Letters, and bytes for other characters; spaces are part of words, as in LLaMA 2.
fn byte_fallback() -> Tokenizer {
    let mut vocabulary = serde_json::Map::new();
    let mut add = |token: String| {
        let id = vocabulary.len();
        vocabulary.insert(token, id.into());
    };
    ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().for_each(&mut add);
    (0..256).map(|byte| format!("<0x{byte:02X}>")).for_each(&mut add);
    "▁abcdefghijklmnopqrstuvwxyz.".chars().map(String::from).for_each(&mut add);
    let size = vocabulary.len();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true, "unk_token": "<unk>"}
    });
    let folder = folder(None);
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    Tokenizer::open(folder.path(), size).unwrap()
}

/// The pieces of a text, and whether it was stopped.
fn pieces(tokenizer: &Tokenizer, behind: &[u32], tokens: &[u32], stops: &[&str]) -> (Vec<String>, bool) {
    let stops: Vec<_> = stops.iter().map(|&stop| stop.to_owned()).collect();
    let mut stream = TextStream::new(tokenizer, behind, &stops).unwrap();
    let mut pieces: Vec<_> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
    pieces.push(stream.finish().unwrap());
    (pieces, stream.is_stopped())
}

const TEXT: &str = "it is blue. naïve 模型 🌳👩‍👩‍👧 grows";

#[test]
fn the_pieces_are_the_text() {
    for tokenizer in [byte_level(), byte_fallback()] {
        let ids = tokenizer.encode(TEXT, false, String::new).unwrap();
        for parted in 0..ids.len() {
            let (behind, tokens) = ids.split_at(parted);
            let (pieces, _) = pieces(&tokenizer, behind, tokens, &["never"]);
            // No character is broken unless the prompt ends within it.
            let begins = tokenizer.decode_all(behind).unwrap();
            if TEXT.starts_with(&begins) {
                assert_eq!(pieces.concat(), TEXT[begins.len()..], "{parted}");
            }
        }
        let (pieces, _) = pieces(&tokenizer, &[], &ids, &[]);
        assert_eq!(pieces.concat(), TEXT);
        assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 20, "{pieces:?}");
    }
}

#[test]
fn any_tokens_are_the_text_that_they_are_at_once() {
    let tokenizer = byte_level();
    let mut rng = Rng::new(0);
    for length in [1, 2, 3, 10, 200].into_iter().cycle().take(200) {
        let tokens: Vec<u32> = (0..length).map(|_| (rng.next_u64() % 1024) as u32).collect();
        let (found, _) = pieces(&tokenizer, &[], &tokens, &[]);
        assert_eq!(found.concat(), tokenizer.decode(&tokens).unwrap());
        // What is held back for a stop comes all the same.
        let (held, stopped) = pieces(&tokenizer, &[], &tokens, &["no such text", "e\u{0}x", "<pad>x"]);
        assert!(!stopped, "{}", found.concat());
        assert_eq!(held.concat(), found.concat());
    }
}

#[test]
fn text_ends_before_a_stop_and_nothing_of_it_is_shown() {
    let tokenizer = byte_level();
    let ids = tokenizer.encode("It is blue.<pad> user again, é again", false, String::new).unwrap();
    for (stops, expected) in [
        (&[][..], "It is blue. user again, é again"),
        (&["<pad>"], "It is blue."),
        (&["blue"], "It is "),
        (&["ue.<pa"], "It is bl"),
        (&["d> us", "again"], "It is blue."),
        (&["é"], "It is blue. user again, "),
        (&["never"], "It is blue. user again, é again"),
        (&["never", "t is"], "I"),
        (&["again?", " again, è"], "It is blue. user again, é again"),
    ] {
        let (found, stopped) = pieces(&tokenizer, &[], &ids, stops);
        assert_eq!(found.concat(), expected, "{stops:?}");
        assert_eq!(stopped, expected.len() < 30, "{stops:?}");
        let mut shown = String::new();
        for piece in found {
            shown += &piece;
            assert!(expected.starts_with(&shown), "{shown:?} was shown too early");
        }
    }
}

#[test]
fn endless_halves_of_characters_and_special_tokens_keep_little() {
    let tokenizer = byte_level();
    let half = tokenizer.encode("é", false, String::new).unwrap()[0];
    assert_eq!(tokenizer.decode(&[half]).unwrap(), "\u{fffd}");
    for (token, text) in [(half, "\u{fffd}"), (0, "")] {
        let mut stream = TextStream::new(&tokenizer, &[], &[]).unwrap();
        let mut found = String::new();
        for _ in 0..1000 {
            found += &stream.push(token).unwrap();
            assert!(stream.text.tokens.len().max(stream.all.tokens.len()) <= 2 * MOST_KEPT);
        }
        assert_eq!(found + &stream.finish().unwrap(), text.repeat(1000));
    }
}
