//! `host generate` and `host chat`: the text that a model writes, as scripts and people get it.

use espalier_host::{
    data::{ChatTemplate, Conversation, Message, Tokenizer},
    model::{Generation, Llama},
};
use espalier_tests::{copy_model, cpu, host, path, run, said};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

fn command(what: &str, model: &Path) -> Command {
    let mut command = host();
    command.args([what, "--device", "cpu", "--model"]).arg(model);
    command
}

fn generate() -> Command {
    command("generate", &path("models/tiny-instruct"))
}

/// The output of a command that is given this on standard input.
fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = start(command);
    // A command that is refused reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&run(command.arg("--json")).stdout).unwrap()
}

fn text(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).unwrap()
}

/// A command that gives a message and this exit code, and writes no text.
fn refused(output: &Output, code: i32, words: &str) {
    assert!(output.stdout.is_empty() && output.status.code() == Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{words}: {}", said(output));
}

#[test]
fn greedy_text_is_that_of_transformers() {
    let recorded: Value = serde_json::from_slice(&fs::read(path("fixtures/generate.json")).unwrap()).unwrap();
    let tokenizer = Tokenizer::open(&path("models/tiny-instruct"), 1024).unwrap();
    for row in recorded["rows"].as_array().unwrap() {
        let ids: Vec<u32> = serde_json::from_value(row["output_ids"].clone()).unwrap();
        let prompt = row["prompt"].as_str().unwrap();
        let found = json(generate().args(["--max-new-tokens", "32", "--prompt", prompt]));
        let end = if ids.last() == Some(&2) { "end_token" } else { "max_new_tokens" };
        assert_eq!((&found["tokens"], &found["end"]), (&ids.len().into(), &end.into()), "{found}");
        assert_eq!(
            (&found["text"], &found["prompt"]),
            (&tokenizer.decode(&ids).unwrap().into(), &prompt.into())
        );
        assert!(found["resident_bytes"].as_u64() > Some(1 << 20), "{found}");
    }
}

#[test]
fn greedy_text_is_what_an_evaluation_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let predictions = folder.path().join("predictions.jsonl");
    let mut eval = command("eval", &path("models/tiny-instruct"));
    eval.args(["--limit", "6", "--max-new-tokens", "24", "--stop", "the"])
        .arg("--predictions")
        .arg(&predictions);
    run(eval.arg("--task").arg(path("models/data/alpaca_evaluation.json")));
    for line in fs::read_to_string(&predictions).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let prompt = line["prompt"].as_str().unwrap();
        let found = text(generate().args(["--max-new-tokens", "24", "--stop", "the", "--prompt", prompt]));
        assert_eq!(found.trim(), line["prediction"].as_str().unwrap(), "{prompt}");
    }
}

#[test]
fn prompts_come_in_every_format_and_from_standard_input() {
    let question = "What is the opposite of hot?";
    for format in ["alpaca", "chat"] {
        assert_eq!(text(generate().args(["--prompt-format", format, "--prompt", question])), "cold\n");
    }
    let raw = text(generate().args(["--prompt", question]));
    assert_ne!(raw, "cold\n");
    for (arguments, input) in [(&[][..], "\n"), (&["--prompt", "-"], "\r\n"), (&["--prompt", "-"], "")] {
        let output = with_input(generate().args(arguments), &format!("{question}{input}"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), raw);
    }
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("ask.jinja");
    let alpaca = espalier_host::data::alpaca_prompt("{{ instruction }}", "");
    fs::write(&template, format!("{alpaca}\n{{{{ output }}}}")).unwrap();
    let mut command = generate();
    command.args(["--prompt", question, "--prompt-format"]).arg(&template);
    assert_eq!(text(&mut command), "cold\n");
}

#[test]
fn seeds_repeat() {
    let draw = |seed: &str, arguments: &[&str]| {
        text(
            generate()
                .args(["--max-new-tokens", "30", "--prompt", "The cat", "--seed", seed])
                .args(arguments),
        )
    };
    let hot = ["--temperature", "1.5", "--top-k", "200", "--top-p", "0.98", "--min-p", "0.001"];
    assert_eq!(draw("1", &hot), draw("1", &hot));
    assert_ne!(draw("1", &hot), draw("2", &hot));
    // One token is left to draw from.
    let greedy = draw("1", &[]);
    for single in [&["--top-k", "1"][..], &["--min-p", "1"], &["--top-p", "0.0001"], &["--temperature", "0"]]
    {
        assert_eq!(draw("3", single), greedy, "{single:?}");
    }
    assert_ne!(draw("1", &["--repetition-penalty", "1.5"]), greedy);
}

#[test]
fn text_ends_where_it_is_told_to() {
    let write = |arguments: &[&str]| json(generate().args(["--prompt", "The cat"]).args(arguments));
    let whole = write(&["--max-new-tokens", "20"]);
    let text = whole["text"].as_str().unwrap();
    assert_eq!((&whole["tokens"], &whole["end"]), (&20.into(), &"max_new_tokens".into()));
    let word = text.split_whitespace().nth(3).unwrap();
    let stopped = write(&["--max-new-tokens", "20", "--stop", "no such text", "--stop", word]);
    assert_eq!(stopped["end"], "stop");
    assert_eq!(stopped["text"], text[..text.find(word).unwrap()]);
    assert!(stopped["tokens"].as_u64() < Some(20));
    let folder = tempfile::tempdir().unwrap();
    let small = changed(folder.path(), |file, value| {
        if file == "config.json" {
            value["max_position_embeddings"] = 20.into();
        }
    });
    let full = json(command("generate", &small).args(["--prompt", "The cat"]));
    assert_eq!(full["end"], "context", "{full}");
    assert_eq!(full["prompt_tokens"].as_u64().unwrap() + full["tokens"].as_u64().unwrap(), 20);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let said_to = |arguments: &[&str]| generate().args(["--prompt", "x"]).args(arguments).output().unwrap();
    for (arguments, words) in [
        (&["--temperature", "-1"][..], "a temperature of -1: it must be above 0"),
        (&["--temperature", "nan"], "a temperature of NaN: it must be above 0"),
        (&["--temperature", "0", "--top-p", "0.9"], "--temperature 0 takes the most likely token"),
        (&["--top-p", "1.5"], "top-p 1.5 is not above 0 and at most 1"),
        (&["--min-p", "2"], "min-p 2 is not from 0 to 1"),
        (&["--top-k", "0"], "--top-k"),
        (&["--repetition-penalty", "0"], "a repetition penalty of 0: it must be above 0"),
        (&["--max-new-tokens", "0"], "--max-new-tokens"),
        (&["--stop", ""], "--stop"),
        (&["--prompt-format", "no-such-file"], "no-such-file"),
    ] {
        refused(&said_to(arguments), 2, words);
    }
    let long = "word ".repeat(400);
    refused(
        &generate().args(["--prompt", &long]).output().unwrap(),
        2,
        "the model's context ends at 256: shorten it",
    );
    let mut binary = start(&mut generate());
    binary.stdin.take().unwrap().write_all(b"\xff\xfe").unwrap();
    refused(&binary.wait_with_output().unwrap(), 2, "what is asked cannot be read from standard input");
    refused(&with_input(&mut generate(), &"x".repeat((4 << 20) + 1)), 2, "more than 4 MiB");

    for (file, content, words) in [
        ("model.safetensors", Some("damaged"), "model.safetensors"),
        ("model.safetensors", None, "safetensors"),
        ("tokenizer.json", None, "tokenizer.json"),
        ("config.json", Some("{"), "config.json"),
    ] {
        let broken = folder.path().join(format!("{file}-{}", content.is_some()));
        copy_model(&broken);
        match content {
            Some(content) => fs::write(broken.join(file), content).unwrap(),
            None => fs::remove_file(broken.join(file)).unwrap(),
        }
        for what in ["generate", "chat"] {
            refused(&with_input(&mut command(what, &broken), "x\n"), 2, words);
        }
    }
}

/// A copy of the model whose `tokenizer_config.json` or `config.json` is changed.
fn changed(folder: &Path, change: impl Fn(&str, &mut Value)) -> PathBuf {
    let model = folder.join("changed");
    copy_model(&model);
    for file in ["tokenizer_config.json", "config.json", "generation_config.json"] {
        let mut value = serde_json::from_slice(&fs::read(model.join(file)).unwrap()).unwrap();
        change(file, &mut value);
        fs::write(model.join(file), value.to_string()).unwrap();
    }
    model
}

#[test]
fn a_model_without_a_chat_template_is_told_what_else_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let model =
        changed(folder.path(), |_, value| drop(value.as_object_mut().unwrap().remove("chat_template")));
    for arguments in [&["chat"][..], &["generate", "--prompt-format", "chat"]] {
        let output = with_input(command(arguments[0], &model).args(&arguments[1..]), "x\n");
        refused(&output, 2, "use `host generate` with --prompt-format raw, alpaca or a template file");
    }
}

/// What the model answers to these lines, by the library: every turn is read as a whole.
fn answers(lines: &[&str], system: Option<&str>, options: &Generation) -> Vec<String> {
    let folder = path("models/tiny-instruct");
    let model = Llama::open(&folder, cpu()).unwrap();
    let tokenizer = Tokenizer::open(&folder, 1024).unwrap();
    let template = ChatTemplate::of_model(&folder).unwrap();
    let mut messages: Vec<_> = system.into_iter().map(|text| Message::new("system", text)).collect();
    let answer = |line: &&str| {
        messages.push(Message::new("user", *line));
        let prompt = template.prompt(&Conversation::new(messages.clone()), String::new).unwrap();
        let prompt = tokenizer.encode(&prompt, false, String::new).unwrap();
        let written = model.generate(&[&prompt], options, || {}).unwrap().remove(0);
        let text = tokenizer.decode(&written.tokens).unwrap().trim().to_owned();
        messages.push(Message::new("assistant", &text));
        text
    };
    lines.iter().map(answer).collect()
}

const LINES: [&str; 4] =
    ["What is the opposite of hot?", "And of big?", "Name an animal.", "What did I ask you first?"];

#[test]
fn a_conversation_remembers_what_was_said() {
    let config = Llama::open(&path("models/tiny-instruct"), cpu()).unwrap().config;
    let options = Generation::greedy(&config, 20);
    for system in [None, Some("Answer in one word.")] {
        let expected = answers(&LINES, system, &options);
        let mut chat = command("chat", &path("models/tiny-instruct"));
        chat.args(["--max-new-tokens", "20"]).args(system.map(|text| ["--system", text]).iter().flatten());
        // Empty lines ask nothing, and the last line needs no end.
        let output = with_input(&mut chat, &LINES.join("\r\n\n"));
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.join("\n") + "\n");
        let alone: Vec<_> = LINES.iter().flat_map(|line| answers(&[line], system, &options)).collect();
        assert_ne!(alone, expected, "the turns before make a difference");
    }
}

#[test]
fn draws_differ_from_turn_to_turn_and_repeat_with_the_seed() {
    let chat = |seed: &str| {
        let mut chat = command("chat", &path("models/tiny-instruct"));
        chat.args(["--max-new-tokens", "12", "--temperature", "2", "--seed", seed]);
        let output = with_input(&mut chat, "Name an animal.\nName an animal.\n");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(chat("1"), chat("1"));
    assert_ne!(chat("1"), chat("2"));
}

#[test]
fn a_conversation_outgrows_the_context() {
    let chat = |lines: &str| {
        let mut chat = command("chat", &path("models/tiny-instruct"));
        with_input(chat.args(["--max-new-tokens", "20"]), lines)
    };
    let output = chat(&format!("{}\n", LINES[0]).repeat(14));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 14, "{}", said(&output));
    assert!(said(&output).contains("the model's context is full: the oldest turn is forgotten"));
    refused(&chat(&"word ".repeat(400)), 2, "has to hold the answer too: say less at a time");
}

/// A model whose answers do not end.
#[cfg(unix)]
fn endless(folder: &Path) -> PathBuf {
    changed(folder, |file, value| match file {
        "tokenizer_config.json" => value["eos_token"] = "<pad>".into(),
        "config.json" => {
            value["eos_token_id"] = 0.into();
            value["max_position_embeddings"] = 40_000.into();
        }
        _ => value["eos_token_id"] = 0.into(),
    })
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_an_answer_and_not_the_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let model = endless(folder.path());
    let begin = |stdout: Stdio| {
        let mut chat = command("chat", &model);
        chat.args(["-v", "--max-new-tokens", "30000"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        chat.stdout(stdout).spawn().unwrap()
    };
    // A file shows what is written by now.
    let file = folder.path().join("stdout");
    let mut child = begin(fs::File::create(&file).unwrap().into());
    let mut stdin = child.stdin.take().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let written = || fs::metadata(&file).unwrap().len();
    for line in ["Name an animal.", "Name a colour."] {
        let before = written();
        writeln!(stdin, "{line}").unwrap();
        // The text comes while it is written; a line break may still belong to the answer before.
        while written() < before + 60 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        signal(&child, "-INT");
        let words = log.find(|line| line.contains("tokens written")).expect("the answer ends");
        assert!(words.contains("a second") && words.contains("resident"), "{words}");
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // Where nothing is being answered, it ends the program.
    let mut child = begin(Stdio::null());
    let stdin = child.stdin.take();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    log.find(|line| line.contains("on ")).unwrap();
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);

    // A request to end is no request to be quiet.
    for (what, name) in [("chat", "-TERM"), ("generate", "-INT")] {
        let mut child = start(command(what, &model).args(["--max-new-tokens", "30000"]));
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "Name an animal.").unwrap();
        if what == "generate" {
            drop(stdin);
        }
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{what}");
    }
}
