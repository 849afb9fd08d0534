use super::*;
use proptest::prelude::*;
use std::fs;

/// A collection of a file with this name and these bytes; the folder lives as long as it.
fn open(name: &str, bytes: &[u8]) -> Result<(Collection, tempfile::TempDir), CalibrationError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    Ok((Collection::open(&path)?, dir))
}

fn texts(name: &str, content: &str) -> Vec<String> {
    let (collection, _dir) = open(name, content.as_bytes()).unwrap();
    (0..collection.len()).map(|index| collection.text(index).unwrap()).collect()
}

#[test]
fn rows_stand_one_a_line_or_in_a_list() {
    let expected = ["one", "two } ] \" , {", "drei ü"];
    let lines = concat!(
        "\n{\"text\": \"one\"}\r\n   \n{\"id\": [1, {\"a\": \"]\"}], \"text\": \"two } ] \\\" , {\"}\n",
        "{\"text\": \"drei ü\"}"
    );
    let list = concat!(
        "\u{feff} [\n{\"text\":\n \"one\"} ,{\"id\": [1, {\"a\": \"]\"}],\n\"text\": \"two } ] \\\" , {\"}",
        ",\n{\"text\": \"drei ü\"}\n]\n"
    );
    for name in ["a.json", "a.jsonl", "a.NDJSON"] {
        assert_eq!(texts(name, lines), expected);
        assert_eq!(texts(name, list), expected);
    }
}

#[test]
fn plain_text_is_one_document() {
    let (collection, _dir) = open("a.txt", "\u{feff}one\n\ntwo\n".as_bytes()).unwrap();
    assert_eq!((collection.len(), collection.shape()), (1, Shape::Plain));
    assert_eq!(collection.text(0).unwrap(), "one\n\ntwo\n");
    assert!(collection.text(1).is_err());
    assert!(collection.window(0).is_err());
}

#[test]
fn the_hash_is_the_files() {
    // sha256sum of the same bytes.
    let expected = "d0c87fa3d5b4e12b921f70a3abdd2c40f350e2b1df848fb32d0be45aabaaf3b6";
    let row = b"{\"text\": \"one\"}\n";
    let (rows, _dir) = open("a.jsonl", row).unwrap();
    let (text, _other) = open("a.txt", row).unwrap();
    assert_eq!(rows.sha256(), text.sha256());
    assert_eq!(rows.sha256(), expected);
}

#[test]
fn windows_are_taken_as_they_are() {
    let (collection, _dir) =
        open("a.jsonl", b"{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [4], \"attention_mask\": [1]}")
            .unwrap();
    assert!(collection.has_windows());
    assert_eq!(collection.window(0).unwrap(), [1, 2, 3]);
    assert_eq!(collection.window(1).unwrap(), [4]);
    assert!(collection.text(0).is_err());
    assert!(collection.place(1).ends_with("a.jsonl, line 2"));
}

#[test]
fn bad_files_are_refused_by_line() {
    let good = "{\"text\": \"one\"}\n\n";
    for (name, content, words) in [
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", " \n\n", "a.jsonl is empty"),
        ("a.json", "[ ]", "a.json is empty"),
        ("a.txt", " \n", "a.txt is empty"),
        ("a.parquet", "x", ".parquet is not read"),
        ("a.jsonl.gz", "x", ".gz is not read"),
        ("a.jsonl", &format!("{good}{{\"text\": \"\"}}"), "line 3: expected an object with a `text`"),
        (
            "a.jsonl",
            &format!("{good}{{\"text\": 7}}"),
            "line 3: expected an object with a `text` that is a str",
        ),
        ("a.jsonl", &format!("{good}{{\"text\": \"a\""), "line 3: it is not valid JSON: EOF while parsing"),
        (
            "a.jsonl",
            &format!("{good}{{\"text\": \"a\"}} {{}}"),
            "line 3: it is not valid JSON: something follows",
        ),
        ("a.jsonl", &format!("{good}nothing"), "line 3: it is not valid JSON"),
        ("a.jsonl", &format!("{good}[\"a\"]"), "line 3: expected an object, but found a list"),
        ("a.jsonl", "{\"question\": \"a\"}", "line 1: expected an object with `text`, with `instruction`"),
        (
            "a.json",
            "[{\"text\": \"a\"}\n,\n{\"text\": \"a\",}]",
            "line 3: it is not valid JSON: trailing comma",
        ),
        ("a.json", "[{\"text\": \"a\"},\n{\"text\":\n\n nul}]", "line 4: it is not valid JSON"),
        (
            "a.json",
            "[{\"text\": \"a\"},\n]",
            "line 2: it is not valid JSON: a row should begin with `{`, not `]`",
        ),
        (
            "a.json",
            "[{\"text\": \"a\"}\n{\"text\": \"a\"}]",
            "line 2: it is not valid JSON: `,` or `]` should",
        ),
        ("a.json", "[{\"text\": \"a\"}\n", "the list does not end"),
        ("a.json", "[{\"text\": \"a\"", "it is not valid JSON: EOF"),
        ("a.json", "[{\"text\": \"a\"}]\n{}", "line 2: it is not valid JSON: something follows the list"),
        ("a.json", "[\"a\"]", "a row should begin with `{`, not `\\\"`"),
        ("a.json", "{\n \"text\": \"a\"\n}", "line 1: it is not valid JSON: EOF while parsing an object"),
    ] {
        let message = open(name, content.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(words), "{content:?}: {message}");
    }
    for name in ["a.txt", "a.jsonl"] {
        let message = open(name, b"{\"text\": \"a\"}\n{\"text\": \"b\xff\"}").unwrap_err().to_string();
        assert!(message.contains(", line 2: it is not valid UTF-8"), "{message}");
    }
    assert!(matches!(Collection::open(Path::new("/nowhere.jsonl")), Err(CalibrationError::Read { .. })));
}

#[test]
fn a_file_that_changes_is_noticed() {
    let (collection, dir) = open("a.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n").unwrap();
    fs::write(dir.path().join("a.jsonl"), b"{\"text\": \"one\"}\n{\"txet\": \"two\"}\n").unwrap();
    assert!(matches!(collection.text(1), Err(CalibrationError::Changed { .. })));
    fs::write(dir.path().join("a.jsonl"), b"{").unwrap();
    assert!(matches!(collection.text(1), Err(CalibrationError::Read { .. })));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), which in 0..3usize) {
        drop(open(["a.json", "a.jsonl", "a.txt"][which], &bytes));
    }

    #[test]
    fn random_rows_never_panic(content in "[\\[\\]{},:\"\\\\ \nat]{0,60}|\\[\\{\"text\": *[\"a{}\\\\\\]]{0,9}") {
        drop(open("a.json", content.as_bytes()));
    }

    #[test]
    fn lists_and_lines_agree_with_serde(texts in proptest::collection::vec("\\PC{0,20}x", 1..8), pretty: bool) {
        let rows: Vec<_> = texts.iter().map(|text| serde_json::json!({"n": [{}], "text": text})).collect();
        let lines: Vec<_> = rows.iter().map(ToString::to_string).collect();
        let list = if pretty { serde_json::to_string_pretty(&rows) } else { serde_json::to_string(&rows) };
        for content in [lines.join("\n"), list.unwrap()] {
            let (collection, _dir) = open("a.json", content.as_bytes()).unwrap();
            prop_assert_eq!(collection.len(), texts.len());
            for (index, text) in texts.iter().enumerate() {
                prop_assert_eq!(&collection.text(index).unwrap(), text);
            }
        }
    }
}
