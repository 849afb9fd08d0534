//! Properties of calibration data, and how they go together with results.

use super::quoted;
use crate::{
    Plan, Result,
    folder::{self, Folder},
    properties::{DataProperties, Property},
    report::{
        Correlation, CorrelationPoint, Holm, MeasuredProperty, Outcome, Report, ReportCell, ReportView,
        distinct,
    },
    spearman::{interval, p_value, spearman},
};
use std::{fmt::Write, path::PathBuf};

/// The fewest sets of which a correlation is told.
const SETS: usize = 4;

/// The file of the properties of calibration windows, by the hash of their selection.
pub(crate) fn properties_file(folder: &Folder, selection: &str) -> PathBuf {
    folder.selection(selection).join("properties.json")
}

/// Puts all properties that are known into the report, and how they go together with results.
pub(super) fn measure(plan: &Plan, folder: &Folder, report: &mut Report) -> Result<()> {
    let study = plan.study();
    let drawn = plan.cells().iter().filter_map(|cell| {
        let drawn = cell.variant.as_ref()?.calibration?;
        Some((cell.model, drawn.set, drawn.seed, plan.identities().selection(cell.model, drawn)))
    });
    for (model, set, seed, hash) in distinct(drawn) {
        let Some(found) = folder::read_sound::<DataProperties>(&properties_file(folder, &hash))? else {
            continue;
        };
        let property = |property, evaluation: Option<&str>, value| MeasuredProperty {
            model: study.models[model].name.clone(),
            calibration: study.calibrations[set].name.clone(),
            seed,
            property,
            evaluation: evaluation.map(str::to_owned),
            value,
        };
        for of in Property::ALL {
            report.properties.extend(found.values.get(&of).map(|&value| property(of, None, value)));
        }
        for (at, evaluation) in study.evaluations.iter().enumerate() {
            let overlap = found.overlap.get(&plan.identities().evaluation(at)).copied().flatten();
            report
                .properties
                .extend(overlap.map(|value| property(Property::Overlap, Some(evaluation.name()), value)));
        }
    }
    report.correlations = correlations(report);
    Ok(())
}

/// Every property with every result, for every method at every sparsity.
fn correlations(report: &Report) -> Vec<Correlation> {
    let view = ReportView::new(report);
    let mut all = Vec::new();
    for &model in &view.models {
        for &method in &view.methods {
            for &sparsity in &view.sparsities {
                let variants: Vec<_> = view
                    .pruned(model)
                    .filter(|variant| variant.method == Some(method) && variant.sparsity == Some(sparsity))
                    .collect();
                for outcome in outcomes(report) {
                    for property in Property::ALL {
                        let points: Vec<_> = variants
                            .iter()
                            .filter_map(|variant| point(report, &variant.cells, property, &outcome))
                            .collect();
                        if !points.is_empty() {
                            all.push(Correlation {
                                model: model.to_owned(),
                                method: method.to_owned(),
                                sparsity,
                                property,
                                outcome: outcome.clone(),
                                rho: rho(&points),
                                interval: rho(&points).and_then(|rho| interval(rho, points.len())),
                                points,
                                stands: false,
                            });
                        }
                    }
                }
            }
        }
    }
    let claimed = |one: &Correlation| {
        let rho = one.rho.filter(|_| one.points.len() >= Correlation::SETS_TO_CLAIM)?;
        Some(p_value(rho, one.points.len()))
    };
    let holm = Holm::of(all.iter().filter_map(claimed));
    for one in &mut all {
        one.stands = claimed(one).is_some_and(|p| holm.stands(p));
    }
    all
}

fn rho(points: &[CorrelationPoint]) -> Option<f64> {
    let pairs: Vec<_> = points.iter().map(|point| (point.property, point.outcome)).collect();
    if pairs.len() < SETS { None } else { spearman(&pairs) }
}

/// The groups of evaluations, and the evaluations that are in none.
fn outcomes(report: &Report) -> Vec<Outcome> {
    distinct(report.evaluations.iter().filter_map(|evaluation| match &evaluation.group {
        Some(group) => Some(Outcome::Retention(group.clone())),
        None => {
            let metric = *evaluation.metrics.first()?;
            Some(Outcome::Score { evaluation: evaluation.name.clone(), metric })
        }
    }))
}

/// A calibration set: the means over those of its seeds of which both values are known.
fn point(
    report: &Report,
    cells: &[&ReportCell],
    property: Property,
    outcome: &Outcome,
) -> Option<CorrelationPoint> {
    let values: Vec<_> = cells
        .iter()
        .filter_map(|cell| Some((of_data(report, cell, property, outcome)?, of_result(cell, outcome)?)))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let mean = |of: fn(&(f64, f64)) -> f64| values.iter().map(of).sum::<f64>() / values.len() as f64;
    (!values.is_empty()).then(|| CorrelationPoint {
        calibration: cells[0].calibration.clone().unwrap_or_default(),
        property: mean(|pair| pair.0),
        outcome: mean(|pair| pair.1),
    })
}

/// A property of the data that a cell was calibrated with; an overlap with the evaluations of a result, on average.
fn of_data(report: &Report, cell: &ReportCell, property: Property, outcome: &Outcome) -> Option<f64> {
    let is_of_outcome = |evaluation: &str| match outcome {
        Outcome::Score { evaluation: own, .. } => own == evaluation,
        Outcome::Retention(group) => report
            .evaluations
            .iter()
            .any(|one| one.name == evaluation && one.group.as_deref() == Some(group.as_str())),
    };
    let values: Vec<f64> = report
        .properties
        .iter()
        .filter(|one| {
            one.property == property
                && one.model == cell.model
                && Some(&one.calibration) == cell.calibration.as_ref()
                && Some(one.seed) == cell.seed
                && one.evaluation.as_deref().is_none_or(is_of_outcome)
        })
        .map(|one| one.value)
        .collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn of_result(cell: &ReportCell, outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Retention(group) => Some(cell.retention.get(group)?.share),
        Outcome::Score { evaluation, metric } => Some(cell.scores.get(evaluation)?.get(metric)?.mean),
    }
}

/// Writes `properties.csv` and `correlations.csv`, if the study calibrates.
pub(super) fn write(folder: &Folder, report: &Report) -> Result<()> {
    if report.properties.is_empty() {
        return Ok(());
    }
    let write = |name: &str, text: String| folder::write(&folder.path(name), text.as_bytes());
    write("properties.csv", properties_csv(report))?;
    write("correlations.csv", correlations_csv(report))
}

/// A property a line; the evaluation is that of an overlap.
fn properties_csv(report: &Report) -> String {
    let mut text = String::from("model,calibration,seed,property,evaluation,value\n");
    for one in &report.properties {
        let MeasuredProperty { model, calibration, seed, property, evaluation, value } = one;
        let evaluation = quoted(evaluation.as_deref().unwrap_or(""));
        let _ = writeln!(
            text,
            "{},{},{seed},{},{evaluation},{value}",
            quoted(model),
            quoted(calibration),
            property.name()
        );
    }
    text
}

/// A correlation a line; `rho` is empty where there are too few sets, or all are alike.
fn correlations_csv(report: &Report) -> String {
    let mut text = String::from("model,method,sparsity,property,of,metric,sets,rho,low,high,stands\n");
    for one in &report.correlations {
        let (of, metric) = match &one.outcome {
            Outcome::Retention(group) => (group, "retention"),
            Outcome::Score { evaluation, metric } => (evaluation, metric.name()),
        };
        let or_nothing = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let _ = writeln!(
            text,
            "{},{},{},{},{},{metric},{},{},{},{},{}",
            quoted(&one.model),
            quoted(&one.method),
            one.sparsity,
            one.property.name(),
            quoted(of),
            one.points.len(),
            or_nothing(one.rho),
            or_nothing(one.interval.map(|ends| ends.0)),
            or_nothing(one.interval.map(|ends| ends.1)),
            one.stands
        );
    }
    text
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
