use super::{super::json::Json, *};
use std::fs;

fn instruction(input: &str) -> Record {
    Record::Instruction {
        system: String::new(),
        instruction: "Add.".to_owned(),
        input: input.to_owned(),
        outputs: vec!["3".to_owned(), "three".to_owned()],
    }
}

fn chat(messages: &[(&str, &str)]) -> Record {
    let messages = messages.iter().map(|&(role, content)| Message::new(role, content)).collect();
    Record::Chat(Conversation::new(messages))
}

/// A folder with a chat template.
fn model(template: serde_json::Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config =
        serde_json::json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": template});
    fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    dir
}

const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content.strip() }}{{ eos_token }}\n\
    {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

fn render(prompt: Option<Prompt>, folder: &Path, record: &Record) -> Result<Rendered, CalibrationError> {
    Renderer::new(prompt, folder)?.render(record, || "a.json, line 1".to_owned())
}

/// The shape of the `text` column of tatsu-lab/alpaca, and the templates of Alpaca's `train.py`.
#[test]
fn alpacas_templates_are_the_published_ones() {
    let none = Path::new("nowhere");
    for (input, prompt) in [
        (
            "",
            "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Response:",
        ),
        (
            "1 2",
            "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:",
        ),
    ] {
        assert_eq!(alpaca_prompt("Add.", input), prompt);
        let rendered = render(None, none, &instruction(input)).unwrap();
        assert_eq!(rendered, Rendered::new(format!("{prompt}\n"), "3"));
        assert_eq!(rendered.whole(), format!("{prompt}\n3"));
    }
    let exchange = chat(&[("user", "Add."), ("assistant", "3")]);
    let rendered = render(Some(Prompt::Alpaca), none, &exchange).unwrap();
    assert_eq!(rendered, render(None, none, &instruction("")).unwrap());
    let longer = chat(&[("system", "Be good."), ("user", "Add."), ("assistant", "3")]);
    let message = render(Some(Prompt::Alpaca), none, &longer).unwrap_err().to_string();
    assert!(message.contains("a.json, line 1 is a conversation"), "{message}");
}

/// Properties of every prompt come first.
#[test]
fn the_system_of_an_instruction_is_kept() {
    let Record::Instruction { instruction, input, outputs, .. } = instruction("1 2") else { panic!() };
    let record = Record::Instruction { system: "Be kind.".to_owned(), instruction, input, outputs };
    let dir = model(TEMPLATE.into());
    for (prompt, begin) in [
        (Some(Prompt::Raw), "Be kind.\nAdd.\n1 2\n3"),
        (Some(Prompt::Chat), "<s>system: Be kind.</s>\nuser: Add.\n\n1 2</s>\n"),
    ] {
        let text = render(prompt, dir.path(), &record).unwrap().whole();
        assert!(text.starts_with(begin), "{text}");
    }
    let text = render(None, dir.path(), &record).unwrap().whole();
    assert!(text.contains("### Instruction:\nBe kind.\n\nAdd.\n\n### Input:\n1 2"), "{text}");
}

#[test]
fn raw_parts_stand_one_a_line() {
    let raw = |record: &Record| {
        let rendered = render(Some(Prompt::Raw), Path::new("nowhere"), record).unwrap();
        assert!(rendered.special);
        (rendered.prompt, rendered.answer)
    };
    let pair = |prompt: &str, answer: &str| (prompt.to_owned(), answer.to_owned());
    assert_eq!(raw(&instruction("")), pair("Add.\n", "3"));
    assert_eq!(raw(&instruction("1 2")), pair("Add.\n1 2\n", "3"));
    assert_eq!(raw(&chat(&[("user", "a"), ("assistant", "b"), ("user", "c")])), pair("a\nb\nc\n", ""));
    assert_eq!(raw(&chat(&[("user", "a"), ("assistant", "b")])), pair("a\n", "b"));
    let completion = Record::Completion { prefix: "On".to_owned(), completions: vec!["ce".to_owned()] };
    assert_eq!(raw(&completion), pair("On", "ce"));
    assert_eq!(raw(&Record::Text("a".to_owned())), pair("a", ""));
}

#[test]
fn chat_templates_part_before_the_answer() {
    let dir = model(TEMPLATE.into());
    let said = chat(&[("user", "Hi "), ("assistant", "Yo")]);
    let expected = Rendered {
        prompt: "<s>user: Hi</s>\nassistant: ".to_owned(),
        answer: "Yo</s>\n".to_owned(),
        special: false,
        rewritten: false,
    };
    assert_eq!(render(None, dir.path(), &said).unwrap(), expected);
    let unanswered = render(None, dir.path(), &chat(&[("user", "Hi")])).unwrap();
    assert_eq!((unanswered.prompt.as_str(), unanswered.answer.as_str()), ("<s>user: Hi</s>\n", ""));
    let given = render(Some(Prompt::Chat), dir.path(), &instruction("1 2")).unwrap();
    assert_eq!(given.whole(), "<s>user: Add.\n\n1 2</s>\nassistant: 3</s>\n");
    // Running text has no speaker.
    let text = render(Some(Prompt::Chat), dir.path(), &Record::Text("a".to_owned())).unwrap();
    assert_eq!(text, Rendered::new("a", ""));

    let named = serde_json::json!([
        {"name": "tool_use", "template": "no"}, {"name": "default", "template": TEMPLATE}
    ]);
    let with_tools = model(named);
    assert_eq!(render(None, with_tools.path(), &said).unwrap(), expected);
    let Record::Chat(mut called) = said.clone() else { panic!() };
    called.tools = Json::List(vec![Json::Object(Vec::new())]);
    let called = Record::Chat(called);
    assert_eq!(render(None, with_tools.path(), &called).unwrap().whole(), "no");
    fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
    fs::write(dir.path().join("additional_chat_templates/tool_use.jinja"), "for tools").unwrap();
    // A file of its own overrules the configuration.
    fs::write(dir.path().join("chat_template.jinja"), "{{ messages[0].content }}{{ eos_token }}").unwrap();
    assert_eq!(render(None, dir.path(), &said).unwrap().whole(), "Hi </s>");
    assert_eq!(render(None, dir.path(), &called).unwrap().whole(), "for tools");
}

#[test]
fn template_files_see_the_fields() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.jinja");
    let file = |template: &str, record: &Record| {
        fs::write(&path, template).unwrap();
        render(Some(Prompt::File(path.clone())), dir.path(), record)
    };
    let template = "Q: {{ instruction }}{{ ' (' ~ input ~ ')' if input }}\nA: {{ output }}.\n\n";
    let rendered = file(template, &instruction("1 2")).unwrap();
    assert_eq!(rendered, Rendered::new("Q: Add. (1 2)\nA:", " 3.\n"));
    assert_eq!(file(template, &instruction("")).unwrap().whole(), "Q: Add.\nA: 3.\n");
    assert_eq!(file("{{ instruction }}!", &instruction("")).unwrap(), Rendered::new("Add.!", ""));
    let said = chat(&[("user", "a"), ("assistant", "b")]);
    let turns = "{% for m in messages %}{{ m.role[0] }}={{ m.content }};{% endfor %}";
    assert_eq!(file(turns, &said).unwrap(), Rendered::new("u=a;a=", "b;"));
    assert_eq!(file("{{ text|upper }}", &Record::Text("a".to_owned())).unwrap(), Rendered::new("A", ""));
    for (template, words) in [
        ("{{ question }}", "a.json, line 1 cannot be put into"),
        ("{{ raise_exception('not so') }}", "a.json, line 1 cannot be put into"),
        ("{% if %}", "t.jinja is not a template"),
    ] {
        let message = file(template, &instruction("")).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

/// Templates that write a conversation differently once an answer follows: Mistral's puts the system message into the last
/// turn of the user, DeepSeek-R1's opens a thought in the prompt alone.
#[test]
fn prompts_are_what_the_template_writes_to_go_on_from() {
    let mistral = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] \
        {% if loop.last %}Be brief.\n\n{% endif %}{{ m.content }}[/INST]{% else %} {{ m.content }}{{ eos_token }}\
        {% endif %}{% endfor %}";
    let deepseek = "{% for m in messages %}{% if m.role == 'user' %}<U>{{ m.content }}{% else %}<A>{{ m.content }}</s>\
        {% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>\n{% endif %}";
    let other =
        "{% for m in messages %}{{ m.content|upper }};{% endfor %}{% if add_generation_prompt %}>{% endif %}";
    let said = chat(&[("user", "Why?"), ("assistant", "So.")]);
    for (template, prompt, answer, rewritten) in [
        (mistral, "<s>[INST] Be brief.\n\nWhy?[/INST]", " So.</s>", true),
        (deepseek, "<U>Why?<A><think>\n", "So.</s>", true),
        (other, "WHY?;>", "So.", true),
        (TEMPLATE, "<s>user: Why?</s>\nassistant: ", "So.</s>\n", false),
    ] {
        let rendered = render(None, model(template.into()).path(), &said).unwrap();
        let found = (rendered.prompt.as_str(), rendered.answer.as_str(), rendered.rewritten);
        assert_eq!(found, (prompt, answer, rewritten));
    }
}

#[test]
fn template_files_that_tell_the_answer_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.jinja");
    let write = |template: &str| {
        fs::write(&path, template).unwrap();
        Renderer::new(Some(Prompt::File(path.clone())), dir.path()).unwrap()
    };
    let place = || "a.json, line 1".to_owned();
    for template in [
        "Q: {{ instruction }}\nA: {{ output|upper }}",
        "{% if output == '3' %}Odd. {% endif %}{{ instruction }}\nA: {{ output }}",
        "{{ instruction }} ({{ output|length }} letters)\nA: {{ output }}",
        "{{ output[0] }}: {{ instruction }}",
    ] {
        let renderer = write(template);
        let error = renderer.render(&instruction(""), place).unwrap_err();
        assert!(error.whole().contains("cannot be told apart"), "{template}: {}", error.whole());
        // A text to calibrate on it is all the same.
        renderer.document(&instruction(""), place).unwrap();
    }
    for (template, prompt, answer) in [
        ("Q: {{ instruction }}\nA: {{ output|trim }}.", "Q: Add.\nA:", " 3."),
        ("{{ instruction }} {{ output }} and {{ output }}", "Add.", " 3 and 3"),
        ("{{ instruction }}", "Add.", ""),
    ] {
        let rendered = write(template).render(&instruction(""), place).unwrap();
        assert_eq!(rendered, Rendered::new(prompt, answer));
    }
}

#[test]
fn what_cannot_be_rendered_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let said = chat(&[("user", "a")]);
    for (prompt, record, words) in [
        (None, &said, "has no chat template"),
        (Some(Prompt::Chat), &said, "has no chat template"),
        (Some(Prompt::File("no-such.jinja".into())), &said, "no-such.jinja"),
        (None, &Record::Tokens(vec![1].into()), "a.json, line 1 is token numbers"),
    ] {
        let message = render(prompt, dir.path(), record).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
