//! What is kept of each ability, for every way of pruning.

use super::heat_map::{HeatRow, HeatTile, STRONGEST};
use crate::report::{
    data::AbilityRetention,
    metric::sparsity_title,
    view::{ReportView, distinct},
};
use espalier_evaluate::Retention;
use espalier_sdk::Sparsity;
use serde::Serialize;

/// One map: of a model and a sparsity.
#[derive(Serialize)]
pub(in super::super) struct RetentionMap<'a> {
    model: &'a str,
    sparsity: Sparsity,
    title: String,
    groups: Vec<&'a str>,
    rows: Vec<HeatRow>,
}

/// One map for every model and sparsity, if evaluations are in groups. The colour is what is lost.
pub(in super::super) fn retention<'a>(view: &ReportView<'a>) -> Vec<RetentionMap<'a>> {
    let all = &view.report.retentions;
    let groups = distinct(all.iter().map(|one| one.group.as_str()));
    let mut maps = Vec::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            let own: Vec<&AbilityRetention> =
                all.iter().filter(|one| one.model == model && one.sparsity == sparsity).collect();
            let row = |label: &str| {
                let of = |group: &&str| own.iter().find(|one| one.label == label && one.group == **group);
                HeatRow {
                    set: label.to_owned(),
                    tiles: groups.iter().map(|group| tile(of(group).map(|one| one.retention))).collect(),
                }
            };
            let rows: Vec<_> =
                distinct(own.iter().map(|one| one.label.as_str())).into_iter().map(row).collect();
            if !rows.is_empty() {
                let title = format!("Retention at {}{}", sparsity_title(sparsity), view.of_model(model));
                maps.push(RetentionMap { model, sparsity, title, groups: groups.clone(), rows });
            }
        }
    }
    maps
}

fn tile(found: Option<Retention>) -> HeatTile {
    let Some(found) = found else {
        return HeatTile { class: "missing", share: None, text: "missing".to_owned(), difference: None };
    };
    if found.share.is_nan() {
        return HeatTile {
            class: "tile better",
            share: None,
            text: "at chance".to_owned(),
            difference: None,
        };
    }
    let lost = 1.0 - found.share;
    HeatTile {
        class: if lost > 0.0 { "tile worse" } else { "tile better" },
        share: Some(lost.abs().min(1.0) * STRONGEST),
        text: found.percent(),
        difference: found.interval(),
    }
}
