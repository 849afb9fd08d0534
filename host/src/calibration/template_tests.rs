use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    template_name: String,
    template: String,
    bos_token: String,
    eos_token: String,
    messages: Vec<CaseMessage>,
    add_generation_prompt: bool,
    text: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct CaseMessage {
    role: String,
    content: String,
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, BTreeMap::new(), "t.jinja".into()).unwrap()
}

/// What transformers' `apply_chat_template` rendered (`tests/scripts/make_prompts.py`).
#[test]
fn conversations_are_rendered_as_transformers_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/prompts.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 100);
    for case in cases {
        let tokens = [("bos_token", case.bos_token), ("eos_token", case.eos_token)];
        let tokens = tokens.into_iter().map(|(key, token)| (key.to_owned(), token)).collect();
        let chat = ChatTemplate::new(&case.template, tokens, "t.jinja".into()).unwrap();
        let messages: Vec<_> =
            case.messages.into_iter().map(|message| Message::new(message.role, message.content)).collect();
        let rendered = chat.render(&messages, case.add_generation_prompt);
        match (rendered, case.text, case.error) {
            (Ok(rendered), Some(text), None) => assert_eq!(rendered, text, "{}", case.template_name),
            (Err(error), None, Some(words)) => assert!(error.to_string().contains(&words), "{error}"),
            (rendered, text, _) => panic!("{}: {rendered:?} in place of {text:?}", case.template_name),
        }
    }
}

#[test]
fn json_is_written_as_python_writes_it() {
    // json.dumps(value, ensure_ascii=False), and with indent=2
    let render = |source: &str| template(source).render(&[Message::new("user", "<é> & 'x'")], false).unwrap();
    assert_eq!(render("{{ messages|tojson }}"), r#"[{"role": "user", "content": "<é> & 'x'"}]"#);
    assert_eq!(render("{{ [1, {'a': none}]|tojson }}"), r#"[1, {"a": null}]"#);
    assert_eq!(render("{{ {'a': [true]}|tojson(indent=2) }}"), "{\n  \"a\": [\n    true\n  ]\n}");
}

#[test]
fn what_transformers_marks_is_text() {
    let source = "a {%- generation %} {% endgeneration -%} {% generations %} {{ generation }} {%";
    assert_eq!(retag(source), "a {%- if true %} {% endif -%} {% generations %} {{ generation }} {%");
    let rendered = template("a {%- generation %} {{ messages[0].content }}{% endgeneration -%} \n b");
    assert_eq!(rendered.render(&[Message::new("user", "x")], false).unwrap(), "a xb");
}
