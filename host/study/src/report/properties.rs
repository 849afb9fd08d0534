//! Properties of calibration sets in a table, and their correlations with results in another.

use super::{
    data::{Correlation, Outcome},
    metric::{MetricFormat, number, sparsity_title},
    view::{ReportView, distinct},
};
use crate::properties::Property;
use espalier_sdk::Sparsity;
use serde::Serialize;

/// Everything that is told of calibration data.
#[derive(Serialize)]
pub(crate) struct DataSection<'a> {
    /// What the correlations say, in words.
    pub(crate) summary: String,
    pub(crate) tables: Vec<PropertyTable<'a>>,
    pub(crate) correlations: Vec<CorrelationTable<'a>>,
}

/// The properties of the sets of one model.
#[derive(Serialize)]
pub(crate) struct PropertyTable<'a> {
    pub(crate) model: &'a str,
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    /// Sets with a value for every column.
    pub(crate) rows: Vec<(&'a str, Vec<String>)>,
}

/// The correlations of one model, method and sparsity.
#[derive(Serialize)]
pub(crate) struct CorrelationTable<'a> {
    pub(crate) model: &'a str,
    pub(crate) sparsity: Sparsity,
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<(String, Vec<CorrelationCell>)>,
}

/// One correlation.
#[derive(Serialize)]
pub(crate) struct CorrelationCell {
    pub(crate) rho: Option<String>,
    pub(crate) interval: Option<String>,
    pub(crate) sets: usize,
    pub(crate) stands: bool,
}

/// What is told of calibration data, if their properties are known.
pub(crate) fn data<'a>(view: &ReportView<'a>) -> Option<DataSection<'a>> {
    let tables: Vec<_> = view.models.iter().filter_map(|&model| table(view, model)).collect();
    (!tables.is_empty()).then(|| DataSection {
        summary: summary(view),
        tables,
        correlations: correlation_tables(view),
    })
}

/// The means over seeds.
fn table<'a>(view: &ReportView<'a>, model: &'a str) -> Option<PropertyTable<'a>> {
    let own: Vec<_> = view.report.properties.iter().filter(|one| one.model == model).collect();
    let columns = distinct(own.iter().map(|one| (one.property, one.evaluation.as_deref())));
    let mut columns: Vec<_> = columns.into_iter().collect();
    columns.sort_by_key(|(property, _)| *property);
    let row = |set: &'a str| {
        let values = columns.iter().map(|column| {
            let values = own.iter().filter(|one| one.calibration == set);
            let values: Vec<f64> = values
                .filter(|one| (one.property, one.evaluation.as_deref()) == *column)
                .map(|one| one.value)
                .collect();
            if values.is_empty() {
                return "–".to_owned();
            }
            shown(column.0, values.iter().sum::<f64>() / values.len() as f64)
        });
        (set, values.collect())
    };
    let rows: Vec<_> =
        distinct(own.iter().map(|one| one.calibration.as_str())).into_iter().map(row).collect();
    let head = |(property, evaluation): &(Property, Option<&str>)| match evaluation {
        Some(evaluation) => format!("Overlap with {evaluation} (%)"),
        None => axis(*property),
    };
    (!rows.is_empty()).then(|| PropertyTable {
        model,
        title: format!("Calibration data{}", view.of_model(model)),
        columns: columns.iter().map(head).collect(),
        rows,
    })
}

/// A property with its unit.
pub(crate) fn axis(property: Property) -> String {
    property
        .unit()
        .map_or_else(|| property.title().to_owned(), |unit| format!("{} ({unit})", property.title()))
}

/// A value as it is shown, without its unit.
pub(crate) fn shown(property: Property, value: f64) -> String {
    number(property.scaled(value), if property == Property::MeanLength { 0 } else { 2 })
}

/// A result in words.
pub(crate) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Retention(group) => format!("retention of {group}"),
        Outcome::Score { evaluation, metric } => {
            format!("{} on {evaluation}", MetricFormat::of(*metric).title)
        }
    }
}

/// A warning where less of a result is better.
pub(crate) fn direction(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Score { metric, .. } if !metric.higher_is_better() => " (less is better)",
        _ => "",
    }
}

fn correlation_tables<'a>(view: &ReportView<'a>) -> Vec<CorrelationTable<'a>> {
    let all = &view.report.correlations;
    let ways = distinct(all.iter().map(|one| (one.model.as_str(), one.method.as_str(), one.sparsity)));
    let table = |(model, method, sparsity): (&'a str, &'a str, Sparsity)| {
        let own: Vec<_> = all
            .iter()
            .filter(|one| {
                (one.model.as_str(), one.method.as_str(), one.sparsity) == (model, method, sparsity)
            })
            .collect();
        let row = |outcome: &'a Outcome| {
            let cells = Property::ALL.iter().map(|property| {
                let found = own.iter().find(|one| one.property == *property && one.outcome == *outcome);
                CorrelationCell {
                    rho: found.and_then(|one| one.rho).map(|rho| number(rho, 2)),
                    interval: found.and_then(|one| interval(one)),
                    sets: found.map_or(0, |one| one.points.len()),
                    stands: found.is_some_and(|one| one.stands),
                }
            });
            (outcome_words(outcome) + direction(outcome), cells.collect())
        };
        // Of too few sets there is nothing to tell.
        own.iter().any(|one| one.rho.is_some()).then(|| CorrelationTable {
            model,
            sparsity,
            title: format!("{method} at {}{}", sparsity_title(sparsity), view.of_model(model)),
            columns: Property::ALL.map(Property::title).to_vec(),
            rows: distinct(own.iter().map(|one| &one.outcome)).into_iter().map(row).collect(),
        })
    };
    ways.into_iter().filter_map(table).collect()
}

/// A correlation's interval in brackets.
pub(crate) fn interval(one: &Correlation) -> Option<String> {
    one.interval.map(|(low, high)| format!("[{}, {}]", number(low, 2), number(high, 2)))
}

/// What the correlations say, as far as they say anything.
fn summary(view: &ReportView<'_>) -> String {
    let all = &view.report.correlations;
    let needed = Correlation::SETS_TO_CLAIM;
    let most = all.iter().map(|one| one.points.len()).max().unwrap_or(0);
    if most < needed {
        let sets =
            if most == 1 { "1 calibration set".to_owned() } else { format!("{most} calibration sets") };
        return format!(
            "Results are known of {sets}, and no correlation is claimed of fewer than {needed}: this study cannot say which \
             property of calibration data goes together with what is kept."
        );
    }
    let tested = all.iter().filter(|one| one.points.len() >= needed && one.rho.is_some()).count();
    let standing: Vec<_> = all.iter().filter(|one| one.stands).collect();
    let what = |one: &&Correlation| {
        format!(
            "{} and {} with {} at {}{} (ρ = {}{}, {} sets)",
            one.property.title().to_lowercase(),
            outcome_words(&one.outcome) + direction(&one.outcome),
            one.method,
            sparsity_title(one.sparsity),
            view.of_model(&one.model),
            number(one.rho.unwrap_or(f64::NAN), 2),
            interval(one).map_or_else(String::new, |interval| format!(" {interval}")),
            one.points.len()
        )
    };
    let counted = format!("Of {tested} correlations over {needed} calibration sets or more");
    match standing.as_slice() {
        [] => format!("{counted}, none stands after Holm’s correction."),
        some => {
            let verb = if some.len() == 1 { "stands" } else { "stand" };
            let list: Vec<_> = some.iter().map(what).collect();
            format!(
                "{counted}, {} {verb} after Holm’s correction: {}. That two things go together does not say that one makes the \
                 other.",
                some.len(),
                list.join("; ")
            )
        }
    }
}
