//! Comparisons over the same items: pruned models against the dense one, task calibration against plain text,
//! and one method's gain from it against another's.

use super::{
    collect::{PREDICTIONS, evaluation_folder},
    predictions,
};
use crate::{
    Cell, Plan, Result, Variant,
    folder::Folder,
    report::{CalibrationKind, CellState, Difference, Gain, Report, distinct},
};
use espalier_evaluate::{Item, Metric, Score, contrast};
use espalier_sdk::Sparsity;

/// The scores of all items in every cell that has them: of one evaluation and one metric.
struct Scored<'a> {
    plan: &'a Plan<'a>,
    model: usize,
    metric: Metric,
    cells: Vec<(&'a Cell, Vec<Score>)>,
}

/// The terms of a sum: shares of means over the same items.
type Terms<'a> = Vec<(f64, &'a [Score])>;

/// One way to prune, whatever the seed.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct PruningWay {
    pub(super) method: usize,
    pub(super) sparsity: Sparsity,
    pub(super) set: Option<usize>,
}

impl PruningWay {
    pub(super) fn of(variant: &Variant) -> Self {
        Self {
            method: variant.method,
            sparsity: variant.sparsity,
            set: variant.calibration.map(|drawn| drawn.set),
        }
    }
}

/// Puts all comparisons into the report.
pub(super) fn compare(plan: &Plan, folder: &Folder, report: &mut Report) -> Result<()> {
    let done: Vec<&Cell> = plan
        .cells()
        .iter()
        .zip(&report.cells)
        .filter(|(_, found)| found.state == CellState::Done)
        .map(|(cell, _)| cell)
        .collect();
    for model in 0..plan.study().models.len() {
        for (evaluation, of) in plan.study().evaluations.iter().enumerate() {
            let read = |cell: &&'_ Cell| -> Result<Vec<Item>> {
                let home = evaluation_folder(plan, &folder.cell(&cell.hash), evaluation);
                predictions::read(&home.join(PREDICTIONS), usize::MAX)
            };
            let cells: Vec<&Cell> = done.iter().copied().filter(|cell| cell.model == model).collect();
            let items = cells.iter().map(read).collect::<Result<Vec<_>>>()?;
            for &metric in &of.task.metrics {
                let scores = |items: &Vec<Item>| items.iter().map(|item| item.score(metric)).collect();
                let cells = cells.iter().copied().zip(items.iter().map(scores)).collect();
                let scored = Scored { plan, model, metric, cells };
                scored.differences(of.name(), report)?;
                scored.gains(of.name(), report)?;
            }
        }
    }
    Ok(())
}

impl Scored<'_> {
    /// The ways of pruning that have scores, in the order of the study.
    fn ways(&self) -> Vec<PruningWay> {
        distinct(self.cells.iter().filter_map(|(cell, _)| cell.variant.as_ref()).map(PruningWay::of))
    }

    /// The mean over a way's seeds, taken `share` times.
    fn seeds(&self, way: PruningWay, share: f64) -> Terms<'_> {
        let is_way =
            |cell: &Cell| cell.variant.as_ref().is_some_and(|variant| PruningWay::of(variant) == way);
        let found: Vec<_> = self.cells.iter().filter(|(cell, _)| is_way(cell)).collect();
        let share = share / found.len() as f64;
        found.into_iter().map(|(_, scores)| (share, scores.as_slice())).collect()
    }

    /// Every way of pruning against the dense model.
    fn differences(&self, evaluation: &str, report: &mut Report) -> Result<()> {
        let study = self.plan.study();
        let Some((dense, scores)) = self.cells.iter().find(|(cell, _)| cell.variant.is_none()) else {
            return Ok(());
        };
        let dense_mean = espalier_evaluate::mean(self.metric, scores).mean;
        for way in self.ways() {
            let mut terms = self.seeds(way, 1.0);
            let seeds = terms.len();
            terms.push((-1.0, scores));
            let found = contrast(self.metric, &terms)?;
            report.differences.push(Difference {
                model: study.models[dense.model].name.clone(),
                label: self.plan.row(way.method, way.set),
                method: study.methods[way.method].name.clone(),
                sparsity: way.sparsity,
                calibration: way.set.map(|set| study.calibrations[set].name.clone()),
                evaluation: evaluation.to_owned(),
                metric: self.metric,
                dense: dense_mean,
                mean: dense_mean + found.difference,
                difference: found.difference,
                low: found.low,
                high: found.high,
                seeds,
            });
        }
        Ok(())
    }

    /// Task calibration against plain text, for each method and for each two of them.
    fn gains(&self, evaluation: &str, report: &mut Report) -> Result<()> {
        let study = self.plan.study();
        let of_kind = |kind: CalibrationKind| {
            let sets = study.calibrations.iter().enumerate().filter(move |(_, set)| set.kind == kind);
            sets.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let ways = self.ways();
        for task in of_kind(CalibrationKind::Task) {
            for plain in of_kind(CalibrationKind::PlainText) {
                let with = |way: &PruningWay, set: usize| PruningWay { set: Some(set), ..*way };
                let both = |way: &&PruningWay| way.set == Some(task) && ways.contains(&with(way, plain));
                let of_task: Vec<PruningWay> = ways.iter().filter(both).copied().collect();
                let terms = |way: &PruningWay, share: f64| {
                    let mut terms = self.seeds(*way, share);
                    terms.extend(self.seeds(with(way, plain), -share));
                    terms
                };
                let gain = |way: &PruningWay, against: Option<&PruningWay>| -> Result<Gain> {
                    let mut all = terms(way, 1.0);
                    all.extend(against.iter().flat_map(|against| terms(against, -1.0)));
                    let found = contrast(self.metric, &all)?;
                    let method = |way: &PruningWay| study.methods[way.method].name.clone();
                    Ok(Gain {
                        model: study.models[self.model].name.clone(),
                        method: method(way),
                        against: against.map(method),
                        sparsity: way.sparsity,
                        plain: study.calibrations[plain].name.clone(),
                        task: study.calibrations[task].name.clone(),
                        evaluation: evaluation.to_owned(),
                        metric: self.metric,
                        difference: found.difference,
                        low: found.low,
                        high: found.high,
                        seeds: self.seeds(*way, 1.0).len(),
                    })
                };
                for (place, way) in of_task.iter().enumerate() {
                    report.gains.push(gain(way, None)?);
                    for other in of_task[place + 1..].iter().filter(|other| other.sparsity == way.sparsity) {
                        report.contrasts.push(gain(way, Some(other))?);
                    }
                }
            }
        }
        Ok(())
    }
}
