use super::*;
use proptest::prelude::*;
use std::{fs, path::Path};

/// A collection of a file with this name and these bytes; the folder lives as long as it.
fn open(name: &str, bytes: &[u8]) -> Result<(Collection, tempfile::TempDir), CalibrationError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    Ok((read(&path, &Reading::default())?, dir))
}

fn read(path: &Path, reading: &Reading) -> Result<Collection, CalibrationError> {
    Collection::open(&[Source::new(path)], reading)
}

fn text(collection: &Collection, index: usize) -> String {
    match collection.record(index).unwrap() {
        Record::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn texts(name: &str, content: &str) -> Vec<String> {
    let (collection, _dir) = open(name, content.as_bytes()).unwrap();
    (0..collection.len()).map(|index| text(&collection, index)).collect()
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
    assert_eq!((collection.len(), collection.sources()[0].shape), (1, Shape::Plain));
    assert_eq!(text(&collection, 0), "one\n\ntwo\n");
    assert!(matches!(collection.record(1), Err(CalibrationError::NoRecord { index: 1, records: 1 })));
    assert!(collection.place(0).ends_with("a.txt"));
}

#[test]
fn the_hash_is_the_files() {
    // sha256sum of the same bytes.
    let expected = "d0c87fa3d5b4e12b921f70a3abdd2c40f350e2b1df848fb32d0be45aabaaf3b6";
    let row = b"{\"text\": \"one\"}\n";
    let (rows, _dir) = open("a.jsonl", row).unwrap();
    let (text, _other) = open("a.txt", row).unwrap();
    assert_eq!(rows.sources()[0].sha256, text.sources()[0].sha256);
    assert_eq!(rows.sources()[0].sha256, expected);
}

#[test]
fn windows_are_taken_as_they_are() {
    let (collection, _dir) =
        open("a.jsonl", b"{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [4], \"attention_mask\": [1]}")
            .unwrap();
    assert!(collection.has_windows());
    assert_eq!(collection.record(0).unwrap(), Record::Tokens(vec![1, 2, 3].into()));
    assert_eq!(collection.record(1).unwrap(), Record::Tokens(vec![4].into()));
    assert!(collection.place(1).ends_with("a.jsonl, line 2"));
}

#[test]
fn bad_files_are_refused_by_line() {
    let good = "{\"text\": \"one\"}\n\n";
    for (name, content, words) in [
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", " \n\n", "a.jsonl is empty"),
        (
            "a.jsonl",
            "\n{\"text\": \"\"}",
            "line 2: expected an object with `text`, a string, but found `text` that is empty",
        ),
        ("a.json", "[ ]", "a.json is empty"),
        ("a.txt", " \n", "a.txt is empty"),
        ("a.parquet", "x", "a.parquet cannot be unpacked"),
        ("a.jsonl.gz", "x", "a.jsonl.gz cannot be unpacked"),
        ("a.jsonl.zst", "x", "a.jsonl.zst cannot be unpacked"),
        ("a.csv", "x", ".csv is not read"),
        (
            "a.jsonl",
            &format!("{good}{{\"text\": 7}}"),
            "line 3: expected an object with `text`, a string, but found `text` that is the number 7",
        ),
        ("a.jsonl", &format!("{good}{{\"text\": \"a\""), "line 3: it is not valid JSON: EOF while parsing"),
        (
            "a.jsonl",
            &format!("{good}{{\"text\": \"a\"}} {{}}"),
            "line 3: it is not valid JSON: something follows",
        ),
        ("a.jsonl", &format!("{good}nothing"), "line 3: it is not valid JSON"),
        ("a.jsonl", &format!("{good}[\"a\"]"), "line 3: expected an object, but found a list"),
        (
            "a.jsonl",
            "{\"question\": \"a\"}",
            "line 1: expected an object with `input_ids`; or with `messages` or",
        ),
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
        ("a.json", "[{\"text\": \"a\"", "it is not valid JSON: the list does not end"),
        ("a.json", "[{\"text\": \"a\"}]\n{}", "line 2: it is not valid JSON: something follows the list"),
        ("a.json", "[\"a\"]", "a row should begin with `{`, not `\\\"`"),
        (
            "a.json",
            "{\n \"text\": \"a\"\n}",
            "3 of 3 rows cannot be used, where one in a hundred may be left out; the first:",
        ),
    ] {
        let message = open(name, content.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(words), "{content:?}: {message}");
    }
    for name in ["a.txt", "a.jsonl"] {
        let message = open(name, b"{\"text\": \"a\"}\n{\"text\": \"b\xff\"}").unwrap_err().to_string();
        assert!(message.contains(", line 2: it is not valid UTF-8"), "{message}");
    }
    assert!(matches!(
        read(Path::new("/nowhere.jsonl"), &Reading::default()),
        Err(CalibrationError::Read { .. })
    ));
}

#[test]
fn a_bad_row_in_a_hundred_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let rows: Vec<_> = (0..200).map(|n| format!("{{\"text\": \"row {n}\"}}")).collect();
    let mut content = rows.join("\n").into_bytes();
    content.extend_from_slice(
        b"\n{\"text\": \"b\xff\"}\n{\"text\": \"\"}\n{\"text\": 1}\n{\"text\": \"last\"}\n{\"te",
    );
    fs::write(&path, &content).unwrap();
    let message = read(&path, &Reading::default()).unwrap_err().to_string();
    assert!(message.contains("3 of 205 rows cannot be used"), "{message}");
    assert!(message.contains("line 201: it is not valid UTF-8"), "{message}");

    content.truncate(content.len() - 5);
    fs::write(&path, &content).unwrap();
    let collection = read(&path, &Reading::default()).unwrap();
    assert_eq!(collection.len(), 201);
    assert_eq!(collection.sources()[0].skipped, Skipped { bad: 2, blank: 1, excluded: 0 });
    assert_eq!((text(&collection, 199), text(&collection, 200)), ("row 199".to_owned(), "last".to_owned()));
    assert!(collection.place(200).ends_with("a.jsonl, line 204"));

    let strict = Reading { strict: true, ..Reading::default() };
    assert!(matches!(read(&path, &strict), Err(CalibrationError::Utf8 { line: 201, .. })));
    fs::write(&path, "{\"text\": \"a\"}\n{\"text\": \" \"}\n").unwrap();
    assert!(matches!(read(&path, &strict), Err(CalibrationError::Blank { line: 2, .. })));
}

#[test]
fn a_file_of_something_else_is_given_up_early() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    fs::write(&path, "{\"body\": \"a\"}\n".repeat(1000)).unwrap();
    let message = read(&path, &Reading::default()).unwrap_err().to_string();
    assert!(message.contains("100 of 100 rows cannot be used"), "{message}");
    let fields = Reading { fields: Some("text=body".parse().unwrap()), ..Reading::default() };
    assert_eq!(read(&path, &fields).unwrap().len(), 1000);
}

#[test]
fn empty_rows_are_left_out_whatever_their_number() {
    let (collection, _dir) =
        open("a.jsonl", b"{\"text\": \"\"}\n{\"text\": \"a\"}\n{\"text\": \"\"}").unwrap();
    assert_eq!((collection.len(), collection.sources()[0].skipped.blank), (1, 2));
}

#[test]
fn several_sources_are_numbered_through() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("c4/b")).unwrap();
    for (name, content) in [
        ("c4/b/1.jsonl", "{\"text\": \"three\"}\n{\"text\": \"four\"}\n"),
        ("c4/a.txt", "one two"),
        ("c4/README.md", "# no data"),
        ("c4/.hidden.txt", "no data"),
        ("tasks.json", "[{\"question\": \"q\", \"answer\": \"a\"}]"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let tasks: Source = format!("{}:0.25", dir.path().join("tasks.json").display()).parse().unwrap();
    let sources = [tasks, Source::new(dir.path().join("c4"))];
    let collection = Collection::open(&sources, &Reading::default()).unwrap();
    let task = Record::Instruction {
        system: String::new(),
        instruction: "q".to_owned(),
        input: String::new(),
        outputs: vec!["a".to_owned()],
    };
    assert_eq!(collection.record(0).unwrap(), task);
    let texts: Vec<_> = (1..collection.len()).map(|index| text(&collection, index)).collect();
    assert_eq!(texts, ["one two", "three", "four"]);
    let [tasks, folder] = collection.sources() else { panic!("{:?}", collection.sources()) };
    assert_eq!((tasks.weight, tasks.documents.clone(), tasks.shape), (Some(0.25), 0..1, Shape::Instruction));
    assert_eq!((folder.weight, folder.documents.clone()), (None, 1..4));
    // (cd c4 && sha256sum a.txt b/1.jsonl | sha256sum)
    assert_eq!(folder.sha256, "24c8b3a50cf35a71f1ab4b19e755ac9254861aada2f7414a5e34d51324ce0767");
    assert_eq!((0..4).map(|index| collection.source_of(index)).collect::<Vec<_>>(), [0, 1, 1, 1]);
    assert!(collection.place(3).ends_with("1.jsonl, line 2"));

    fs::write(dir.path().join("c4/c.json"), "[{\"question\": \"q\", \"answer\": \"a\"}]").unwrap();
    let message = read(&dir.path().join("c4"), &Reading::default()).unwrap_err().to_string();
    assert!(message.contains("a.txt") && message.contains("c.json"), "{message}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(read(empty.path(), &Reading::default()), Err(CalibrationError::NoFiles { .. })));
    assert!(matches!(Collection::open(&[], &Reading::default()), Err(CalibrationError::NoSources)));
}

#[test]
fn a_row_of_instances_is_several_records() {
    let row = |name: &str| {
        format!(
            "{{\"instruction\": \"{name}\", \"instances\": [{{\"input\": \"1\", \"output\": \"a\"}}, \
             {{\"input\": \"2\", \"output\": \"b\"}}]}}\n"
        )
    };
    let (collection, _dir) = open("a.jsonl", (row("x") + &row("y")).as_bytes()).unwrap();
    assert_eq!(collection.len(), 4);
    for (index, (instruction, input, output)) in
        [("x", "1", "a"), ("x", "2", "b"), ("y", "1", "a"), ("y", "2", "b")].into_iter().enumerate()
    {
        let expected = Record::Instruction {
            system: String::new(),
            instruction: instruction.to_owned(),
            input: input.to_owned(),
            outputs: vec![output.to_owned()],
        };
        assert_eq!(collection.record(index).unwrap(), expected);
    }
    assert!(collection.place(3).ends_with("line 2"));
}

#[test]
fn rows_that_an_evaluation_holds_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let words = "one two three four five six seven eight nine ten eleven twelve thirteen";
    let evaluation = write("eval.jsonl", &format!("{{\"question\": \"{words}\", \"answer\": \"14\"}}\n"));
    let content = format!("{{\"text\": \"Zero, {words}.\"}}\n{{\"text\": \"one two three\"}}\n");
    let calibration = write("a.jsonl", &content);
    let reading = Reading { exclude: vec![evaluation], ..Reading::default() };
    let collection = read(&calibration, &reading).unwrap();
    assert_eq!((collection.len(), text(&collection, 0)), (1, "one two three".to_owned()));
    assert_eq!(collection.sources()[0].skipped.excluded, 1);
    assert!(collection.place(0).ends_with("line 2"));

    let all = write("b.txt", words);
    assert!(matches!(read(&all, &reading), Err(CalibrationError::AllExcluded { .. })));
    let tokens = write("t.jsonl", "{\"input_ids\": [1]}");
    let reading = Reading { exclude: vec![tokens], ..Reading::default() };
    assert!(matches!(read(&calibration, &reading), Err(CalibrationError::NoText { .. })));
}

#[test]
fn a_file_that_changes_is_noticed() {
    let (collection, dir) = open("a.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n").unwrap();
    fs::write(dir.path().join("a.jsonl"), b"{\"text\": \"one\"}\n{\"txet\": \"two\"}\n").unwrap();
    assert!(matches!(collection.record(1), Err(CalibrationError::Changed { .. })));
    fs::write(dir.path().join("a.jsonl"), b"{").unwrap();
    assert!(matches!(collection.record(1), Err(CalibrationError::Read { .. })));
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
                prop_assert_eq!(collection.record(index).unwrap(), Record::Text(text.clone()));
            }
        }
    }
}

/// A folder as the hub has it: descriptions of data stand beside the data.
#[test]
fn what_describes_data_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/train.jsonl"), "{\"text\": \"one\"}\n").unwrap();
    fs::write(dir.path().join("dataset_infos.json"), "{\n \"default\": {\"splits\": {}}\n}\n").unwrap();
    fs::write(dir.path().join("state.json"), "{\"_data_files\": []}").unwrap();
    let collection = read(dir.path(), &Reading::default()).unwrap();
    assert_eq!(collection.len(), 1);
    // A damaged file is not passed over.
    fs::write(dir.path().join("data/more.json"), "{\"text\": \"on").unwrap();
    assert!(read(dir.path(), &Reading::default()).is_err());
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    let error = read(dir.path(), &Reading::default()).unwrap_err();
    assert!(matches!(error, CalibrationError::NoFiles { .. }), "{error}");
}
