use super::{super::Message, *};
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
