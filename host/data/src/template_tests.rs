use super::{
    super::{Message, json::Json, values::conversation},
    *,
};
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

/// Texts that transformers' `apply_chat_template` rendered (`tests/scripts/make_prompts.py`).
#[test]
fn conversations_are_rendered_as_transformers_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/prompts.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 100);
    for case in cases {
        let tokens = [("bos_token", case.bos_token), ("eos_token", case.eos_token)];
        let tokens = tokens.into_iter().map(|(key, token)| (key.to_owned(), token)).collect();
        let chat = ChatTemplate::new(&case.template, tokens, "t.jinja".into()).unwrap();
        let messages =
            case.messages.into_iter().map(|message| Message::new(message.role, message.content)).collect();
        let rendered = chat.render(&Conversation::new(messages), case.add_generation_prompt);
        match (rendered, case.text, case.error) {
            (Ok(rendered), Some(text), None) => assert_eq!(rendered, text, "{}", case.template_name),
            (Err(error), None, Some(words)) => assert!(error.to_string().contains(&words), "{error}"),
            (rendered, text, _) => panic!("{}: {rendered:?} in place of {text:?}", case.template_name),
        }
    }
}

#[derive(Deserialize)]
struct Recorded {
    templates: BTreeMap<String, String>,
    cases: Vec<Rendering>,
}

#[derive(Deserialize)]
struct Rendering {
    template: String,
    said: String,
    add_generation_prompt: bool,
    text: Option<String>,
    error: Option<String>,
}

/// Conversations with tools, calls and reasoning, as rows, in templates with the constructions of published ones
/// (`tests/scripts/make_templates.py`).
#[test]
fn rows_are_rendered_as_transformers_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/templates.json");
    let text = std::fs::read_to_string(path).unwrap();
    let Recorded { templates, cases } = serde_json::from_str(&text).unwrap();
    // Rows keep the order of their keys.
    let all: Json = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 190);
    let mut different = Vec::new();
    for case in cases {
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<pad>")];
        let tokens = tokens.map(|(name, token)| (name.to_owned(), token.to_owned())).into();
        let chat = ChatTemplate::new(&templates[&case.template], tokens, "t.jinja".into()).unwrap();
        let row = all.get("conversations").unwrap().get(&case.said).unwrap().clone();
        let (messages, tools) = (row.get("messages").unwrap().clone(), row.get("tools").unwrap().clone());
        let said = conversation(messages, tools, Json::Null).ok().unwrap();
        let rendered = chat.render(&said, case.add_generation_prompt);
        let same = match (&rendered, &case.text) {
            (Ok(rendered), Some(text)) => rendered == text,
            (Err(_), None) => case.error.is_some(),
            _ => false,
        };
        if !same {
            println!(
                "{} {} {}: {rendered:?} in place of {:?} {:?}",
                case.template, case.said, case.add_generation_prompt, case.text, case.error
            );
            different.push((case.template, case.said, case.add_generation_prompt));
        }
    }
    assert_eq!(different, []);
}
