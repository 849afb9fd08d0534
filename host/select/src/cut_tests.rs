use super::*;
use crate::SelectError;
use espalier_data::{Collection, Reading, Renderer, Source, TokenizedCollection, Tokenizer};
use proptest::prelude::*;
use std::fmt::Write;

const EOS: u32 = 5;

/// Documents of tokens below [`EOS`], each its own number repeated, so that a token tells its document.
fn collection(lengths: &[usize]) -> (TokenizedCollection, tempfile::TempDir) {
    let mut rows = String::new();
    for (document, &length) in lengths.iter().enumerate() {
        let tokens = vec![document as u32 % EOS; length];
        let _ = writeln!(rows, "{{\"input_ids\": {tokens:?}}}");
    }
    of_rows(&rows)
}

fn of_rows(rows: &str) -> (TokenizedCollection, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, rows).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Rows are tokens already; this says only how many tokens there are.
    let model = r#"{"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}, "unk_token": "a"}"#;
    std::fs::write(folder.path().join("tokenizer.json"), format!("{{\"model\": {model}}}")).unwrap();
    let collection = Collection::open(&[Source::new(&path)], &Reading::default()).unwrap();
    let renderer = Renderer::new(None, folder.path()).unwrap();
    let tokenizer = Tokenizer::open(folder.path(), 6).unwrap();
    // The rows are read again when they are asked for.
    (TokenizedCollection::new(collection, renderer, tokenizer), dir)
}

fn cut(seqlen: usize, budget: Budget, eos: Option<u32>) -> Cut {
    Cut { seqlen, budget, seed: 7, loss_mask: LossMask::All, eos, vocab_size: 6, own: WindowMode::Pack }
}

/// Every window's tokens are what its pieces say.
fn check_pieces(windows: &[Window], lengths: &[usize], eos: Option<u32>) {
    for window in windows {
        let mut at = 0;
        for piece in &window.pieces {
            let length = lengths[piece.document];
            for (place, &token) in (piece.offset..).zip(&window.input_ids[at..at + piece.length]) {
                let expected = if place < length { piece.document as u32 % EOS } else { eos.unwrap() };
                assert!(place <= length && token == expected, "{window:?}");
            }
            at += piece.length;
        }
        assert_eq!(at, window.input_ids.len(), "{window:?}");
    }
}

#[test]
fn weights_of_tokens_follow_them_into_windows() {
    let rows = "{\"input_ids\": [0, 1, 2], \"loss_mask\": [0, 1, 0.5]}\n{\"input_ids\": [3, 4]}\n";
    let (collection, _dir) = of_rows(rows);
    let windows = |mode, from| {
        let offered = Offered::new(&collection, Some(mode), 3).unwrap();
        let mut cutter = Cutter::new(&offered, cut(3, Budget::Samples(2), Some(EOS)));
        for document in 0..2 {
            let _ = if from == 0 {
                cutter.offer(document, None, usize::MAX)
            } else {
                cutter.offer_at(document, from, None, usize::MAX)
            };
        }
        let windows = cutter.finish().unwrap().into_iter();
        windows.map(|window| (window.input_ids, window.loss_mask)).collect::<Vec<_>>()
    };
    let weighted = (vec![0, 1, 2], vec![0.0, 1.0, 0.5]);
    assert_eq!(windows(WindowMode::Single, 0), [weighted.clone(), (vec![3, 4], vec![])]);
    assert_eq!(windows(WindowMode::Single, 1), [(vec![1, 2], vec![1.0, 0.5]), (vec![4], vec![])]);
    // The end-of-text token counts as the document that it ends.
    assert_eq!(windows(WindowMode::Pack, 0), [weighted, (vec![EOS, 3, 4], vec![0.5, 1.0, 1.0])]);
}

#[test]
fn a_selector_may_say_where_a_window_begins() {
    let lengths = [9, 4, 12];
    let (collection, _rows) = collection(&lengths);
    for (mode, pieces) in [
        (WindowMode::Crop, vec![(2, 3, 6)]),
        (WindowMode::Single, vec![(2, 3, 6)]),
        (WindowMode::Pack, vec![(2, 3, 6)]),
    ] {
        let offered = Offered::new(&collection, Some(mode), 6).unwrap();
        let mut cutter = Cutter::new(&offered, cut(6, Budget::Samples(1), None));
        assert_eq!(cutter.offer_at(2, 3, None, 1).unwrap(), 1);
        let windows = cutter.finish().unwrap();
        let found: Vec<_> = windows
            .iter()
            .flat_map(|window| &window.pieces)
            .map(|piece| (piece.document, piece.offset, piece.length))
            .collect();
        assert_eq!(found, pieces);
        check_pieces(&windows, &lengths, None);
        let mut cutter = Cutter::new(&offered, cut(6, Budget::Samples(1), None));
        let error = cutter.offer_at(2, 12, None, 1).unwrap_err();
        assert!(error.to_string().contains("too few follow"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn windows_are_never_longer_than_they_may_be_and_every_token_has_its_piece(
        lengths in prop::collection::vec(1usize..40, 1..12),
        seqlen in 1usize..30,
        mode in prop::sample::select(vec![WindowMode::Crop, WindowMode::Pack, WindowMode::Single]),
        budget in prop_oneof![(1usize..20).prop_map(Budget::Samples), (1usize..200).prop_map(Budget::Tokens)],
        eos in prop::option::of(Just(EOS)),
    ) {
        let (collection, _dir) = collection(&lengths);
        let offered = Offered::new(&collection, Some(mode), seqlen).unwrap();
        let mut cutter = Cutter::new(&offered, cut(seqlen, budget, eos));
        for document in 0..lengths.len() {
            cutter.offer(document, Some(1.0), usize::MAX).unwrap();
        }
        let enough = !cutter.wanted();
        let packing = std::mem::take(&mut cutter.packing);
        let windows = cutter.finish().unwrap();
        let tokens: usize = windows.iter().map(|window| window.input_ids.len()).sum();
        let longest = windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0);
        prop_assert!(longest <= seqlen && windows.iter().all(|window| !window.input_ids.is_empty()));
        prop_assert!(windows.iter().all(|window| window.score == Some(1.0)));
        check_pieces(&windows, &lengths, eos);
        match budget {
            Budget::Samples(samples) => prop_assert!(windows.len() <= samples && (windows.len() == samples) == enough),
            Budget::Tokens(budget) => prop_assert!(tokens <= budget && (tokens == budget) == enough),
        }
        let joints = usize::from(eos.is_some());
        match mode {
            WindowMode::Crop => prop_assert!(enough || windows.len() == lengths.iter().filter(|&&l| l >= seqlen).count()),
            WindowMode::Single => prop_assert!(enough || tokens == lengths.iter().map(|&l| l.min(seqlen)).sum::<usize>()),
            // Nothing is lost between windows: what was offered is in them or in the one that is not full.
            WindowMode::Pack if !enough => {
                let all: usize = lengths.iter().map(|length| length + joints).sum();
                prop_assert_eq!(tokens + packing.input_ids.len(), all);
                prop_assert!(windows.iter().all(|window| window.input_ids.len() == seqlen));
            }
            WindowMode::Pack => {}
        }
    }
}

#[test]
fn packed_documents_are_joined_with_the_end_of_text() {
    let lengths = [2, 3, 1, 4];
    let (collection, _dir) = collection(&lengths);
    let offered = Offered::new(&collection, Some(WindowMode::Pack), 5).unwrap();
    let mut cutter = Cutter::new(&offered, cut(5, Budget::Samples(2), Some(EOS)));
    let gave: Vec<_> = (0..4).map(|document| cutter.offer(document, None, usize::MAX).unwrap()).collect();
    assert_eq!(gave, [0, 1, 0, 1]);
    // Once packed, a document gives nothing more; and nothing is wanted any more.
    assert_eq!(cutter.offer(0, None, usize::MAX), Ok(0));
    let windows = cutter.finish().unwrap();
    assert_eq!(windows[0].input_ids, [0, 0, EOS, 1, 1]);
    assert_eq!(windows[1].input_ids, [1, EOS, 2, EOS, 3]);
    assert_eq!(windows[1].pieces[0], Piece { source: 0, document: 1, offset: 2, length: 2 });
}

#[test]
fn a_part_is_limited_and_packed_apart() {
    let (collection, _dir) = collection(&[7, 7, 7]);
    let offered = Offered::new(&collection, Some(WindowMode::Pack), 3).unwrap();
    let mut cutter = Cutter::new(&offered, cut(3, Budget::Samples(9), None));
    let mut windows = espalier_sdk::Windows::new(&mut cutter);
    assert_eq!(windows.part(1).offer(0, None), Ok(1));
    let mut part = windows.part(3);
    assert_eq!((part.offer(1, None), part.offer(2, None), part.wanted()), (Ok(2), Ok(1), false));
    let windows = cutter.finish().unwrap();
    assert_eq!(windows[1].input_ids, [1, 1, 1]);
    // The seventh token of document 1 continues into the next window.
    assert_eq!(windows[3].input_ids, [1, 2, 2]);
}

#[test]
fn crops_begin_everywhere_alike() {
    let (collection, _dir) = collection(&[10]);
    let offered = Offered::new(&collection, Some(WindowMode::Crop), 4).unwrap();
    let mut cutter = Cutter::new(&offered, cut(4, Budget::Samples(7000), None));
    while cutter.wanted() {
        cutter.offer(0, None, usize::MAX).unwrap();
    }
    let mut counts = [0u32; 7];
    cutter.finish().unwrap().iter().for_each(|window| counts[window.pieces[0].offset] += 1);
    // Chi-squared with 6 degrees of freedom: 22.46 is passed once in a thousand seeds.
    let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi < 22.46, "{counts:?} gives {chi}");
}

#[test]
fn a_selectors_own_text_is_checked_and_packed() {
    let (collection, _dir) = collection(&[1]);
    let offered = Offered::new(&collection, None, 4).unwrap();
    let mut cutter = Cutter::new(&offered, cut(4, Budget::Samples(1), Some(EOS)));
    assert_eq!(cutter.offer_tokens(&[1, 2], Some(2.0), usize::MAX), Ok(0));
    assert_eq!(cutter.offer_tokens(&[3, 4], Some(4.0), usize::MAX), Ok(1));
    let expected =
        Window { input_ids: vec![1, 2, EOS, 3], loss_mask: Vec::new(), pieces: Vec::new(), score: Some(3.0) };
    assert_eq!(cutter.finish().unwrap(), [expected]);

    let mut cutter = Cutter::new(&offered, cut(4, Budget::Samples(1), None));
    assert!(cutter.offer_tokens(&[6], None, usize::MAX).unwrap_err().message.contains("the token 6"));
    // What a selector was told of is not lost if it keeps it to itself.
    assert!(!cutter.wanted() && cutter.finish().unwrap_err().message.contains("the token 6"));
}

#[test]
fn what_is_missing_is_said() {
    let (collection, _dir) = collection(&[3, 2]);
    for (mode, words) in [
        (
            WindowMode::Crop,
            "2 of 2 documents are shorter than a window of 4 tokens (--windows pack would join",
        ),
        (WindowMode::Pack, "what it packed are 5 tokens, and a window of 4 each takes 12"),
        (WindowMode::Single, "there are 2 documents"),
    ] {
        let offered = Offered::new(&collection, Some(mode), 4).unwrap();
        let mut cutter = Cutter::new(&offered, cut(4, Budget::Samples(3), None));
        (0..2).for_each(|document| {
            cutter.offer(document, None, usize::MAX).unwrap();
        });
        let Some(error @ SelectError::TooFew { .. }) = cutter.shortage("random", Some(mode)) else {
            panic!("{mode}: nothing is missing")
        };
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_prompt_of_an_answer_does_not_count_where_answers_alone_do() {
    let (collection, _dir) = collection(&[1, 1]);
    let offered = Offered::new(&collection, None, 4).unwrap();
    let windows = |own, loss_mask| {
        let cut = Cut { own, loss_mask, ..cut(4, Budget::Samples(2), Some(EOS)) };
        let mut cutter = Cutter::new(&offered, cut);
        let gave = [(1, [0, 1, 2]), (0, [3, 3, 3])].map(|(document, prompt)| {
            cutter.offer_answer(document, &prompt, &[4], Some(1.0), usize::MAX).unwrap()
        });
        (gave, cutter.finish().unwrap())
    };
    let piece = |document, offset, length| Piece { source: 0, document, offset, length };
    let (gave, single) = windows(WindowMode::Single, LossMask::Answers);
    assert_eq!((gave, single[0].input_ids.as_slice()), ([1, 1], &[0, 1, 2, 4][..]));
    assert_eq!((single[1].loss_mask.as_slice(), single[1].pieces.len()), (&[0.0, 0.0, 0.0, 1.0][..], 1));
    // The pieces say what came of the documents: the prompts.
    assert_eq!([single[0].pieces[0], single[1].pieces[0]], [piece(1, 0, 3), piece(0, 0, 3)]);
    let (gave, packed) = windows(WindowMode::Pack, LossMask::Answers);
    assert_eq!((gave, packed[1].input_ids.as_slice()), ([1, 1], &[EOS, 3, 3, 3][..]));
    assert_eq!(
        (packed[1].loss_mask.as_slice(), packed[1].pieces.as_slice()),
        (&[1.0, 0.0, 0.0, 0.0][..], &[piece(0, 0, 3)][..])
    );
    assert!(windows(WindowMode::Single, LossMask::All).1.iter().all(|window| window.loss_mask.is_empty()));
    let mut cutter = Cutter::new(&offered, cut(4, Budget::Samples(2), None));
    assert!(cutter.offer_answer(7, &[1], &[2], None, 1).unwrap_err().message.contains("offered document 7"));
    let mut cutter = Cutter::new(&offered, cut(4, Budget::Samples(2), None));
    assert!(cutter.offer_answer(0, &[1], &[], None, 1).unwrap_err().message.contains("without a token"));
}
