//! The calibration sets of a study file. A key that takes one value may have a list: of every combination comes a set of its own,
//! so that a grid of samples, lengths, selectors and prompts is one entry.

use super::{
    reader::{At, Problem, Result, Section, count, many, parsed, path, text, unlike},
    spec::{Defaults, ReadingSpec, distinct, options, reading},
};
use espalier_select::{LossMask, WindowMode};
use std::path::Path;
use toml::{Spanned, de::DeValue};

/// A calibration set with the way windows are cut from it.
#[derive(Debug, Clone)]
pub(crate) struct CalibrationSpec {
    pub(crate) name: At<String>,
    pub(crate) files: Vec<At<String>>,
    pub(crate) reading: ReadingSpec,
    pub(crate) exclude: Vec<At<String>>,
    pub(crate) windows: Option<At<WindowMode>>,
    pub(crate) loss_mask: Option<At<LossMask>>,
    pub(crate) plugin: Option<At<String>>,
    pub(crate) selector: Option<At<String>>,
    pub(crate) options: Vec<(At<String>, At<String>)>,
    pub(crate) samples: Option<At<usize>>,
    pub(crate) tokens: Option<At<usize>>,
    pub(crate) seqlen: Option<At<usize>>,
}

/// A table; a path, or several, is short for one that gives nothing else.
pub(super) fn calibrations(
    name: &At<String>,
    value: &Spanned<DeValue>,
    defaults: &Defaults,
) -> Result<Vec<CalibrationSpec>> {
    let set = CalibrationSpec {
        name: name.clone(),
        files: Vec::new(),
        reading: ReadingSpec::default(),
        exclude: Vec::new(),
        windows: None,
        loss_mask: None,
        plugin: None,
        selector: None,
        options: Vec::new(),
        samples: None,
        tokens: None,
        seqlen: None,
    };
    let mut grid = Grid(vec![set]);
    let (mut samples, mut tokens, mut seqlen) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(table) = value.get_ref().as_table() {
        let mut section = Section::new(format!("calibration.{}", name.value), name.span.clone(), table);
        let set = &mut grid.0[0];
        set.files = section.list("files", path)?;
        set.exclude = section.list("exclude", path)?;
        set.plugin = section.get("plugin", text)?;
        set.options = options(&mut section)?;
        let prompts = section.list("prompt", text)?;
        set.reading = reading(&mut section, None)?;
        let stem = |prompt: &String| {
            let stem = Path::new(prompt).file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        };
        grid.vary("prompt", prompts, stem, |set| &mut set.reading.prompt)?;
        grid.vary("windows", section.list("windows", parsed)?, ToString::to_string, |set| &mut set.windows)?;
        let masks = section.list("loss_mask", parsed)?;
        grid.vary("loss_mask", masks, ToString::to_string, |set| &mut set.loss_mask)?;
        grid.vary("selector", section.list("selector", text)?, Clone::clone, |set| &mut set.selector)?;
        samples = section.list("samples", count)?;
        tokens = section.list("tokens", count)?;
        seqlen = section.list("seqlen", count)?;
        section.finish()?;
    } else {
        grid.0[0].files =
            many(value, path).map_err(|_| unlike(value, "a path, a list of paths, or a table"))?;
    }
    if grid.0[0].files.is_empty() {
        return Err(Problem::new(&name.span, format!("[calibration.{}] has no `files`", name.value)));
    }
    if let (Some(_), Some(tokens)) = (samples.first(), tokens.first()) {
        return Err(Problem::new(&tokens.span, "`samples` and `tokens` both say how much to take: give one"));
    }
    if tokens.is_empty() && samples.is_empty() {
        samples.clone_from(&defaults.samples);
    }
    if seqlen.is_empty() {
        seqlen.clone_from(&defaults.seqlen);
    }
    grid.vary("samples", samples, ToString::to_string, |set| &mut set.samples)?;
    grid.vary("tokens", tokens, ToString::to_string, |set| &mut set.tokens)?;
    grid.vary("seqlen", seqlen, ToString::to_string, |set| &mut set.seqlen)?;
    Ok(grid.0)
}

/// The sets of an entry so far.
struct Grid(Vec<CalibrationSpec>);

impl Grid {
    /// Gives every set one of these values, in as many sets as there are values, which are named for it if it is not the only
    /// one.
    fn vary<T: Clone + PartialEq + ToString>(
        &mut self,
        key: &str,
        values: Vec<At<T>>,
        show: impl Fn(&T) -> String,
        place: impl Fn(&mut CalibrationSpec) -> &mut Option<At<T>>,
    ) -> Result<()> {
        distinct(&values, key)?;
        if values.is_empty() {
            return Ok(());
        }
        let of = |set: &CalibrationSpec, value: &At<T>| {
            let mut set = set.clone();
            *place(&mut set) = Some(value.clone());
            if values.len() > 1 {
                set.name.value = format!("{} {key}={}", set.name.value, show(&value.value));
            }
            set
        };
        let sets =
            self.0.iter().flat_map(|set| values.iter().map(|value| of(set, value)).collect::<Vec<_>>());
        self.0 = sets.collect();
        Ok(())
    }
}
