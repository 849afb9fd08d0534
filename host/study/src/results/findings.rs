//! What follows the tables of scores in `table.md`: what comparisons would take to be decided, the properties of calibration
//! data, and what is still missing.

use super::table::lay_out;
use crate::report::{ReportView, assumptions, data, missing, undecided};
use espalier_base::text::markdown;
use std::fmt::Write;

/// Writes all that there is.
pub(super) fn render(text: &mut String, view: &ReportView) {
    properties(text, view);
    power(text, view);
    let Some(missing) = missing(view) else { return };
    let _ = write!(text, "\n## Still missing\n\n{}\n\n", missing.summary);
    for variant in missing.variants {
        let _ = writeln!(text, "- {}", markdown(&variant));
    }
}

fn power(text: &mut String, view: &ReportView) {
    let groups = undecided(view);
    if groups.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## What it would take to decide\n\nComparisons that were not decided, and how many items or seeds would tell a \
         difference of the size that was seen, which may itself be chance, {}.\n",
        assumptions(view)
    );
    for group in groups {
        let _ = write!(text, "\n{}:\n\n", markdown(&group.title));
        for one in group.comparisons {
            let _ = writeln!(text, "- {}: {}: {}", markdown(&one.what), one.seen, one.needed);
        }
    }
}

fn properties(text: &mut String, view: &ReportView) {
    let Some(data) = data(view) else { return };
    for table in data.tables {
        let _ = write!(text, "\n## {}\n\n", markdown(&table.title));
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(table.columns.iter().map(|column| markdown(column)));
        rows.extend(table.rows.iter().map(|(set, values)| {
            let mut row = vec![markdown(set)];
            row.extend(values.iter().cloned());
            row
        }));
        lay_out(text, &rows);
    }
    let _ = write!(text, "\nMeans over seeds. {}\n", markdown(&data.summary));
    for table in data.correlations {
        let _ = write!(text, "\nSpearman’s ρ, {}:\n\n", markdown(&table.title));
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(table.columns.iter().map(|column| markdown(column)));
        rows.extend(table.rows.iter().map(|(outcome, cells)| {
            let mut row = vec![markdown(outcome)];
            row.extend(cells.iter().map(|cell| match &cell.rho {
                None => "–".to_owned(),
                Some(rho) => {
                    let rho = if cell.stands { format!("**{rho}**") } else { rho.clone() };
                    let interval = cell.interval.as_deref().unwrap_or("no interval");
                    format!("{rho} {interval}, n = {}", cell.sets)
                }
            }));
            row
        }));
        lay_out(text, &rows);
    }
}
