//! A study that can run: what its file names was found, and everything fits.

mod data;
mod methods;

pub use data::{StudyCalibration, StudyEvaluation};
pub use methods::StudyMethod;

use super::{
    KeepModels, Result, StudyFile,
    file::{ModelSpec, Problem, Spec},
};
use espalier_model::{LlamaConfig, ModelError, archive::is_archive, resolve};
use methods::{fits, method};
use std::path::PathBuf;

/// A study that can run.
#[derive(Debug)]
pub struct Study {
    /// Its file.
    pub file: StudyFile,
    /// Its name.
    pub title: String,
    /// What becomes of pruned models when they are evaluated.
    pub keep_models: KeepModels,
    /// Its models.
    pub models: Vec<StudyModel>,
    /// Its pruning methods.
    pub methods: Vec<StudyMethod>,
    /// Its calibration sets.
    pub calibrations: Vec<StudyCalibration>,
    /// Its evaluations.
    pub evaluations: Vec<StudyEvaluation>,
    /// Its seeds.
    pub seeds: Vec<u64>,
}

/// A model of a study.
#[derive(Debug)]
pub struct StudyModel {
    /// Its name.
    pub name: String,
    /// The name in the study file.
    pub named: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its architecture.
    pub config: LlamaConfig,
}

type Checked<T> = std::result::Result<T, Problem>;

impl Study {
    /// Looks for everything that a study file names, and checks that it fits.
    ///
    /// # Errors
    /// Something is not there, or does not fit; the message has the line and column.
    pub fn check(file: StudyFile) -> Result<Self> {
        Self::of_spec(&file, &file.spec).map_err(|problem| file.error(problem))
    }

    fn of_spec(file: &StudyFile, spec: &Spec) -> Checked<Self> {
        let models = spec.models.iter().map(|spec| model(file, spec)).collect::<Checked<Vec<_>>>()?;
        let mut methods = Vec::new();
        for spec in &spec.methods {
            let found = method(file, spec)?;
            for model in &models {
                fits(&found, spec, model)?;
            }
            methods.push(found);
        }
        needs_calibration(&methods, spec)?;
        let mut found = data::Found::default();
        let calibrations =
            spec.calibrations.iter().map(|spec| data::calibration(file, spec, &models, &mut found));
        let evaluations = spec.evaluations.iter().map(|spec| data::evaluation(file, spec, &models));
        let stem = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let seeds: Vec<_> = spec.seeds.iter().map(|seed| seed.value).collect();
        Ok(Self {
            file: file.clone(),
            title: spec.title.clone().unwrap_or(stem),
            keep_models: spec.keep_models,
            calibrations: calibrations.collect::<Checked<_>>()?,
            evaluations: evaluations.collect::<Checked<_>>()?,
            models,
            methods,
            seeds: if seeds.is_empty() { vec![0] } else { seeds },
        })
    }
}

/// A model's folder: beside the study file, or in the Hugging Face cache.
fn model(file: &StudyFile, spec: &ModelSpec) -> Checked<StudyModel> {
    let unusable = |error: ModelError| {
        Problem::because(&spec.path.span, format!("the model {} is not usable", spec.name.value), error)
    };
    let beside = file.resolve(&spec.path.value);
    let folder = match (beside.is_dir(), is_archive(&beside)) {
        (true, _) => Ok(beside),
        (_, true) => resolve(&beside.to_string_lossy()),
        _ => resolve(&spec.path.value),
    };
    let folder = folder.map_err(|error| unusable(error.into()))?;
    let config = LlamaConfig::read(&folder).map_err(|error| unusable(error.into()))?;
    Ok(StudyModel { name: spec.name.value.clone(), named: spec.path.value.clone(), folder, config })
}

/// Refuses methods that measure where there is nothing to measure, and calibration sets that nobody uses.
fn needs_calibration(methods: &[StudyMethod], spec: &Spec) -> Checked<()> {
    let measuring = methods.iter().zip(&spec.methods).find(|(method, _)| method.method.measures());
    match (measuring, spec.calibrations.first()) {
        (Some((method, spec)), None) => {
            let message =
                format!("{} needs calibration data, but the study has no [calibration] entries", method.name);
            Err(Problem::new(&spec.name.span, message))
        }
        (None, Some(set)) => {
            let message = "no method of the study measures anything, so that this is not used";
            Err(Problem::new(&set.name.span, message))
        }
        _ => Ok(()),
    }
}
