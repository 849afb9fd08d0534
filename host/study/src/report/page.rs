//! The page as a whole.

use super::{
    cells,
    data::{CellState, Report},
    html::{Text, command, pre, put, scrolling},
    metric::duration,
    plots,
    predictions::{predictions, select},
    table::tables,
    verdict::verdict,
    view::View,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A part of the page: its anchor, its heading, and its content, where there is any.
struct Section {
    id: &'static str,
    title: &'static str,
    content: Option<String>,
}

/// The report as one self-contained page of HTML.
pub fn render(report: &Report) -> String {
    let view = View::new(report);
    let sections = sections(&view);
    let title = Text(&report.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<meta \
         http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the results</a>\n{}",
        plots::SYMBOLS
    );
    put!(out, "<header>\n<h1>{title}</h1>\n{}", standing(&view));
    out += "<nav aria-label=\"Contents\"><ul>\n";
    for section in sections.iter().filter(|section| section.content.is_some()) {
        put!(out, "<li><a href=\"#{}\">{}</a></li>\n", section.id, section.title);
    }
    out += "</ul></nav>\n</header>\n<main id=\"main\" tabindex=\"-1\">\n";
    for section in sections {
        if let Some(content) = section.content {
            put!(
                out,
                "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n<h2 id=\"{0}-title\">{1}</h2>\n{content}</section>\n",
                section.id,
                section.title
            );
        }
    }
    put!(
        out,
        "</main>\n<footer><p>Made by Espalier {} from <code>{}</code>.</p></footer>\n<script>\n{SCRIPT}</script>\n</body>\n\
         </html>\n",
        Text(&report.espalier),
        Text(&report.study_file)
    );
    out
}

fn sections(view: &View<'_>) -> Vec<Section> {
    let note = |note: &str, content: Option<String>| {
        content.map(|content| format!("<p class=\"lead\">{note}</p>\n{content}"))
    };
    let keyed =
        |text: &str, content: Option<String>| note(text, content.map(|content| legend(view) + &content));
    let section = |id, title, content| Section { id, title, content };
    vec![
        section(
            "verdict",
            "Verdict",
            Some(format!("<div class=\"verdict\">{}</div>\n{}", verdict(view), filter(view))),
        ),
        section(
            "scores",
            "Scores",
            note(
                "Mean ± standard deviation over seeds; below it the difference from the dense model, with n.d. where no \
                 difference is detected (its 95% interval, paired over items, contains 0). Below the dense scores stand \
                 their 95% intervals over items. The best of the pruned variants is bold. Arrows show which way is better.",
                Some(tables(view)),
            ),
        ),
        section(
            "dense",
            "Pruned against dense",
            keyed(
                "Differences from the dense model, paired over items, seeds averaged, with their 95% intervals. Where an \
                 interval contains 0, no difference is detected.",
                plots::forest(view),
            ),
        ),
        section(
            "task",
            "Task calibration against plain text",
            keyed(
                "The same method and sparsity with a task’s own data instead of plain text: differences paired over items, \
                 with their 95% intervals.",
                plots::gains(view),
            ),
        ),
        section(
            "seeds",
            "Every seed",
            keyed(
                "One mark a seed, an upright line at their mean; the dashed line is the dense model.",
                plots::dots(view),
            ),
        ),
        section(
            "calibration",
            "Calibration against evaluation",
            note(
                "Mean over seeds, and below it the difference from dense. The colour is that difference: green is better \
                 than dense, pink is worse, full strength is the largest difference of any variant on that column.",
                plots::heat_maps(view),
            ),
        ),
        section(
            "sensitivity",
            "Sensitivity to calibration",
            keyed(
                "How far apart one method’s calibration sets are: the mean of each set, and the range they span.",
                plots::sensitivity(view),
            ),
        ),
        section(
            "sparsity",
            "Scores by sparsity",
            keyed("Means over seeds, from the dense model on.", plots::curves(view)),
        ),
        section(
            "perplexity",
            "Perplexity against task scores",
            keyed(
                "One mark a cell. If perplexity predicted task scores, the marks would lie on a line.",
                plots::scatter(view),
            ),
        ),
        section(
            "layers",
            "Layer by layer",
            keyed(
                "Means over seeds. The error is each method’s own measure of it, so it compares calibration sets rather than \
                 methods.",
                plots::layers(view),
            ),
        ),
        section(
            "predictions",
            "Predictions",
            note(
                "Better and worse are by the first of the evaluation’s metrics that differs from the dense model’s.",
                predictions(view),
            ),
        ),
        section(
            "cells",
            "Cells and how to reproduce them",
            Some(format!(
                "<p class=\"lead\">Every box holds the exact command of its cell; failed cells also hold their error.</p>\n{}{}",
                cells::overview(view),
                cells::boxes(view)
            )),
        ),
        section("settings", "Settings", Some(settings(view.report))),
    ]
}

/// Where the study stands, in a sentence.
fn standing(view: &View<'_>) -> String {
    let report = view.report;
    let count = |state| report.cells.iter().filter(|cell| cell.state == state).count();
    let (done, failed, missing) =
        (count(CellState::Done), count(CellState::Failed), count(CellState::Missing));
    let seconds: f64 = report.cells.iter().filter_map(|cell| cell.seconds).sum();
    let mut out = format!("<p class=\"standing\">{done} of {} cells done", report.cells.len());
    for (count, word) in [(failed, "failed"), (missing, "missing")] {
        if count > 0 {
            put!(out, ", <a class=\"state {word}\" href=\"#cells\">{count} {word}</a>");
        }
    }
    if seconds > 0.0 {
        put!(out, "; {} of work", duration(seconds));
    }
    if let Some(device) = &report.device {
        put!(out, " on {}", Text(device));
    }
    out + ".</p>\n"
}

/// The filter of all figures, which the script shows and answers.
fn filter(view: &View<'_>) -> String {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let columns = view.columns();
    let evaluations = super::view::distinct(columns.iter().map(|column| column.evaluation));
    let metrics = super::view::distinct(columns.iter().map(|column| column.name));
    let choices = [
        ("model", "Model", "every model", owned(&view.models)),
        ("evaluation", "Evaluation", "every evaluation", owned(&evaluations)),
        ("metric", "Metric", "every metric", owned(&metrics)),
        ("sparsity", "Sparsity", "every sparsity", owned(&view.sparsities)),
    ];
    let mut out =
        "<form class=\"filter\" id=\"figure-filter\" aria-label=\"Figures to show\" hidden>\n".to_owned();
    for (name, label, every, values) in choices {
        if values.len() > 1 {
            out += &select(name, label, every, &values);
        }
    }
    out + "</form>\n"
}

/// The legend of colours and shapes.
fn legend(view: &View<'_>) -> String {
    let mut out = "<ul class=\"legend\" aria-label=\"Legend\">\n".to_owned();
    for variant in view.variants.iter().filter(|variant| variant.model == view.models[0]) {
        let first = view.variants.iter().position(|other| other.label == variant.label);
        if first.is_some_and(|first| std::ptr::eq(&view.variants[first], variant)) {
            let look = view.look(variant.method, variant.set.as_deref());
            put!(out, "<li>{}{}</li>\n", plots::key(look), Text(variant.label));
        }
    }
    out + "</ul>\n"
}

fn settings(report: &Report) -> String {
    let mut out = format!("<p>The whole study:</p>\n{}", command("Command of the study", &report.command));
    if !report.calibrations.is_empty() {
        let mut table = "<table class=\"plain\">\n<caption>Calibration sets</caption>\n<thead><tr><th \
                         scope=\"col\">Name</th><th scope=\"col\">Kind</th><th scope=\"col\">Data</th></tr></thead>\n<tbody>\n"
            .to_owned();
        for set in &report.calibrations {
            let (name, summary) = (Text(&set.name), Text(&set.summary));
            put!(table, "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{summary}</td></tr>\n", set.kind);
        }
        table += "</tbody></table>\n";
        out += &scrolling("Calibration sets", &table);
    }
    put!(out, "<p>The study file, <code>{}</code>:</p>\n", Text(&report.study_file));
    out + &pre("The study file", &report.study_toml)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
