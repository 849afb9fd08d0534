//! Pruning for cells: those that want the same dense pass share one.

use super::{Runner, StudyEvent, is_done};
use crate::{
    Cell, KeepModels, Result, StudyError, Variant,
    folder::{self, Lease},
    results::{FAILED, PRUNING},
};
use espalier_base::{
    files::{self, Limit},
    interrupt,
};
use espalier_data::Tokens;
use espalier_model::{Llama, ModelError, archive};
use espalier_prune::{IfUnfinished, Output, Run};
use std::{
    iter,
    path::{Path, PathBuf},
};

/// A cell's pruned model, for as long as it is there.
const MODEL: &str = "model";
/// The same as an archive.
const ARCHIVE: &str = "model.sparse";

/// Whether a cell's pruned model is there, as far as it is to be kept.
pub(super) fn is_kept(keep: KeepModels, home: &Path) -> bool {
    match keep {
        KeepModels::No => true,
        KeepModels::Folders => home.join(MODEL).exists(),
        KeepModels::Packed => home.join(ARCHIVE).exists(),
    }
}

fn has_model(home: &Path) -> bool {
    home.join(MODEL).exists() || home.join(ARCHIVE).exists()
}

impl<'a> Runner<'a> {
    /// Where a cell's pruned model is, in the form that is asked for.
    fn form(&self) -> &'static str {
        if self.plan.study().keep_models == KeepModels::Packed { ARCHIVE } else { MODEL }
    }

    /// Removes a cell's pruned model, unless it is kept in this form.
    pub(super) fn drop_model(&self, home: &Path) -> Result<()> {
        let keep = self.plan.study().keep_models;
        if keep != KeepModels::Folders {
            folder::remove(&home.join(MODEL))?;
        }
        if keep != KeepModels::Packed {
            folder::remove(&home.join(ARCHIVE))?;
        }
        Ok(())
    }

    /// Makes a cell's pruned model of the one that a run of other settings kept in the other form.
    fn convert(&self, home: &Path) -> Result<()> {
        let (folder, archive) = (home.join(MODEL), home.join(ARCHIVE));
        match (folder.exists(), archive.exists()) {
            (true, false) if self.form() == ARCHIVE => {
                archive::pack(&folder, &archive, false, |_| {}).map_err(ModelError::from)?;
            }
            (false, true) if self.form() == MODEL => {
                archive::unpack(&archive, &folder, |_| {}).map_err(ModelError::from)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A cell's pruned model, a folder or an archive, which is made if it is not there.
    pub(super) fn pruned(&mut self, cell: &Cell, home: &Path) -> Result<PathBuf> {
        let out = home.join(self.form());
        self.convert(home)?;
        if !out.exists() {
            let others = self.sharing(cell)?;
            let cells: Vec<_> = iter::once(cell).chain(others.iter().map(|(other, _)| *other)).collect();
            match self.prune(&cells) {
                // What is wrong with one is not the others' fault.
                Err(error) if cells.len() > 1 && interrupt::check().is_ok() => {
                    tracing::warn!("{} cells cannot share a pass: {}", cells.len(), error.chain());
                    self.apart.extend(cells.iter().map(|cell| cell.hash.clone()));
                    drop(others);
                    if !out.exists() {
                        self.prune(&[cell])?;
                    }
                }
                result => result?,
            }
        }
        if out.is_file() {
            archive::mount(&out).map_err(ModelError::from)?;
        }
        // The manifest stays when the model goes.
        let manifest = out.join("espalier.json");
        let text = files::read(&manifest, Limit::RECORD)
            .map_err(|source| StudyError::Read { path: manifest, source })?;
        folder::write(&home.join(PRUNING), &text)?;
        Ok(out)
    }

    /// Other cells that want the same dense pass as this one and are nobody's. They are held until they are pruned.
    fn sharing(&self, cell: &Cell) -> Result<Vec<(&'a Cell, Lease)>> {
        let same = |other: &&Cell| other.hash != cell.hash && self.plan.study().share_a_pass(cell, other);
        let mut others = Vec::new();
        if self.apart.contains(&cell.hash) {
            return Ok(others);
        }
        for other in self.plan.chosen().iter().filter(same) {
            let Some(lease) = self.folder.lease(&other.hash)? else { continue };
            let home = self.folder.cell(&other.hash);
            let failed = self.apart.contains(&other.hash) || home.join(FAILED).exists();
            if !failed && !is_done(self.plan, &self.folder, other) && !has_model(&home) {
                folder::make(&home)?;
                folder::sweep(&home)?;
                others.push((other, lease));
            }
        }
        Ok(others)
    }

    /// Prunes cells of one model, which share their windows if there are several.
    fn prune(&mut self, cells: &[&Cell]) -> Result<()> {
        let study = self.plan.study();
        let variants: Vec<_> =
            cells.iter().filter_map(|cell| Some((*cell, cell.variant.as_ref()?))).collect();
        let Some(&(first, variant)) = variants.first() else { return Ok(()) };
        let named = &study.models[first.model];
        let seed = variant.calibration.map_or(0, |drawn| drawn.seed);
        let settings = |(_, variant): &(_, &Variant)| {
            study.methods[variant.method].settings(named, variant.sparsity, seed)
        };
        let settings: Vec<_> = variants.iter().map(settings).collect();
        let model = Llama::open(&named.folder, self.device()?)?;
        let (tokens, record) = match variant.calibration {
            Some(drawn) => {
                let windows = self.windows(first, drawn)?;
                (windows.tokens.clone(), Some(windows.record.clone()))
            }
            None => (Vec::new(), None),
        };
        let windows: Vec<_> = tokens.iter().map(Tokens::view).collect();
        let paths: Vec<_> =
            variants.iter().map(|(cell, _)| self.folder.cell(&cell.hash).join(self.form())).collect();
        let mut runs = Vec::new();
        for (((_, variant), settings), path) in variants.iter().zip(&settings).zip(&paths) {
            let method = &study.methods[variant.method].method;
            let if_unfinished = IfUnfinished::ContinueOrRestart;
            let to = Output { path, overwrite: false, if_unfinished, keep_hidden: true };
            runs.push(Run::begin(settings, method, &model, to)?);
        }
        let on_event = &mut *self.on_event;
        on_event(StudyEvent::Step { what: "pruning", total: Run::expected_work(&runs, &windows) });
        let progress = &mut |event: espalier_prune::PruneEvent| on_event(StudyEvent::Progress(event.work()));
        Run::finish_together(runs, &windows, record.as_ref(), progress)?;
        Ok(())
    }
}
