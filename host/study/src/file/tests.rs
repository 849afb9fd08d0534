use super::*;
use espalier_sdk::Sparsity;

const WHOLE: &str = r#"title = "All there is"
seeds = [0, 7]
sparsity = [0.5, "2:4"]
samples = 64
keep_models = true

[models]
tiny = "models/tiny"

[methods]
Wanda = 0.6
[methods.SparseGPT]
options = { blocksize = 64, percdamp = 0.02 }
layers = "0-2"
skip = "down_proj"
layer_sparsity = { "3" = 0.25, q_proj = "4:8" }
propagate = false
[methods.Variant]
plugin = "wanda"
options.use_variant = true

[calibration]
C4 = "c4.jsonl"
Mixed = ["c4.jsonl:0.3", "alpaca.json"]
[calibration.Alpaca]
files = "alpaca.json"
prompt = "alpaca"
tokens = 4096
exclude = "evaluation.json"

[evaluations]
Text = "text.txt"
Alpaca = { file = "evaluation.json", metrics = ["exact_match", "f1"], limit = 100 }
"#;

fn parse(text: &str) -> Result<StudyFile> {
    StudyFile::parse(Path::new("studies/a.toml"), text.to_owned())
}

#[test]
fn short_and_long_forms_are_read_in_the_order_of_the_file() {
    let file = parse(WHOLE).unwrap();
    let spec = &file.spec;
    assert_eq!(spec.title.as_deref(), Some("All there is"));
    assert_eq!(spec.keep_models, KeepModels::Folders);
    assert_eq!(spec.seeds.iter().map(|seed| seed.value).collect::<Vec<_>>(), [0, 7]);
    assert_eq!(
        (spec.models[0].name.value.as_str(), spec.models[0].path.value.as_str()),
        ("tiny", "models/tiny")
    );

    let methods: Vec<_> =
        spec.methods.iter().map(|m| (m.name.value.as_str(), m.plugins[0].value.as_str())).collect();
    assert_eq!(methods, [("Wanda", "wanda"), ("SparseGPT", "sparsegpt"), ("Variant", "wanda")]);
    let sparsities = |at: usize| spec.methods[at].sparsity.iter().map(|s| s.value).collect::<Vec<_>>();
    assert_eq!(sparsities(0), [Sparsity::Ratio(0.6)]);
    assert_eq!(sparsities(1), [Sparsity::Ratio(0.5), Sparsity::Pattern { n: 2, m: 4 }]);
    let option = |(key, value): &(At<String>, At<String>)| (key.value.clone(), value.value.clone());
    let options: Vec<_> = spec.methods[1].options.iter().map(option).collect();
    assert_eq!(
        options,
        [("blocksize".to_owned(), "64".to_owned()), ("percdamp".to_owned(), "0.02".to_owned())]
    );
    assert_eq!(option(&spec.methods[2].options[0]), ("use_variant".to_owned(), "true".to_owned()));
    assert!(!spec.methods[1].propagate && spec.methods[0].propagate);
    assert_eq!(spec.methods[1].layer_sparsity.len(), 2);

    let names: Vec<_> = spec.calibrations.iter().map(|set| set.name.value.as_str()).collect();
    assert_eq!(names, ["C4", "Mixed", "Alpaca"]);
    assert_eq!(spec.calibrations[0].samples.as_ref().map(|n| n.value), Some(64));
    assert_eq!(spec.calibrations[1].files.len(), 2);
    let alpaca = &spec.calibrations[2];
    assert_eq!((alpaca.samples.as_ref(), alpaca.tokens.as_ref().map(|n| n.value)), (None, Some(4096)));
    assert_eq!(spec.evaluations[1].metrics.len(), 2);
    assert_eq!(file.resolve("c4.jsonl"), Path::new("studies/c4.jsonl"));
}

#[test]
fn lists_in_a_calibration_entry_are_a_grid() {
    let grid = r#"models = "a/tiny"
evaluations.text = "a.txt"
samples = [8, 32]

[calibration.C4]
files = "c4.jsonl"
seqlen = [128, 256]
prompt = ["raw", "prompts/thinking.jinja"]

[calibration.Alpaca]
files = "alpaca.json"
samples = 4
loss_mask = ["all", "answers"]
"#;
    let sets = parse(grid).unwrap().spec.calibrations;
    let names: Vec<_> = sets.iter().map(|set| set.name.value.as_str()).collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[0], "C4 prompt=raw samples=8 seqlen=128");
    assert_eq!(names[7], "C4 prompt=thinking samples=32 seqlen=256");
    assert_eq!(names[8..], ["Alpaca loss_mask=all", "Alpaca loss_mask=answers"]);
    let seventh = &sets[7];
    assert_eq!((seventh.samples.as_ref().unwrap().value, seventh.seqlen.as_ref().unwrap().value), (32, 256));
    assert_eq!(seventh.reading.prompt.as_ref().unwrap().value, "prompts/thinking.jinja");

    let alike = grid.replace("\"raw\"", "\"other/thinking.jinja\"");
    let error = parse(&alike).unwrap_err().to_string();
    assert!(
        error.contains("the calibration set C4 prompt=thinking samples=8 seqlen=128 is given twice"),
        "{error}"
    );

    let twice = grid.replace("[128, 256]", "[128, 128]");
    let error = parse(&twice).unwrap_err().to_string();
    assert!(error.contains(":7:16:") && error.contains("the seqlen 128 is given twice"), "{error}");
}

#[test]
fn one_model_or_several_need_no_names() {
    let models = |line: &str| {
        let text = format!("models = {line}\nevaluations.text = \"a.txt\"\n");
        parse(&text).unwrap().spec.models.into_iter().map(|model| model.name.value).collect::<Vec<_>>()
    };
    assert_eq!(models("\"org/tiny\""), ["tiny"]);
    assert_eq!(models("[\"a/one\", \"b/two/\"]"), ["one", "two"]);
}

#[test]
fn what_is_wrong_has_its_line_and_column() {
    let cases = [
        ("samples = 64", "sample = 64", "4:1: unknown key `sample` in the study"),
        ("samples = 64", "samples = 0", "4:11: expected a number of things, 1 or more"),
        ("samples = 64", "samples = \"é\", 3", "4:14: "),
        ("Wanda = 0.6", "Wanda = 1.5", "11:9: this is not a sparsity"),
        ("Wanda = 0.6", "Wanda = 0.6\nWanda = 0.7", "12:1: duplicate key"),
        ("[0.5, \"2:4\"]", "[0.5, \"2:4\", 0.50]", "3:25: the sparsity 0.5 is given twice"),
        ("[0, 7]", "[0, 7, -1]", "2:16: expected a whole number that is not negative"),
        ("[0, 7]", "[0, 7, 7]", "2:16: the seed 7 is given twice"),
        (
            "blocksize = 64",
            "blocksize = []",
            "13:25: expected a text, a number, `true` or `false`, found a list",
        ),
        ("\"0-2\"", "\"2-0\"", "14:10: `2-0` is not a list of blocks"),
        ("\"down_proj\"", "\"down\"", "15:8: `down` is not a linear layer"),
        ("propagate", "propogate", "17:1: unknown key `propogate` in [methods.SparseGPT]"),
        ("C4 = \"c4.jsonl\"", "C4 = 4", "23:6: expected a path, a list of paths, or a table, found a number"),
        ("files = \"alpaca.json\"", "", "25:14: [calibration.Alpaca] has no `files`"),
        ("tokens = 4096", "tokens = 4096\nsamples = 3", "28:10: `samples` and `tokens`"),
        ("file = \"evaluation.json\", ", "", "33:1: [evaluations.Alpaca] lacks `file`"),
        ("[\"exact_match\", \"f1\"]", "[\"f1\", \"f1\"]", "the metric f1 is given twice"),
        ("limit = 100 }", "limit = 100, group = \"a\" }", "33:92: the group a has one member"),
        (
            "limit = 100 }",
            "limit = 100, groups = \"a\" }",
            "33:84: unknown key `groups` in [evaluations.Alpaca]",
        ),
        ("title = \"All there is\"", "title = ", "1:9: "),
        ("tiny = \"models/tiny\"", "", "the study has no model"),
        ("tiny = \"models/tiny\"", "tiny = \"\"", "8:8: expected a path"),
    ];
    for (from, to, words) in cases {
        assert!(WHOLE.contains(from), "{from}");
        let error = parse(&WHOLE.replace(from, to)).expect_err(to);
        let message = error.to_string();
        assert!(message.starts_with("studies/a.toml:"), "{message}");
        assert!(message.contains(words), "{to}: {message}, not {words}");
        assert!(matches!(error, StudyError::File { .. }));
    }
}

#[test]
fn a_study_evaluates_something() {
    let message = parse("models = \"a\"\n").unwrap_err().to_string();
    assert!(message.contains("evaluates nothing"), "{message}");
    let message = parse("").unwrap_err().to_string();
    assert!(message.contains("the study lacks `models`"), "{message}");
}
