//! Calibration sets against evaluations, for each method.

use crate::report::{
    data::CellState,
    html::{Text, put, scrolling},
    metric::{Metric, sparsity_title},
    view::{Column, Variant, View},
};

/// The strongest colour: mixed with the page's ground so far that the number on it can still be read.
const STRONGEST: f64 = 55.0;

/// One map for every model, sparsity and method that has calibration sets. The colour is the difference
/// from dense, turned so that better is always the same colour, and scaled by each metric's largest.
pub(in super::super) fn heat_maps(view: &View<'_>) -> Option<String> {
    let columns = view.columns();
    let mut out = String::new();
    for model in &view.models {
        for sparsity in &view.sparsities {
            for method in &view.methods {
                let rows: Vec<_> = view
                    .pruned(model)
                    .filter(|row| {
                        row.method == Some(*method) && row.sparsity == Some(*sparsity) && row.set.is_some()
                    })
                    .collect();
                if !rows.is_empty() {
                    out += &map(view, model, sparsity, method, &columns, &rows);
                }
            }
        }
    }
    (!out.is_empty()).then(|| format!("<div class=\"panels wide\">\n{out}</div>\n"))
}

fn map(
    view: &View<'_>,
    model: &str,
    sparsity: &str,
    method: &str,
    columns: &[Column<'_>],
    rows: &[&Variant<'_>],
) -> String {
    let title = format!("{method} at {}{}", sparsity_title(sparsity), view.of_model(model));
    let mut table = format!(
        "<table class=\"heat\">\n<caption>{}</caption>\n<thead><tr><th scope=\"col\" rowspan=\"2\">Calibration</th>",
        Text(&title)
    );
    for evaluation in &view.report.evaluations {
        if !evaluation.metrics.is_empty() {
            let (span, name) = (evaluation.metrics.len(), Text(&evaluation.name));
            put!(table, "<th scope=\"colgroup\" colspan=\"{span}\">{name}</th>");
        }
    }
    table += "</tr>\n<tr>";
    for column in columns {
        put!(table, "<th scope=\"col\">{}</th>", Text(column.metric.axis()));
    }
    table += "</tr></thead>\n<tbody>\n";
    for row in rows {
        put!(table, "<tr><th scope=\"row\">{}</th>", Text(row.set.as_deref().unwrap_or_default()));
        for column in columns {
            table += &tile(view, model, row, *column);
        }
        table += "</tr>\n";
    }
    table += "</tbody></table>\n";
    format!(
        "<div class=\"panel\" data-model=\"{}\" data-sparsity=\"{}\">\n{}</div>\n",
        Text(model),
        Text(sparsity),
        scrolling(&title, &table)
    )
}

fn tile(view: &View<'_>, model: &str, row: &Variant<'_>, column: Column<'_>) -> String {
    let metric = column.metric;
    let dense = view.dense(model).and_then(|dense| dense.score(column)).map(|score| score.mean);
    let (style, lines) = match row.score(column) {
        None if row.count(CellState::Failed) > 0 => {
            ("class=\"failed\"".to_owned(), ["failed".to_owned(), String::new()])
        }
        None => ("class=\"missing\"".to_owned(), ["missing".to_owned(), String::new()]),
        Some(score) => {
            let difference = dense.map(|dense| score.mean - dense);
            let share =
                difference.map_or(0.0, |difference| intensity(view, model, column, metric.gain(difference)));
            let class = if share < 0.0 { "worse" } else { "better" };
            let style = format!("class=\"tile {class}\" style=\"--share:{:.0}%\"", share.abs() * STRONGEST);
            (
                style,
                [metric.value(score.mean), difference.map_or_else(String::new, |value| metric.signed(value))],
            )
        }
    };
    let y = if lines[1].is_empty() { 26 } else { 18 };
    let mut out = format!(
        "<td><svg height=\"42\"><rect {style} width=\"100%\" height=\"42\"/><text x=\"50%\" y=\"{y}\" \
         text-anchor=\"middle\">{}</text>",
        lines[0]
    );
    if !lines[1].is_empty() {
        put!(out, "<text class=\"small\" x=\"50%\" y=\"34\" text-anchor=\"middle\">{}</text>", lines[1]);
    }
    out + "</svg></td>"
}

/// How strongly a tile is coloured, −1 to 1: as a share of the largest gain or loss on this column.
fn intensity(view: &View<'_>, model: &str, column: Column<'_>, gain: f64) -> f64 {
    let Some(dense) = view.dense(model).and_then(|dense| dense.score(column)) else { return 0.0 };
    let compress = |metric: &Metric<'_>, value: f64| {
        // Perplexities may be thousands of times the dense model's.
        if metric.higher_is_better { value } else { value.signum() * (1.0 + value.abs()).ln() }
    };
    let gains = view.pruned(model).filter_map(|variant| Some(variant.score(column)?.mean - dense.mean));
    let gains = gains.filter(|gain| gain.is_finite()).map(|gain| compress(&column.metric, gain).abs());
    let largest = gains.fold(0.0, f64::max);
    let share = compress(&column.metric, gain) / largest;
    if share.is_nan() { 0.0 } else { share.clamp(-1.0, 1.0) }
}
