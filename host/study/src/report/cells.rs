//! Every cell of the matrix: its state at a glance, and the command that reproduces it.

use super::{
    data::{Cell, CellState},
    html::{Text, command, pre, put, scrolling},
    metric::{Metric, duration, sparsity_title},
    plots::key,
    view::{View, distinct},
};

/// Variants against seeds, every cell a link to its box.
pub(super) fn overview(view: &View<'_>) -> String {
    let seeds = distinct(view.report.cells.iter().map(|cell| cell.seed));
    let mut table = "<table class=\"states\">\n<caption>Cells by variant and seed</caption>\n<thead><tr><th \
                     scope=\"col\">Variant</th>"
        .to_owned();
    for seed in &seeds {
        let title = seed.map_or_else(|| "no seed".to_owned(), |seed| format!("seed {seed}"));
        put!(table, "<th scope=\"col\">{title}</th>");
    }
    table += "</tr></thead>\n<tbody>\n";
    for variant in &view.variants {
        let name = view.name(variant.label, variant.sparsity) + &view.of_model(variant.model);
        let look = view.look(variant.method, variant.set.as_deref());
        put!(table, "<tr><th scope=\"row\">{}{}</th>", key(look), Text(name));
        for seed in &seeds {
            match variant.cells.iter().find(|cell| cell.seed == *seed) {
                None => table += "<td></td>",
                Some(cell) => {
                    let class = word(cell.state);
                    let text = match (cell.state, cell.seconds) {
                        (CellState::Done, Some(seconds)) => format!("done, {}", duration(seconds)),
                        (state, _) => word(state).to_owned(),
                    };
                    let link = Text(&cell.hash);
                    put!(table, "<td class=\"{class}\"><a href=\"#cell-{link}\">{text}</a></td>");
                }
            }
        }
        table += "</tr>\n";
    }
    table += "</tbody></table>\n";
    scrolling("Cells by variant and seed", &table)
}

/// A box for every cell: its command, its error, and its scores.
pub(super) fn boxes(view: &View<'_>) -> String {
    let mut out = "<div class=\"cells\">\n".to_owned();
    for cell in &view.report.cells {
        put!(
            out,
            "<details id=\"cell-{}\" class=\"cell {}\"><summary><b>{}</b> <span class=\"state {1}\">{1}</span> <code>{}</code>\
             </summary>\n",
            Text(&cell.hash),
            word(cell.state),
            Text(title(view, cell)),
            Text(cell.hash.chars().take(12).collect::<String>())
        );
        out += &command(&format!("Command of cell {}", cell.hash), &cell.command);
        if let Some(error) = &cell.error {
            put!(out, "<p>It failed:</p>\n{}", pre("Error", error));
        }
        out += &facts(cell);
        out += &scores(cell);
        out += "</details>\n";
    }
    out + "</div>\n"
}

fn word(state: CellState) -> &'static str {
    match state {
        CellState::Done => "done",
        CellState::Failed => "failed",
        CellState::Missing => "missing",
    }
}

fn title(view: &View<'_>, cell: &Cell) -> String {
    let mut title = cell.label.clone();
    if let (Some(sparsity), Some(_)) = (&cell.sparsity, &cell.method) {
        title += &format!(" at {}", sparsity_title(sparsity));
    }
    if let Some(seed) = cell.seed {
        title += &format!(", seed {seed}");
    }
    title + &view.of_model(&cell.model)
}

fn facts(cell: &Cell) -> String {
    let mut facts = vec![("model", cell.model.clone())];
    let texts = [
        ("method", &cell.method),
        ("sparsity asked for", &cell.sparsity),
        ("calibration", &cell.calibration),
        ("selector", &cell.selector),
    ];
    facts.extend(texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    facts.extend(cell.reached.map(|reached| ("sparsity reached", format!("{:.2}%", reached * 100.0))));
    facts.extend(cell.seconds.map(|seconds| ("time", duration(seconds))));
    let mut out = "<dl class=\"facts\">\n".to_owned();
    for (name, value) in facts {
        put!(out, "<div><dt>{name}</dt><dd>{}</dd></div>\n", Text(value));
    }
    out + "</dl>\n"
}

fn scores(cell: &Cell) -> String {
    if cell.scores.values().all(|metrics| metrics.is_empty()) {
        return String::new();
    }
    let mut table = "<table class=\"plain\">\n<caption>Scores of this cell</caption>\n<thead><tr><th \
                     scope=\"col\">Evaluation</th><th scope=\"col\">Metric</th><th scope=\"col\">Mean</th><th scope=\"col\">95% \
                     interval over items</th><th scope=\"col\">Items</th></tr></thead>\n<tbody>\n"
        .to_owned();
    for (evaluation, metrics) in &cell.scores {
        for (name, score) in metrics {
            let metric = Metric::named(name);
            put!(
                table,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>[{}, {}]</td><td>{}</td></tr>\n",
                Text(evaluation),
                Text(metric.axis()),
                metric.value(score.mean),
                metric.value(score.low),
                metric.value(score.high),
                score.items
            );
        }
    }
    table += "</tbody></table>\n";
    scrolling(&format!("Scores of cell {}", cell.hash), &table)
}
