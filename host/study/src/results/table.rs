//! The table of the founding question, in Markdown: rows of variants, columns of metrics, one table for every
//! model and sparsity.

use super::findings;
use crate::report::{CellState, Column, Report, ReportVariant, ReportView, distinct, sparsity_title};
use espalier_base::text::markdown;
use espalier_evaluate::Metric;
use espalier_sdk::Sparsity;
use std::fmt::Write;

/// The table, or tables.
pub(super) fn render(report: &Report) -> String {
    let view = ReportView::new(report);
    let mut text = format!("# {}\n", markdown(&report.title));
    for &model in &view.models {
        let mut sparsities: Vec<Option<Sparsity>> = view.sparsities.iter().copied().map(Some).collect();
        if sparsities.is_empty() {
            sparsities.push(None);
        }
        for sparsity in sparsities {
            let pruned: Vec<_> = view.pruned(model).filter(|variant| variant.sparsity == sparsity).collect();
            if sparsity.is_some() && pruned.is_empty() {
                continue;
            }
            let of = sparsity
                .map_or_else(String::new, |sparsity| format!(", {} pruned", sparsity_title(sparsity)));
            let _ = write!(text, "\n## {}{of}\n\n", markdown(model));
            table(&mut text, &view, view.dense(model), &pruned);
        }
    }
    text.push_str(
        "\nMeans over seeds ± their standard deviation, and behind them the difference from the dense model; the best \
         pruned model of a column is in bold.\n",
    );
    retention(&mut text, &view);
    findings::render(&mut text, &view);
    text
}

/// What is kept of each ability, if evaluations are in groups.
fn retention(text: &mut String, view: &ReportView) {
    let all = &view.report.retentions;
    if all.is_empty() {
        return;
    }
    let groups = distinct(all.iter().map(|one| one.group.as_str()));
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(groups.iter().map(|group| markdown(group)));
    for (model, label, sparsity) in distinct(all.iter().map(|one| (&one.model, &one.label, one.sparsity))) {
        let mut row =
            vec![markdown(&format!("{label}, {} pruned{}", sparsity_title(sparsity), view.of_model(model)))];
        row.extend(groups.iter().map(|group| {
            let found = all.iter().find(|one| {
                (&one.model, &one.label, one.sparsity, one.group.as_str()) == (model, label, sparsity, *group)
            });
            match found.map(|one| one.retention) {
                None => "missing".to_owned(),
                Some(kept) if kept.share.is_nan() => "at chance".to_owned(),
                Some(kept) => {
                    kept.interval().map_or_else(|| kept.percent(), |it| format!("{} {it}", kept.percent()))
                }
            }
        }));
        rows.push(row);
    }
    text.push_str("\n## Abilities kept\n\n");
    lay_out(text, &rows);
    text.push_str(
        "\nScores of a group of evaluations as a share of the dense model's, chance taken off both, seeds averaged, with the 95% \
         interval over items.\n",
    );
}

fn table(text: &mut String, view: &ReportView, dense: Option<&ReportVariant>, pruned: &[&ReportVariant]) {
    let columns = view.columns();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(columns.iter().map(|column| format!("{} {}", markdown(column.evaluation), short(column))));
    let best: Vec<_> = columns.iter().map(|&column| best(column, pruned)).collect();
    for variant in dense.into_iter().chain(pruned.iter().copied()) {
        let mut row = vec![markdown(variant.label)];
        for (&column, best) in columns.iter().zip(&best) {
            let of_dense = dense.filter(|dense| dense.label != variant.label);
            let best = best.as_deref().filter(|_| pruned.iter().any(|pruned| pruned.label == variant.label));
            row.push(score(variant, column, of_dense, best));
        }
        rows.push(row);
    }
    lay_out(text, &rows);
}

/// Writes rows, of which the first is the head, in columns.
pub(super) fn lay_out(text: &mut String, rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for (place, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        if place == 0 {
            let lines = widths.iter().enumerate().map(|(at, &width)| match at {
                0 => "-".repeat(width.max(1)),
                _ => format!("{}:", "-".repeat(width.saturating_sub(1).max(1))),
            });
            let _ = writeln!(text, "| {} |", lines.collect::<Vec<_>>().join(" | "));
        }
    }
}

/// A metric's title in a column's head.
fn short(column: &Column) -> &'static str {
    match column.metric {
        Metric::ExactMatch => "EM",
        Metric::Perplexity => "ppl",
        Metric::AnswerPerplexity => "answer ppl",
        _ => column.format.title,
    }
}

/// A score with its spread and its difference from the dense model's.
fn score(
    variant: &ReportVariant,
    column: Column,
    dense: Option<&ReportVariant>,
    best: Option<&str>,
) -> String {
    let failed = variant.cells.iter().any(|cell| cell.state == CellState::Failed);
    let Some(score) = variant.score(column) else {
        return if failed { "failed" } else { "missing" }.to_owned();
    };
    let metric = column.format;
    let mut text = metric.value(score.mean);
    if best == Some(&text) {
        text = format!("**{text}**");
    }
    if let Some(spread) = score.spread {
        let _ = write!(text, " ± {}", metric.value(spread));
    }
    if let Some(dense) = dense.and_then(|dense| dense.score(column)) {
        let _ = write!(text, " ({})", metric.signed(score.mean - dense.mean));
    }
    let due = variant.cells.len();
    if score.seeds.len() < due {
        let _ = write!(text, " [{} of {due}]", score.seeds.len());
    }
    text
}

/// The best mean of a column as it is shown, so that what looks equal is equal.
fn best(column: Column, pruned: &[&ReportVariant]) -> Option<String> {
    let metric = column.format;
    let means = pruned.iter().filter_map(|variant| variant.score(column)).map(|score| score.mean);
    let best =
        means.filter(|mean| !mean.is_nan()).reduce(|a, b| if metric.gain(a - b) >= 0.0 { a } else { b });
    best.filter(|_| pruned.len() > 1).map(|best| metric.value(best))
}
