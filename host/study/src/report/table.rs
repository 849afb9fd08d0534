//! The table: a row for every variant, a column for every evaluation's every metric.

use super::{
    data::CellState,
    html::{Text, put, scrolling},
    metric::{Outcome, sparsity_title},
    plots::key,
    view::{Column, Variant, View},
};

/// One table for every model and sparsity, each led by the dense model.
pub(super) fn tables(view: &View<'_>) -> String {
    let mut out = String::new();
    for model in &view.models {
        let mut sparsities: Vec<_> = view.sparsities.iter().map(|sparsity| Some(*sparsity)).collect();
        if sparsities.is_empty() {
            sparsities.push(None);
        }
        for sparsity in sparsities {
            let title = match sparsity {
                Some(sparsity) => format!("{model}, {} of weights pruned", sparsity_title(sparsity)),
                None => (*model).to_owned(),
            };
            let rows: Vec<_> = view.pruned(model).filter(|variant| variant.sparsity == sparsity).collect();
            if !rows.is_empty() || sparsity.is_none() {
                put!(out, "<div class=\"panel\" data-model=\"{}\"", Text(model));
                if let Some(sparsity) = sparsity {
                    put!(out, " data-sparsity=\"{}\"", Text(sparsity));
                }
                put!(out, ">\n{}</div>\n", scrolling(&title, &table(view, model, &title, &rows)));
            }
        }
    }
    out
}

fn table(view: &View<'_>, model: &str, title: &str, rows: &[&Variant<'_>]) -> String {
    let columns = view.columns();
    let mut out = format!(
        "<table class=\"scores\">\n<caption>{}</caption>\n<thead><tr><th scope=\"col\" rowspan=\"2\">Variant</th>",
        Text(title)
    );
    for evaluation in view.report.evaluations.iter().filter(|evaluation| !evaluation.metrics.is_empty()) {
        put!(
            out,
            "<th scope=\"colgroup\" colspan=\"{}\">{} <span class=\"note\">{} items</span></th>",
            evaluation.metrics.len(),
            Text(&evaluation.name),
            evaluation.items
        );
    }
    out += "</tr>\n<tr>";
    for column in &columns {
        let arrow = if column.metric.higher_is_better { "↑" } else { "↓" };
        put!(
            out,
            "<th scope=\"col\">{} <span class=\"note\">{arrow}</span></th>",
            Text(column.metric.axis())
        );
    }
    out += "</tr></thead>\n<tbody>\n";
    let bests: Vec<_> = columns.iter().map(|column| best(rows, *column)).collect();
    for variant in view.dense(model).into_iter().chain(rows.iter().copied()) {
        let look = view.look(variant.method, variant.set.as_deref());
        put!(out, "<tr><th scope=\"row\">{}{}{}</th>", key(look), Text(variant.label), unfinished(variant));
        for (column, best) in columns.iter().zip(&bests) {
            out += &cell(view, variant, *column, best.as_deref());
        }
        out += "</tr>\n";
    }
    out + "</tbody></table>\n"
}

/// The best of the pruned variants' means, as it is shown, so that what reads the same is equally bold.
fn best(rows: &[&Variant<'_>], column: Column<'_>) -> Option<String> {
    let means = rows.iter().filter_map(|variant| Some(variant.score(column)?.mean));
    let finite = means.filter(|mean| mean.is_finite());
    let best = finite.max_by(|a, b| column.metric.gain(*a).total_cmp(&column.metric.gain(*b)))?;
    Some(column.metric.value(best))
}

/// How many of a variant's cells are not there, and links to them.
fn unfinished(variant: &Variant<'_>) -> String {
    let mut out = String::new();
    for cell in &variant.cells {
        let word = match cell.state {
            CellState::Done => continue,
            CellState::Failed => "failed",
            CellState::Missing => "missing",
        };
        let seed = cell.seed.map_or_else(String::new, |seed| format!("seed {seed} "));
        put!(out, " <a class=\"state {word}\" href=\"#cell-{}\">{seed}{word}</a>", Text(&cell.hash));
    }
    out
}

fn cell(view: &View<'_>, variant: &Variant<'_>, column: Column<'_>, best: Option<&str>) -> String {
    let metric = column.metric;
    let Some(score) = variant.score(column) else {
        let word = match () {
            () if variant.count(CellState::Failed) > 0 => "failed",
            () if variant.count(CellState::Missing) > 0 => "missing",
            () => "none",
        };
        return format!("<td class=\"{word}\"><span>{word}</span></td>");
    };
    let mean = metric.value(score.mean);
    let mut out = "<td>".to_owned();
    if variant.method.is_some() && best == Some(mean.as_str()) {
        put!(out, "<b>{mean}</b>");
    } else {
        out += &mean;
    }
    if let Some(spread) = score.spread {
        put!(out, " <span class=\"spread\">± {}</span>", metric.value(spread));
    }
    put!(out, "<span class=\"second\">{}</span></td>", second_line(view, variant, column, score.mean));
    out
}

/// Below a mean: the dense model's interval over items, or the difference from dense.
fn second_line(view: &View<'_>, variant: &Variant<'_>, column: Column<'_>, mean: f64) -> String {
    let metric = column.metric;
    if variant.method.is_none() {
        let cell = variant.cells.iter().find_map(|cell| cell.scores.get(column.evaluation)?.get(column.name));
        return cell.map_or_else(String::new, |cell| {
            format!("[{}, {}]", metric.value(cell.low), metric.value(cell.high))
        });
    }
    if let Some(difference) = view.difference(variant, column) {
        let undecided = metric.outcome(difference.low, difference.high) == Outcome::Undecided;
        let mark = if undecided { " <abbr title=\"no difference detected\">n.d.</abbr>" } else { "" };
        return format!("{}{mark}", metric.signed(difference.difference));
    }
    let dense = view.dense(variant.model).and_then(|dense| dense.score(column));
    dense.map_or_else(String::new, |dense| metric.signed(mean - dense.mean))
}
