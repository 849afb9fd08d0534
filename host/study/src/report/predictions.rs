//! Predictions side by side: dense against pruned.

use super::{
    data::{Output, Prediction},
    html::{Text, put},
    metric::Metric,
    plots::key,
    view::{View, distinct},
};

/// How a pruned model's answer differs from the dense model's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Better,
    Worse,
    Changed,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Changed => "changed",
        }
    }

    /// By the first of the evaluation's metrics that differs.
    fn of(dense: &Output, other: &Output, metrics: &[String]) -> Self {
        if dense.text == other.text {
            return Self::Same;
        }
        let gains = metrics.iter().filter_map(|name| {
            let difference = other.scores.get(name)? - dense.scores.get(name)?;
            Some(Metric::named(name).gain(difference))
        });
        match gains.into_iter().find(|gain| gain.abs() > 1e-9) {
            Some(gain) if gain > 0.0 => Self::Better,
            Some(_) => Self::Worse,
            None => Self::Changed,
        }
    }
}

/// The filter and the list; nothing where no predictions were kept.
pub(super) fn predictions(view: &View<'_>) -> Option<String> {
    let all = &view.report.predictions;
    if all.is_empty() {
        return None;
    }
    let mut out = filter(view);
    out += "<div class=\"predictions\">\n";
    for prediction in all {
        out += &article(view, prediction);
    }
    Some(out + "</div>\n")
}

/// The filter, which the script shows and answers.
fn filter(view: &View<'_>) -> String {
    let all = &view.report.predictions;
    let mut out = "<form class=\"filter\" id=\"prediction-filter\" hidden>\n".to_owned();
    let evaluations = distinct(all.iter().map(|prediction| prediction.evaluation.clone()));
    out += &select("evaluation", "Evaluation", "every evaluation", &evaluations);
    let variants = all
        .iter()
        .flat_map(|prediction| &prediction.others)
        .map(|output| view.name(&output.label, output.sparsity.as_deref()));
    out += &select("variant", "Variant", "every variant", &distinct(variants));
    out += "<label>Answer <select name=\"change\"><option value=\"\">any</option><option value=\"worse\">worse than \
            dense</option><option value=\"better\">better than dense</option><option value=\"differs\">differs from \
            dense</option><option value=\"same\">same as dense</option></select></label>\n<label>Text <input type=\"search\" \
            name=\"text\" placeholder=\"in prompt or answers\"></label>\n<p class=\"count\" role=\"status\"></p>\n</form>\n";
    out
}

/// A choice among values, or all of them.
pub(super) fn select(name: &str, label: &str, every: &str, values: &[String]) -> String {
    let mut out = format!("<label>{label} <select name=\"{name}\"><option value=\"\">{every}</option>");
    for value in values {
        put!(out, "<option value=\"{0}\">{0}</option>", Text(value));
    }
    out + "</select></label>\n"
}

fn article(view: &View<'_>, prediction: &Prediction) -> String {
    let evaluation =
        view.report.evaluations.iter().find(|evaluation| evaluation.name == prediction.evaluation);
    let metrics = evaluation.map_or(&[][..], |evaluation| &evaluation.metrics);
    let mut out = format!(
        "<article class=\"prediction\" data-evaluation=\"{}\">\n<h3>{0}, item {}{}</h3>\n<div class=\"prompt\"><h4>Prompt</h4>\n{}</div>\n",
        Text(&prediction.evaluation),
        prediction.item,
        Text(view.of_model(&prediction.model)),
        text(&prediction.prompt)
    );
    out += "<ul class=\"outputs\">\n<li class=\"reference\"><h4>Reference</h4>\n";
    for reference in &prediction.references {
        out += &text(reference);
    }
    put!(out, "</li>\n<li class=\"dense\"><h4>{}dense</h4>\n", key(view.look(None, None)));
    put!(out, "{}{}</li>\n", text(&prediction.dense.text), scores(&prediction.dense, metrics));
    for output in &prediction.others {
        let change = Change::of(&prediction.dense, output, metrics);
        let name = view.name(&output.label, output.sparsity.as_deref());
        let variant = view.pruned(&prediction.model).find(|variant| variant.label == output.label);
        let look = view.look(
            variant.and_then(|variant| variant.method),
            variant.and_then(|variant| variant.set.as_deref()),
        );
        put!(
            out,
            "<li class=\"output\" data-variant=\"{0}\" data-change=\"{1}\"><h4>{2}{0}{3} <em class=\"{1}\">{1}</em></h4>\n",
            Text(&name),
            change.word(),
            key(look),
            output.seed.map_or_else(String::new, |seed| format!(", seed {seed}"))
        );
        out += &text(&output.text);
        put!(out, "{}</li>\n", scores(output, metrics));
    }
    out + "</ul>\n</article>\n"
}

/// Text of a model or of a data set, with its line breaks.
fn text(text: &str) -> String {
    if text.trim().is_empty() {
        return "<p class=\"empty\">(empty)</p>\n".to_owned();
    }
    format!("<p class=\"text\">{}</p>\n", Text(text.trim_matches('\n')))
}

fn scores(output: &Output, metrics: &[String]) -> String {
    let scores = metrics.iter().filter_map(|name| {
        let metric = Metric::named(name);
        Some(format!("{} {}", Text(metric.title), metric.value(*output.scores.get(name)?)))
    });
    let scores: Vec<_> = scores.collect();
    if scores.is_empty() {
        String::new()
    } else {
        format!("<p class=\"item-scores\">{}</p>\n", scores.join(" · "))
    }
}
