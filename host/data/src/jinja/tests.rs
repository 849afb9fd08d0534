use super::*;
use crate::json::Json;
use minijinja::{context, value::Serde};
use serde::Deserialize;
use std::path::Path;

#[test]
fn json_is_written_as_python_writes_it() {
    // json.dumps(value, ensure_ascii=False), and with indent=2
    let values = context! { messages => [context! { role => "user", content => "<é> & 'x'" }] };
    let render = |source: &str| Jinja::new(source, false).unwrap().render(values.clone()).unwrap();
    assert_eq!(render("{{ messages|tojson }}"), r#"[{"role": "user", "content": "<é> & 'x'"}]"#);
    assert_eq!(render("{{ [1, {'a': none}]|tojson }}"), r#"[1, {"a": null}]"#);
    assert_eq!(render("{{ {'a': [true]}|tojson(indent=2) }}"), "{\n  \"a\": [\n    true\n  ]\n}");
}

#[test]
fn what_transformers_marks_is_text() {
    let source = "a {%- generation %} {% endgeneration -%} {% generations %} {{ generation }} {%";
    assert_eq!(retag(source), "a {%- if true %} {% endif -%} {% generations %} {{ generation }} {%");
    let template = Jinja::new("a {%- generation %} {{ content }}{% endgeneration -%} \n b", false).unwrap();
    assert_eq!(template.render(context! { content => "x" }).unwrap(), "a xb");
}

#[derive(Deserialize)]
struct Expressions {
    cases: Vec<ExpressionCase>,
}

#[derive(Deserialize)]
struct ExpressionCase {
    template: String,
    text: Option<String>,
    error: Option<String>,
}

/// Expressions that minijinja cannot evaluate or that have no use in a chat template.
const DIFFERENT: [&str; 15] = [
    "{{ '%r' % 'a' }}",
    "{{ 'a b c d'|wordwrap(3) }}",
    "{{ messages|map(attribute='name')|list }}",
    "{{ +n }}",
    "{{ range(3) }}",
    "{{ cycler('a', 'b').next() }}",
    "{{ lipsum is defined }}",
    "{{ {'a': 1}|xmlattr }}",
    "{{ list|random is number }}",
    "{{ s.format_map({}) }}",
    "{{ s.encode('utf-8') }}",
    "{{ s.maketrans('a', 'b') }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(x) %}{{ m.name }}{{ m.arguments }}{% endmacro %}{{ m(1) }}",
    "{{ self }}",
];

/// Results of expressions in transformers' Jinja (`tests/scripts/make_expressions.py`).
#[test]
fn expressions_are_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/expressions.json");
    let text = std::fs::read_to_string(path).unwrap();
    let Expressions { cases } = serde_json::from_str(&text).unwrap();
    // Values whose keys keep their order.
    let all: Json = serde_json::from_str(&text).unwrap();
    let values = all.get("values").unwrap();
    assert!(cases.len() >= 400);
    let mut different = Vec::new();
    for ExpressionCase { template, text, error } in cases {
        let rendered =
            Jinja::new(&template, false).and_then(|jinja| jinja.render(Value::from(Serde(values))));
        let same = match (&rendered, &text) {
            (Ok(rendered), Some(text)) => rendered == text,
            (Err(_), None) => error.is_some(),
            _ => false,
        };
        if !same {
            println!("{template:?}\n    is {rendered:?}\n    in place of {text:?} {error:?}");
            different.push(template);
        }
    }
    assert_eq!(different, DIFFERENT);
}

#[test]
fn days_are_the_same_every_day() {
    let rendered = |source: &str| Jinja::new(source, false).unwrap().render(context! {});
    let llama = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    assert_eq!(rendered(llama).unwrap(), "26 Jul 2024");
    assert_eq!(
        rendered("{{ strftime_now('%A, %B %-d, %Y, %H:%M') }}").unwrap(),
        "Friday, July 26, 2024, 00:00"
    );
    assert!(rendered("{{ strftime_now('%Q%') }}").is_err());
}

#[test]
fn numbers_beyond_any_are_what_python_writes() {
    let rendered = |source: &str| Jinja::new(source, false).unwrap().render(context! {}).unwrap();
    assert_eq!(rendered("{{ [1e308 * 10, -1e308 * 10]|tojson }}"), "[Infinity, -Infinity]");
    assert_eq!(rendered("{{ 1e308 * 10 }}"), "inf");
    assert_eq!(rendered("{{ 7.5 % 2 }} {{ -7 % -4 }} {{ 7 % -4 }} {{ -7.5 % 2 }}"), "1.5 -3 -1 0.5");
}

#[test]
fn a_hostile_template_ends() {
    for source in [
        "{{ 'x'.center(10 ** 12) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'x'.zfill(10 ** 12) }}",
        "{% set ns = namespace(a=[]) %}{% for i in range(1000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a|tojson }}",
        "{{ 'a\tb'.expandtabs(10 ** 12) }}{{ 'x' * 10 ** 12 }}",
        "{{ 1 % 0 }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% if i % 7 == 9 %}x{% endif %}{% endfor %}{% endfor %}",
    ] {
        assert!(Jinja::new(source, false).unwrap().render(context! {}).is_err(), "{source}");
    }
}
