//! Measuring the properties of calibration data, once for all cells that share them.

use super::{Runner, StudyEvent};
use crate::{
    Cell, Result, folder,
    properties::{DataProperties, Property, of_windows, overlap, runs_of_words},
    results,
};
use espalier_base::interrupt;
use espalier_data::Tokenizer;
use espalier_evaluate::{TaskItems, perplexity};
use espalier_model::{BATCH_TOKENS, Llama, ModelError};
use std::collections::{HashSet, btree_map::Entry};

impl Runner<'_> {
    /// Measures the data that a cell was calibrated with, unless that was done. False where it cannot be measured: the other
    /// cells go on.
    ///
    /// # Errors
    /// An interrupt.
    pub(super) fn describe(&mut self, cell: &Cell) -> Result<bool> {
        let measured = self.measure_data(cell);
        interrupt::check()?;
        if let Err(error) = &measured {
            let name = self.plan.name(cell);
            tracing::warn!("the calibration data of {name} cannot be described: {}", error.chain());
        }
        Ok(measured.is_ok())
    }

    fn measure_data(&mut self, cell: &Cell) -> Result<()> {
        let Some(drawn) = cell.variant.as_ref().and_then(|variant| variant.calibration) else {
            return Ok(());
        };
        let plan = self.plan;
        let hash = plan.identities().selection(cell.model, drawn);
        let path = results::properties_file(&self.folder, &hash);
        let evaluations: Vec<String> =
            (0..plan.study().evaluations.len()).map(|at| plan.identities().evaluation(at)).collect();
        let read = || folder::read_sound::<DataProperties>(&path);
        let is_whole = |known: &Option<DataProperties>| {
            known
                .as_ref()
                .is_some_and(|known| evaluations.iter().all(|hash| known.overlap.contains_key(hash)))
        };
        if is_whole(&read()?) {
            return Ok(());
        }
        let windows = self.windows(cell, drawn)?;
        let tokens: Vec<Vec<u32>> = windows.tokens.iter().map(|window| window.input_ids.clone()).collect();
        let mut lengths: Vec<usize> =
            windows.record.windows.iter().flatten().map(|piece| piece.length).collect();
        if lengths.is_empty() {
            lengths = tokens.iter().map(Vec::len).collect();
        }
        let _lease = self.folder.wait(&hash)?;
        // Whoever had the lease before may have done it.
        let known = read()?;
        if is_whole(&known) {
            return Ok(());
        }
        let model = &plan.study().models[cell.model];
        let tokenizer = Tokenizer::open(&model.folder, model.config.vocab_size)?;
        let texts = tokens.iter().map(|window| tokenizer.decode(window)).collect::<Result<Vec<_>, _>>()?;
        let mut found = match known {
            Some(known) => known,
            None => {
                let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
                let mut values = of_windows(&tokens, &lengths, &texts);
                values
                    .extend(self.dense_perplexity(cell, &tokens)?.map(|value| (Property::Perplexity, value)));
                DataProperties { values, ..DataProperties::default() }
            }
        };
        for (at, hash) in evaluations.into_iter().enumerate() {
            if let Entry::Vacant(place) = found.overlap.entry(hash) {
                place.insert(overlap(&texts, self.words_of(cell.model, at, &tokenizer)?));
            }
        }
        folder::make(&self.folder.selection(&hash))?;
        folder::write_json(&path, &found)
    }

    /// The runs of words of an evaluation's items for a model, read once for all cells of the model.
    fn words_of(&mut self, model: usize, evaluation: usize, tokenizer: &Tokenizer) -> Result<&HashSet<u64>> {
        let key = (model, evaluation);
        self.words.retain(|(other, _), _| *other == model);
        if !self.words.contains_key(&key) {
            let study = self.plan.study();
            let texts = match self.prepared.get(&key) {
                Some(prepared) => prepared.items.texts(tokenizer)?,
                None => {
                    let (model, task) = (&study.models[model], &study.evaluations[evaluation].task);
                    TaskItems::read(task, &model.folder, &model.config, tokenizer)?.texts(tokenizer)?
                }
            };
            self.words.insert(key, runs_of_words(&texts));
        }
        Ok(&self.words[&key])
    }

    /// The perplexity of windows under the dense model; nothing where no token is predicted.
    fn dense_perplexity(&mut self, cell: &Cell, windows: &[&[u32]]) -> Result<Option<f64>> {
        let model = Llama::open(&self.plan.study().models[cell.model].folder, self.device()?)?;
        let on_event = &mut *self.on_event;
        let tokens: usize = windows.iter().map(|window| window.len()).sum();
        let total = tokens * model.config.num_hidden_layers;
        on_event(StudyEvent::Step { what: "describing data", total });
        let progress = |tokens| on_event(StudyEvent::Progress(tokens));
        match perplexity(&model, windows, BATCH_TOKENS, progress) {
            Ok(found) => Ok(Some(found.perplexity)),
            Err(ModelError::NoPerplexity { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
