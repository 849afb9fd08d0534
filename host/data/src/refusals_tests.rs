use super::super::{Reading, Renderer, Source, TokenizedCollection, Tokenizer, tokenizer::tests::folder};
use super::*;
use std::fmt::Write as _;

/// Conversations of which every one in `every` does not take turns, which the template refuses.
fn conversations(rows: usize, every: usize, strict: bool) -> (TokenizedCollection, tempfile::TempDir) {
    let template =
        "{% if messages[0].role != 'user' %}{{ raise_exception('the user begins') }}{% endif %}a b";
    let dir = folder(Some(serde_json::json!({ "chat_template": template })));
    let path = dir.path().join("rows.jsonl");
    let mut content = String::new();
    for row in 0..rows {
        let role = if row % every == 0 { "assistant" } else { "user" };
        let _ = writeln!(content, "{{\"messages\": [{{\"role\": \"{role}\", \"content\": \"a\"}}]}}");
    }
    std::fs::write(&path, content).unwrap();
    let reading = Reading { strict, ..Reading::default() };
    let collection = Collection::open(&[Source::new(&path)], &reading).unwrap();
    let renderer = Renderer::new(None, dir.path()).unwrap();
    let tokenizer = Tokenizer::open(dir.path(), 6).unwrap();
    (TokenizedCollection::new(collection, renderer, tokenizer), dir)
}

#[test]
fn one_in_a_hundred_may_be_refused() {
    let (collection, _dir) = conversations(300, 100, false);
    for _ in 0..2 {
        assert!(collection.tokens(0).unwrap().is_empty());
        assert_eq!(collection.text(100).unwrap().as_deref(), Some(""));
        assert_eq!(*collection.tokens(1).unwrap(), [3, 4]);
    }
    assert_eq!(collection.refused(0), 2);
    collection.tokens(200).unwrap();

    let (collection, _dir) = conversations(300, 50, false);
    let tries = (0..300).map(|index| collection.tokens(index).map(drop));
    let error = tries.collect::<Result<Vec<_>, _>>().unwrap_err();
    let words = "4 of 300 rows cannot be used, where one in a hundred may be left out; the first:";
    assert!(error.to_string().contains(words), "{error}");
    assert!(
        error.whole().contains("line 1 cannot be put into the template")
            && error.whole().contains("the user begins")
    );
}

#[test]
fn none_may_be_where_reading_is_strict() {
    let (collection, _dir) = conversations(300, 100, true);
    let error = collection.tokens(0).unwrap_err();
    assert!(
        error.whole().contains("line 1") && error.whole().contains("the user begins"),
        "{}",
        error.whole()
    );
    // Nor in a file that is too short to leave one out.
    let (collection, _dir) = conversations(30, 100, false);
    assert!(collection.tokens(0).is_err());
}
