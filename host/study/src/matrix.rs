//! The matrix: every model dense, and pruned by every method, to every sparsity, with every calibration set
//! and seed.

use super::{Study, digest::of_settings};
use espalier_sdk::Sparsity;
use serde::Serialize;
use serde_json::{Value, json};

/// The layout of results: part of every hash, so that results of another layout are not taken for these.
const FORMAT: u32 = 1;

/// One model, dense or pruned in one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Hash of all that determines the model that is evaluated.
    pub hash: String,
    /// The model's place in the study.
    pub model: usize,
    /// How it is pruned; not at all if it is dense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
}

/// One way to prune.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variant {
    /// The method's place in the study.
    pub method: usize,
    /// How much goes.
    pub sparsity: Sparsity,
    /// With what data; with none for a method that measures nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Drawn>,
}

/// Calibration windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// The calibration set's place in the study.
    pub set: usize,
    /// The seed of the draw.
    pub seed: u64,
}

/// The identities of the parts of cells: contents where the study file has paths.
#[derive(Debug, Clone)]
pub(super) struct Identities {
    /// Digest of each model.
    pub(super) models: Vec<String>,
    /// Settings of each calibration set, but for the seed.
    pub(super) calibrations: Vec<Value>,
    /// Settings of each evaluation.
    pub(super) evaluations: Vec<Value>,
}

impl Study {
    /// Whether two cells want the same dense pass through a model: neither propagates, and both are behind the same
    /// windows.
    pub(super) fn share_a_pass(&self, one: &Cell, other: &Cell) -> bool {
        let dense = |cell: &Cell| {
            let shares = |variant: &&Variant| {
                let method = &self.methods[variant.method];
                !method.propagate && method.method.can_share()
            };
            let variant = cell.variant.as_ref().filter(shares);
            variant.and_then(|variant| variant.calibration)
        };
        one.model == other.model && dense(one).is_some_and(|drawn| dense(other) == Some(drawn))
    }
}

impl Identities {
    /// The hash of the windows that a model is calibrated with.
    pub(super) fn selection(&self, model: usize, drawn: Drawn) -> String {
        of_settings(&json!({
            "format": FORMAT,
            "espalier": env!("CARGO_PKG_VERSION"),
            "model": self.models[model],
            "calibration": self.calibrations[drawn.set],
            "seed": drawn.seed,
        }))
    }

    /// The hash of an evaluation; with the cell's own it names one result.
    pub(super) fn evaluation(&self, evaluation: usize) -> String {
        of_settings(&json!({
            "format": FORMAT,
            "espalier": env!("CARGO_PKG_VERSION"),
            "evaluation": self.evaluations[evaluation],
        }))
    }
}

/// Every cell of a study, in the order of the file: a model's dense cell, what needs no calibration, and then
/// set by set and seed by seed what shares calibration windows.
pub(super) fn cells(study: &Study, identities: &Identities) -> Vec<Cell> {
    let mut cells = Vec::new();
    for model in 0..study.models.len() {
        let mut add = |variant: Option<Variant>| {
            let hash = of_settings(&settings(study, identities, model, variant.as_ref()));
            cells.push(Cell { hash, model, variant });
        };
        add(None);
        let of = |measures: bool, calibration: Option<Drawn>| {
            let methods = study.methods.iter().enumerate();
            methods.filter(move |(_, method)| method.method.measures() == measures).flat_map(
                move |(place, method)| {
                    method.sparsities.iter().map(move |&sparsity| Variant {
                        method: place,
                        sparsity,
                        calibration,
                    })
                },
            )
        };
        of(false, None).for_each(|variant| add(Some(variant)));
        for (set, calibration) in study.calibrations.iter().enumerate() {
            // Of windows that are ready every seed gives the same.
            let draws = if calibration.selector.is_some() { study.seeds.len() } else { 1 };
            for &seed in &study.seeds[..draws] {
                of(true, Some(Drawn { set, seed })).for_each(|variant| add(Some(variant)));
            }
        }
    }
    cells
}

/// All that determines what model a cell evaluates.
fn settings(study: &Study, identities: &Identities, model: usize, variant: Option<&Variant>) -> Value {
    let mut settings = json!({
        "format": FORMAT,
        "espalier": env!("CARGO_PKG_VERSION"),
        "model": identities.models[model],
    });
    if let Some(variant) = variant {
        let method = &study.methods[variant.method];
        let record = method.method.record();
        settings["method"] = json!({
            "library": record.version,
            "sha256": record.sha256,
            "name": record.name,
            "options": record.options,
            "targets": method.targets(variant.sparsity),
            "propagate": method.propagate,
        });
        if let Some(drawn) = variant.calibration {
            settings["selection"] = identities.selection(model, drawn).into();
        }
    }
    settings
}
