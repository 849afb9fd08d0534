//! A study with its cells, and those of them that are to run.

use super::{
    Cell, Result, Study, StudyError,
    digest::Digests,
    estimate::{Estimate, Extent, Rates, estimate},
    folder::Folder,
    matrix::{Identities, cells},
};
use espalier_device::{Compute, Device};
use espalier_model::Llama;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// Which cells are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellChoice {
    /// Cells by their hash, or by the beginning of it; all cells if empty.
    pub cells: Vec<String>,
    /// A part of all cells.
    pub shard: Option<Shard>,
    /// Whether what says most comes first: dense models, then the first seed of every way to prune, at its first sparsity
    /// before others, then the second seed, and so on. In the order of the study otherwise.
    pub most_telling_first: bool,
    /// The type that operands of products are rounded to: a result of another type is another result.
    pub compute: Compute,
}

/// Every `of`-th cell, beginning with the `index`-th, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

/// A text that is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard: write I/N with I from 1 to N, such as 1/4")]
pub struct ParseShardError(String);

impl FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shard = text.split_once('/').and_then(|(index, of)| {
            let (index, of) = (index.trim().parse().ok()?, of.trim().parse().ok()?);
            (1..=of).contains(&index).then_some(Self { index, of })
        });
        shard.ok_or_else(|| ParseShardError(text.to_owned()))
    }
}

/// A study with its cells, and those of them that are to run.
pub struct Plan<'a> {
    study: &'a Study,
    out: PathBuf,
    digests: Digests,
    identities: Identities,
    cells: Vec<Cell>,
    chosen: Vec<Cell>,
}

impl fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}

impl<'a> Plan<'a> {
    /// The cells of a study, with results in `out`. Reads all models and data that it has not read before.
    ///
    /// # Errors
    /// Something cannot be read, two entries of the study do the same, or there is no cell of a chosen hash.
    pub fn new(study: &'a Study, out: &Path, choice: &CellChoice) -> Result<Self> {
        let mut digests = Digests::open(out.join("digests.json"));
        let mut model_computed = |folder: &Path| -> Result<String> {
            let digest = digests.model(folder)?;
            Ok(if choice.compute == Compute::F32 {
                digest
            } else {
                format!("{digest} in {}", choice.compute)
            })
        };
        let identities = Identities {
            models: study.models.iter().map(|model| model_computed(&model.folder)).collect::<Result<_>>()?,
            calibrations: study
                .calibrations
                .iter()
                .map(|set| set.identity(&mut |path| digests.data(path)))
                .collect::<Result<_>>()?,
            evaluations: study
                .evaluations
                .iter()
                .map(|evaluation| evaluation.identity(&mut |path| digests.data(path)))
                .collect::<Result<_>>()?,
        };
        let cells = cells(study, &identities);
        let mut plan = Self { study, out: out.to_owned(), digests, identities, chosen: Vec::new(), cells };
        plan.distinct()?;
        plan.chosen = plan.choose(choice)?;
        if choice.most_telling_first {
            let mut chosen = std::mem::take(&mut plan.chosen);
            chosen.sort_by_key(|cell| plan.round(cell));
            plan.chosen = chosen;
        }
        Ok(plan)
    }

    /// When a cell's turn is, if what says most comes first: the number of its seed and of its sparsity, dense cells before
    /// all. A way to prune that knows no seeds is of the first.
    fn round(&self, cell: &Cell) -> Option<(usize, usize)> {
        let variant = cell.variant.as_ref()?;
        let seeds = &self.study.seeds;
        let seed = variant.calibration.and_then(|drawn| seeds.iter().position(|seed| *seed == drawn.seed));
        let sparsities = &self.study.methods[variant.method].sparsities;
        let sparsity = sparsities.iter().position(|sparsity| *sparsity == variant.sparsity);
        Some((seed.unwrap_or(0), sparsity.unwrap_or(0)))
    }

    /// Refuses two cells that are the same: two entries of the study differ by their names alone.
    fn distinct(&self) -> Result<()> {
        for (place, cell) in self.cells.iter().enumerate() {
            if let Some(other) = self.cells[..place].iter().find(|other| other.hash == cell.hash) {
                let (one, two) = (self.name(other), self.name(cell));
                let message = format!("{one} and {two} are the same: nothing but names tells them apart");
                return Err(StudyError::Request(message));
            }
        }
        Ok(())
    }

    fn choose(&self, choice: &CellChoice) -> Result<Vec<Cell>> {
        if let Some(shard) = choice.shard {
            return Ok(self.cells.iter().skip(shard.index - 1).step_by(shard.of).cloned().collect());
        }
        if choice.cells.is_empty() {
            return Ok(self.cells.clone());
        }
        let by_hash = |start: &String| {
            let mut found = self.cells.iter().filter(|cell| cell.hash.starts_with(start.as_str()));
            match (found.next(), found.next()) {
                (Some(cell), None) => Ok(cell.clone()),
                (None, _) => {
                    Err(StudyError::Request(format!("the study has no cell {start}: see --list-cells")))
                }
                _ => Err(StudyError::Request(format!(
                    "several cells begin with {start}: give more of the hash"
                ))),
            }
        };
        choice.cells.iter().map(by_hash).collect()
    }

    /// The study.
    pub fn study(&self) -> &'a Study {
        self.study
    }

    /// The folder of results.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Every cell, in order.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The cells that are to run.
    pub fn chosen(&self) -> &[Cell] {
        &self.chosen
    }

    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Writes down the digests of what was read, unless another process is at it.
    pub(super) fn remember(&self, folder: &Folder) -> Result<()> {
        match folder.lease("digests")? {
            Some(_lease) => self.digests.save(),
            None => Ok(()),
        }
    }

    /// The row of the table that a cell belongs to: `dense`, `Magnitude`, or `Wanda-C4`.
    pub fn label(&self, cell: &Cell) -> String {
        let Some(variant) = &cell.variant else { return "dense".to_owned() };
        self.row(variant.method, variant.calibration.map(|drawn| drawn.set))
    }

    /// The row of a method with a calibration set.
    pub(super) fn row(&self, method: usize, set: Option<usize>) -> String {
        let method = &self.study.methods[method].name;
        set.map_or_else(|| method.clone(), |set| format!("{method}-{}", self.study.calibrations[set].name))
    }

    /// A cell in words: model, row, sparsity and seed.
    pub fn name(&self, cell: &Cell) -> String {
        let mut words = vec![self.study.models[cell.model].name.clone(), self.label(cell)];
        if let Some(variant) = &cell.variant {
            words.push(variant.sparsity.to_string());
            words.extend(variant.calibration.map(|drawn| format!("seed {}", drawn.seed)));
        }
        words.join(" ")
    }

    /// The estimated cost of each chosen cell on this device; a pass that cells share is counted with the first.
    ///
    /// # Errors
    /// The device fails or has too little memory, or data cannot be read.
    pub fn estimates(&self, device: &Arc<dyn Device>) -> Result<Vec<Estimate>> {
        let study = self.study;
        let extents: Vec<Extent> =
            study.evaluations.iter().map(|evaluation| evaluation.extent()).collect::<Result<_>>()?;
        let mut rates: Vec<Option<Rates>> = vec![None; study.models.len()];
        let mut of_cell = |(place, cell): (usize, &Cell)| {
            let named = &study.models[cell.model];
            let rates = match &mut rates[cell.model] {
                Some(rates) => *rates,
                none => *none.insert(Rates::measure(&**device, &named.config)?),
            };
            let model = Llama::open(&named.folder, Arc::clone(device))?;
            let passed = self.chosen[..place].iter().any(|other| study.share_a_pass(other, cell));
            estimate(study, cell, passed, &extents, weights(&named.folder)?, &model, rates)
        };
        self.chosen.iter().enumerate().map(&mut of_cell).collect()
    }
}

/// Bytes of a model's weights.
fn weights(folder: &Path) -> Result<u64> {
    let unread = |source| StudyError::Read { path: folder.to_owned(), source };
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|end| end == "safetensors") {
            bytes += fs::metadata(&path).map_err(unread)?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, of: 4 }));
        for text in ["0/4", "5/4", "1", "1/", "/2", "a/b", "1/0"] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.to_string().contains("I from 1 to N"), "{text}");
        }
    }
}
