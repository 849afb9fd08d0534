//! How much of each ability is kept: by groups of evaluations, for every cell and for every way of pruning.

use super::{
    collect::{PREDICTIONS, evaluation_folder},
    paired::PruningWay,
    predictions,
};
use crate::{
    Cell, Plan, Result,
    folder::Folder,
    report::{AbilityRetention, CellState, Report, distinct},
};
use espalier_evaluate::{Item, Metric, Retention, RetentionPart, Score, chance, retention};

/// The items of one evaluation in every cell of a model that is done, by the evaluation's first metric.
struct ScoredEvaluation<'a> {
    metric: Metric,
    chance: f64,
    /// By the cell's place in the plan.
    cells: Vec<(usize, &'a Cell, Vec<Score>)>,
}

impl ScoredEvaluation<'_> {
    fn dense(&self) -> Option<&[Score]> {
        self.cells.iter().find(|(_, cell, _)| cell.variant.is_none()).map(|(_, _, scores)| scores.as_slice())
    }

    /// The part of it in the retention of the cells that are wanted.
    fn part(&self, wanted: impl Fn(usize, &Cell) -> bool) -> Option<RetentionPart<'_>> {
        let pruned = self.cells.iter().filter(|(place, cell, _)| wanted(*place, cell));
        let pruned: Vec<_> = pruned.map(|(_, _, scores)| scores.as_slice()).collect();
        let dense = self.dense().filter(|_| !pruned.is_empty())?;
        Some(RetentionPart { metric: self.metric, chance: self.chance, dense, pruned })
    }
}

/// Puts the retention of every group into the report.
pub(super) fn measure(plan: &Plan, folder: &Folder, report: &mut Report) -> Result<()> {
    let study = plan.study();
    let groups = distinct(study.evaluations.iter().filter_map(|evaluation| evaluation.group.as_deref()));
    for model in 0..study.models.len() {
        for &group in &groups {
            let members = (0..study.evaluations.len())
                .filter(|&at| study.evaluations[at].group.as_deref() == Some(group))
                .map(|at| scored(plan, folder, report, model, at))
                .collect::<Result<Vec<_>>>()?;
            of_group(plan, report, model, group, &members)?;
        }
    }
    Ok(())
}

/// Reads an evaluation's items of a model.
fn scored<'a>(
    plan: &'a Plan,
    folder: &Folder,
    report: &Report,
    model: usize,
    at: usize,
) -> Result<ScoredEvaluation<'a>> {
    let metric = plan.study().evaluations[at].task.metrics[0];
    let mut found = ScoredEvaluation { metric, chance: 0.0, cells: Vec::new() };
    for (place, (cell, reported)) in plan.cells().iter().zip(&report.cells).enumerate() {
        if cell.model != model || reported.state != CellState::Done {
            continue;
        }
        let home = evaluation_folder(plan, &folder.cell(&cell.hash), at);
        let items: Vec<Item> = predictions::read(&home.join(PREDICTIONS), usize::MAX)?;
        if cell.variant.is_none() {
            found.chance = chance(metric, &items);
        }
        found.cells.push((place, cell, items.iter().map(|item| item.score(metric)).collect()));
    }
    Ok(found)
}

fn of_group(
    plan: &Plan,
    report: &mut Report,
    model: usize,
    group: &str,
    members: &[ScoredEvaluation],
) -> Result<()> {
    let study = plan.study();
    let of = |wanted: &dyn Fn(usize, &Cell) -> bool| -> Result<Option<Retention>> {
        let parts: Option<Vec<_>> = members.iter().map(|member| member.part(wanted)).collect();
        parts.map(|parts| retention(&parts)).transpose().map_err(Into::into)
    };
    let mut ways: Vec<(PruningWay, usize)> = Vec::new();
    for (place, cell) in plan.cells().iter().enumerate().filter(|(_, cell)| cell.model == model) {
        let Some(variant) = &cell.variant else { continue };
        let Some(found) = of(&|other, _| other == place)? else { continue };
        report.cells[place].retention.insert(group.to_owned(), found);
        let way = PruningWay::of(variant);
        match ways.iter_mut().find(|(known, _)| *known == way) {
            Some((_, seeds)) => *seeds += 1,
            None => ways.push((way, 1)),
        }
    }
    for (way, seeds) in ways {
        let is_way =
            |_: usize, cell: &Cell| cell.variant.as_ref().is_some_and(|it| PruningWay::of(it) == way);
        let Some(found) = of(&is_way)? else { continue };
        report.retentions.push(AbilityRetention {
            model: study.models[model].name.clone(),
            label: plan.row(way.method, way.set),
            method: study.methods[way.method].name.clone(),
            sparsity: way.sparsity,
            calibration: way.set.map(|set| study.calibrations[set].name.clone()),
            group: group.to_owned(),
            retention: found,
            seeds,
        });
    }
    Ok(())
}
