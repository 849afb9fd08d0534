use super::{
    super::{Reading, Source, tokenizer},
    *,
};
use std::fs;

fn file(name: &str, content: &str) -> (std::path::PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (path, dir)
}

#[test]
fn ready_windows_are_checked() {
    let (path, _dir) = file("a.jsonl", "{\"input_ids\": [1, 2]}\n{\"input_ids\": [3, 4, 5]}\n");
    let collection = Collection::open(&[Source::new(path)], &Reading::default()).unwrap();
    let windows = ready_windows(&collection, None, 3, 6).unwrap();
    assert_eq!(windows[1].input_ids, [3, 4, 5]);
    assert_eq!(ready_windows(&collection, Some(1), 2, 3).unwrap().len(), 1);
    for (samples, limit, vocab, words) in [
        (Some(3), 3, 6, "has 2 windows, but --samples asks for 3"),
        (None, 2, 6, "line 2 has 3 tokens, but 2 is the most"),
        (None, 3, 5, "line 2 has the token 5, but the model's vocabulary ends at 4"),
    ] {
        let message = ready_windows(&collection, samples, limit, vocab).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn evaluation_text_is_cut_into_windows() {
    let folder = tokenizer::tests::folder(None);
    let windows = |name: &str, content: &str, seqlen: usize| {
        let (path, _dir) = file(name, content);
        let renderer = Renderer::new(None, folder.path()).unwrap();
        let collection = Collection::open_for_evaluation(&[Source::new(path)], &Reading::default())?;
        evaluation_windows(&collection, &renderer, || Tokenizer::open(folder.path(), 6), seqlen, 6)
    };
    // One token begins the text, not every window; the tail is dropped.
    assert_eq!(windows("a.txt", "a b c a b c a", 3).unwrap(), [vec![1, 3, 4], vec![5, 3, 4]]);
    assert_eq!(windows("a.raw", "a b", 9).unwrap(), [[1, 3, 4]]);
    let rows = "{\"text\": \"a b\"}\n{\"text\": \"c\"}";
    assert_eq!(windows("a.jsonl", rows, 2).unwrap(), [[1, 3], [4, 5]]);
    // Empty rows are part of the text that is joined, as in WikiText-2: two more line ends here.
    let by_byte = |content: &str| windows("a.jsonl", content, 99).unwrap();
    let rows = "{\"text\": \"\"}\n{\"text\": \"a\"}\n{\"text\": \"\"}\n{\"text\": \"b\"}";
    assert_eq!(by_byte(rows), windows("a.txt", "\n\na\n\n\n\nb", 99).unwrap());
    let row = "{\"instruction\": \"a\", \"output\": \"b\"}";
    assert_eq!(windows("a.jsonl", &format!("{row}\n{row}"), 4).unwrap(), [[1, 0, 0, 0], [1, 0, 0, 0]]);
    assert_eq!(windows("a.jsonl", "{\"input_ids\": [4, 3]}\n{\"input_ids\": [1]}", 4).unwrap(), [[4, 3]]);
    let message = windows("a.jsonl", "{\"input_ids\": [4]}", 4).unwrap_err().to_string();
    assert!(message.contains("has 1 tokens; at least 2 are needed"), "{message}");
}
