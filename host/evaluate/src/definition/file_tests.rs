use super::*;

const ARC: &str = include_str!("../../tasks/arc_easy.toml");

fn refused(text: &str) -> String {
    TaskDefinition::parse("mine", Path::new("mine.toml"), text).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_has_its_line_and_column() {
    for (from, to, message) in [
        ("split =", "spilt =", "mine.toml:3:1: unknown field `spilt`"),
        ("[shots]\nsplit", "[shots]\nsplits", "mine.toml:10:1: unknown field `splits`"),
        ("{{question}}", "{{question", "mine.toml:4:11: `context` is not a template: "),
        ("choices.text", "choices.", "mine.toml:5:16: `choices_from` is not an expression: "),
        (
            "\"acc_norm\"",
            "\"f1\"",
            "mine.toml:7:19: a task of this kind has no metric `f1`, only acc, acc_norm, acc_bytes",
        ),
        ("\"acc_norm\"", "\"acc\"", "mine.toml:7:19: the metric acc is given twice"),
        ("gold =", "target =", "mine.toml:2:8: a task of this kind needs `gold`"),
        ("metrics", "stop = ['x']\nmetrics", "mine.toml:7:9: `stop` has no meaning in a task of this kind"),
        ("metrics", "choices = ['x']\nmetrics", "mine.toml:5:16: `choices` and `choices_from` both say"),
        ("\"choice\"", "\"choices\"", "mine.toml:2:8: unknown variant `choices`"),
    ] {
        assert!(ARC.contains(from), "{from}");
        let found = refused(&ARC.replacen(from, to, 1));
        assert!(found.starts_with(message), "{from} → {to}: {found}");
    }
    let gsm8k = include_str!("../../tasks/gsm8k.toml");
    let found = refused(&gsm8k.replacen("'(-?[$", "'((-?[$", 1));
    assert!(found.contains(":18:11: this is not a regular expression: "), "{found}");
    let found = refused(&gsm8k.replacen("[match.flexible]\npattern", "[match.other]\npattern", 1));
    assert!(found.contains("unknown field `other`"), "{found}");
}

#[test]
fn examples_may_stand_in_the_file() {
    let text = format!("{ARC}count = 1\nexamples = [{{ question = 'é?', choices = {{ text = ['a'] }} }}]\n");
    let shots = TaskDefinition::parse("mine", Path::new("mine.toml"), &text).unwrap().shots;
    assert_eq!((shots.count, shots.rows.len(), shots.draw), (1, 1, Draw::Seeded(1234)));
    assert_eq!(
        serde_json::to_string(&shots.rows).unwrap(),
        r#"[{"choices":{"text":["a"]},"question":"é?"}]"#
    );
}
