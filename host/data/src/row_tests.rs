use super::{
    super::{Conversation, Message, Tokens},
    *,
};
use proptest::prelude::*;

fn records(row: &str) -> Vec<Record> {
    Layout::of(row, None, Wanted::Visible).unwrap().read(row).unwrap()
}

fn instruction(instruction: &str, input: &str, outputs: &[&str]) -> Record {
    let outputs = outputs.iter().map(|&output| output.to_owned()).collect();
    let system = String::new();
    Record::Instruction { system, instruction: instruction.to_owned(), input: input.to_owned(), outputs }
}

fn chat(messages: &[(&str, &str)]) -> Record {
    let messages = messages.iter().map(|&(role, content)| Message::new(role, content)).collect();
    Record::Chat(Conversation::new(messages))
}

#[test]
fn shapes_are_found_by_looking() {
    let text = Record::Text("a\né".to_owned());
    let completion = Record::Completion { prefix: "On".to_owned(), completions: vec!["ce".to_owned()] };
    let exchange = chat(&[("system", "s"), ("user", "q"), ("assistant", "a")]);
    for (row, expected) in [
        // C4
        (r#"{"text": "a\n\u00e9", "timestamp": "2019", "url": {"u": [1, null]}}"#, text),
        // Alpaca, also with the rendered text that is published with it
        (r#"{"instruction": "i", "input": "", "output": "o"}"#, instruction("i", "", &["o"])),
        (
            r#"{"text": "Below is", "output": "o", "input": null, "instruction": "i"}"#,
            instruction("i", "", &["o"]),
        ),
        // Dolly
        (
            r#"{"instruction": "i", "context": "c", "response": "o", "category": "qa"}"#,
            instruction("i", "c", &["o"]),
        ),
        // GSM8K
        (r#"{"question": "q", "answer": "a"}"#, instruction("q", "", &["a"])),
        // several answers that would do
        (r#"{"instruction": "i", "output": ["a", "b"]}"#, instruction("i", "", &["a", "b"])),
        // chat, also in parts
        (
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "q"}]}, {"role": "assistant", "content": "a"}], "prompt": "q"}"#,
            exchange.clone(),
        ),
        // ShareGPT
        (
            r#"{"id": "1", "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}"#,
            exchange,
        ),
        (r#"{"prefix": "On", "gold_completion": "ce"}"#, completion.clone()),
        (r#"{"prompt": "On", "completion": "ce"}"#, completion),
        (
            r#"{"input_ids": [5, 6, 0, 0], "attention_mask": [1, 1, 0, 0], "text": "a"}"#,
            Record::Tokens(vec![5, 6].into()),
        ),
        (
            r#"{"input_ids": [5, 6, 0], "attention_mask": [1, 1, 0], "loss_mask": [0, 0.5, 1]}"#,
            Record::Tokens(Tokens { input_ids: vec![5, 6], loss_mask: vec![0.0, 0.5] }),
        ),
    ] {
        assert_eq!(records(row), [expected], "{row}");
    }
}

#[test]
fn instances_of_unnatural_instructions_are_records() {
    let row = r#"{"instruction": "Sort.", "instances": [
        {"instruction_with_input": "Sort: b a", "input": "b a", "constraints": "Use commas.", "output": "a, b"},
        {"input": "d c", "constraints": "None.", "output": "c d"}], "reformulations": []}"#;
    assert_eq!(
        records(row),
        [instruction("Sort.\nUse commas.", "b a", &["a, b"]), instruction("Sort.", "d c", &["c d"])]
    );
}

#[test]
fn fields_name_other_keys() {
    let read = |fields: &str, row: &str| {
        let fields = fields.parse().unwrap();
        Layout::of(row, Some(&fields), Wanted::Visible).and_then(|layout| layout.read(row))
    };
    let row = r#"{"text": "t", "body": "b", "q": "i", "a": "o"}"#;
    assert_eq!(read("text=body", row).unwrap(), [Record::Text("b".to_owned())]);
    assert_eq!(read("instruction=q,output=a", row).unwrap(), [instruction("i", "", &["o"])]);
    for (fields, expected) in [
        ("text=none", "an object with `none`"),
        ("output=a", "an object with `instruction` or `question` and `a`"),
        ("text=body,output=a", "fields of one shape"),
    ] {
        let Err(RowError::Shape { expected: words, found }) = read(fields, row) else { panic!("{fields}") };
        assert!(words.starts_with(expected), "{words}");
        assert_eq!(found, "the keys `text`, `body`, `q`, `a`");
    }
}

/// Messages as templates see them: whole, without nulls, with reasoning by the names that templates read.
#[test]
fn messages_keep_what_stands_in_them() {
    let seen = |row: &str| {
        let records = Layout::of(row, None, Wanted::Visible).unwrap().read(row).unwrap();
        let [Record::Chat(said)] = records.as_slice() else { panic!("{row}") };
        (serde_json::to_string(&said.messages).unwrap(), serde_json::to_string(&said.tools).unwrap())
    };
    for (row, messages, tools) in [
        (
            r#"{"messages": [{"role": "user", "content": "q", "name": "Ann", "weight": null}]}"#,
            r#"[{"role":"user","content":"q","name":"Ann"}]"#,
            "null",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"b": 1, "a": 2}}}]}]}"#,
            r#"[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"b":1,"a":2}}}]}]"#,
            "null",
        ),
        (
            r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"}"#,
            r#"[{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#,
            "null",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "a", "reasoning": "r"}], "tools": "[{\"n\": 1}]"}"#,
            r#"[{"thinking":"r","role":"assistant","content":"a","reasoning":"r","reasoning_content":"r"}]"#,
            r#"[{"n":1}]"#,
        ),
        (
            r#"{"messages": "[{\"role\": \"user\", \"content\": \"q\"}]"}"#,
            r#"[{"role":"user","content":"q"}]"#,
            "null",
        ),
        (
            // As TRL parts a conversation.
            r#"{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}"#,
            r#"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#,
            "null",
        ),
        (
            r#"{"messages": [{"role": "system", "content": "own"}], "system": "s", "tools": []}"#,
            r#"[{"role":"system","content":"own"}]"#,
            "null",
        ),
    ] {
        assert_eq!(seen(row), (messages.to_owned(), tools.to_owned()));
    }
}

#[test]
fn wrong_rows_are_explained() {
    let text = r#"{"text": "a"}"#;
    let task = r#"{"instruction": "a", "output": "b"}"#;
    let unnatural = r#"{"instruction": "a", "instances": []}"#;
    let talk = r#"{"messages": []}"#;
    let window = r#"{"input_ids": [1]}"#;
    for (like, row, words) in [
        (text, r#"{"text": 5}"#, "`text` that is the number 5"),
        (text, r#"{"texts": ""}"#, "no `text` (the keys `texts`)"),
        (text, r#"{"text": " \n"}"#, "`text` that is empty"),
        (text, r#"{"text": null}"#, "`text` that is null"),
        (text, "{}", "no `text` (no keys)"),
        (text, "[1]", "a list"),
        (text, "\"text\"", "a string"),
        (task, r#"{"instruction": "a", "output": ["b", 1]}"#, "with the number 1 in its list"),
        (task, r#"{"instruction": "a", "output": []}"#, "that is an empty list"),
        (task, r#"{"instruction": "", "output": "b"}"#, "`instruction` or `question` that is empty"),
        (
            task,
            r#"{"instruction": "a", "input": 1, "output": "b"}"#,
            "`input` or `context` that is the number 1",
        ),
        (task, r#"{"instruction": "a"}"#, "no `output` or `response` or `answer` (the keys `instruction`)"),
        (unnatural, unnatural, "`instances` that is an empty list"),
        (unnatural, r#"{"instruction": "a", "instances": [1]}"#, "of which one is the number 1"),
        (unnatural, r#"{"instruction": "a", "instances": [{}]}"#, "one has nothing as its `output`"),
        (talk, talk, "that say nothing"),
        (talk, r#"{"messages": [{"role": "user"}]}"#, "with a message that lacks its text"),
        (talk, r#"{"messages": [{"role": "user", "content": null}]}"#, "with a message that lacks its text"),
        (talk, r#"{"messages": [{"content": "a"}]}"#, "with a message without a role"),
        (talk, r#"{"messages": [{"role": 1, "content": "a"}]}"#, "with a role that is not a string"),
        (
            talk,
            r#"{"messages": [{"role": "user", "content": [{"type": "image"}]}]}"#,
            "with content that is not text",
        ),
        (talk, r#"{"messages": ["a"]}"#, "with a string in its list"),
        (
            talk,
            r#"{"messages": [{"role": "user", "content": "a"}], "tools": "[1"}"#,
            "`tools` that is a string, but not of JSON",
        ),
        (
            talk,
            r#"{"messages": [{"role": "user", "content": "a"}], "tools": [1]}"#,
            "`tools` with the number 1 in its list",
        ),
        (talk, r#"{"messages": "a"}"#, "that is a string"),
        (window, r#"{"input_ids": []}"#, "`input_ids` without tokens"),
        (window, r#"{"input_ids": [1], "attention_mask": [0]}"#, "`input_ids` without tokens"),
        (window, r#"{"input_ids": [1], "attention_mask": [1, 1]}"#, "`attention_mask` of 2, but 1 tokens"),
        (
            window,
            r#"{"input_ids": [1], "attention_mask": [2]}"#,
            "`attention_mask` with the number 2 in its list",
        ),
        (window, r#"{"input_ids": [1], "loss_mask": [1, 1]}"#, "`loss_mask` of 2, but 1 tokens"),
        (
            window,
            r#"{"input_ids": [1], "loss_mask": [-0.5]}"#,
            "`loss_mask` with the number -0.5 in its list",
        ),
        (window, r#"{"input_ids": "1"}"#, "`input_ids` that is a string"),
        (window, r#"{"input_ids": [-1]}"#, "`input_ids` with the number -1 in its list"),
        (window, r#"{"input_ids": [4294967296]}"#, "with the number 4294967296 in its list"),
        (window, r#"{"input_ids": [[1]]}"#, "`input_ids` with a list in its list"),
    ] {
        let layout = Layout::of(like, None, Wanted::Visible).unwrap();
        let (RowError::Shape { found, .. } | RowError::Blank { found, .. }) = layout.read(row).unwrap_err()
        else {
            panic!("{row}")
        };
        assert!(found.contains(words), "{row}: {found}");
    }
    let layout = Layout::of(text, None, Wanted::Visible).unwrap();
    let Err(RowError::Json { line, problem }) = layout.read("{\"text\":\n \"a\",}") else {
        panic!("accepted")
    };
    assert_eq!((line, problem.as_str()), (1, "trailing comma (column 6)"));
    assert!(layout.read(r#"{"text": "a"} , more"#).is_ok());
    assert!(matches!(layout.read_line(r#"{"text": "a"} , more"#), Err(RowError::Json { line: 0, .. })));
    let Err(RowError::Shape { expected, found }) = Layout::of(r#"{"query": "a"}"#, None, Wanted::Visible)
    else {
        panic!("accepted")
    };
    assert!(
        expected
            .ends_with("or with `prefix` or `prompt` and `completion` or `gold_completion`; or with `text`")
    );
    assert_eq!(found, "the keys `query`");
}

proptest! {
    #[test]
    fn rows_never_panic(row in "\\{(\"(text|input_ids|messages|instruction|instances|output)\": *([\\[\\]{}0-9a\",:-]{0,12}|\"a\"),?){0,3}\\}?") {
        for like in [r#"{"text": "a"}"#, r#"{"messages": []}"#, r#"{"input_ids": [1]}"#, r#"{"instruction": "a", "instances": []}"#] {
            drop(Layout::of(like, None, Wanted::Visible).unwrap().read_line(&row));
        }
        drop(Layout::of(&row, None, Wanted::Visible));
    }

    #[test]
    fn whatever_is_written_is_read(instruction_text in "\\PC{0,20}x", input in "\\PC{0,20}", output in "\\PC{0,20}") {
        let row = serde_json::json!({"instruction": &instruction_text, "input": &input, "output": &output});
        let expected = instruction(&instruction_text, &input, &[&output]);
        prop_assert_eq!(records(&row.to_string()), [expected]);
    }
}

#[test]
fn rows_as_they_are_are_objects_of_any_fields() {
    let row = r#"{"a": [1, {"b": "é"}], "instruction": "x", "output": "y"}"#;
    let layout = Layout::of(row, None, Wanted::Rows).unwrap();
    let records = layout.read_line(row).unwrap();
    let [Record::Row(read)] = records.as_slice() else { panic!("one row") };
    assert_eq!(serde_json::to_string(read).unwrap(), row.replace(": ", ":").replace(", ", ","));
    let other = r#"{"c": null}"#;
    assert!(matches!(layout.read_line(other).as_deref(), Ok([Record::Row(_)])));
    for wrong in ["[1]", "{\"a\": 1} {\"a\": 2}", "{\"a\": "] {
        assert!(layout.read_line(wrong).is_err(), "{wrong}");
    }
}
