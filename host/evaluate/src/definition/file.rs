//! A definition as it is written.

use super::{Choices, Draw, Matching, Requests, Shots, TaskDefinition};
use crate::{EvaluateError, Metric, Result};
use espalier_base::{
    files::{self, Limit},
    text::line_and_column,
};
use espalier_data::{Extraction, Ignored, Row, RowExpression, RowTemplate};
use regex::Regex;
use serde::Deserialize;
use std::{ops::Range, path::Path};
use toml::Spanned;

/// The seed that lm-evaluation-harness draws examples with.
const SEED: u32 = 1234;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTask {
    kind: Spanned<WrittenKind>,
    split: String,
    description: Option<Spanned<String>>,
    context: Option<Spanned<String>>,
    contexts: Option<Vec<Spanned<String>>>,
    choices: Option<Vec<Spanned<String>>>,
    choices_from: Option<Spanned<String>>,
    choice: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    gold: Option<Spanned<String>>,
    delimiter: Option<String>,
    separator: Option<String>,
    stop: Option<Vec<Spanned<String>>>,
    max_new_tokens: Option<Spanned<usize>>,
    metrics: Spanned<Vec<Spanned<String>>>,
    #[serde(rename = "match")]
    matching: Option<Spanned<WrittenMatch>>,
    #[serde(default)]
    shots: WrittenShots,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenKind {
    Choice,
    Partial,
    Likelihood,
    Generation,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenShots {
    count: usize,
    split: Option<String>,
    examples: Vec<toml::Table>,
    draw: WrittenDraw,
    seed: Option<u32>,
    spare: bool,
    same: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenDraw {
    First,
    #[default]
    Seeded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMatch {
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    ignore_punctuation: bool,
    #[serde(default)]
    ignore: Vec<Spanned<String>>,
    strict: Option<WrittenExtraction>,
    flexible: Option<WrittenExtraction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExtraction {
    pattern: Spanned<String>,
    #[serde(default)]
    which: i64,
}

/// What is wrong, and where.
type Wrong = (Range<usize>, String);

/// Reads a file.
pub(super) fn open(path: &Path) -> Result<TaskDefinition> {
    let text = files::read_text(path, Limit::SETTINGS)
        .map_err(|source| EvaluateError::ReadTask { path: path.to_owned(), source })?;
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    TaskDefinition::parse(&name, path, &text)
}

impl TaskDefinition {
    /// The definition in a text; messages call the file `path`.
    ///
    /// # Errors
    /// It is none: the message has the line and column.
    pub(crate) fn parse(name: &str, path: &Path, text: &str) -> Result<Self> {
        let wrong = |(span, message): Wrong| {
            let (line, column) = line_and_column(text, span.start);
            EvaluateError::TaskFile { path: path.to_owned(), line, column, message }
        };
        let written: WrittenTask = toml::from_str(text)
            .map_err(|error| wrong((error.span().unwrap_or(0..0), error.message().trim().to_owned())))?;
        written.definition(name, text).map_err(wrong)
    }
}

impl WrittenTask {
    fn definition(mut self, name: &str, text: &str) -> Result<TaskDefinition, Wrong> {
        let metrics = self.metrics()?;
        let description = self.description.take().map(|it| template("description", it)).transpose()?;
        let shots = std::mem::take(&mut self.shots).shots(self.kind.span())?;
        let (split, delimiter) = (std::mem::take(&mut self.split), self.delimiter.take());
        let separator = self.separator.take();
        Ok(TaskDefinition {
            name: name.to_owned(),
            text: text.to_owned(),
            metrics,
            requests: self.requests()?,
            split,
            description,
            delimiter: delimiter.unwrap_or_else(|| " ".to_owned()),
            separator: separator.unwrap_or_else(|| "\n\n".to_owned()),
            shots,
        })
    }

    /// The metrics, which must be those of its kind.
    fn metrics(&self) -> Result<Vec<Metric>, Wrong> {
        let known: &[Metric] = match self.kind.get_ref() {
            WrittenKind::Choice | WrittenKind::Partial => &[Metric::Acc, Metric::AccNorm, Metric::AccBytes],
            WrittenKind::Likelihood => &[Metric::Acc, Metric::TargetPerplexity],
            WrittenKind::Generation => &[Metric::StrictMatch, Metric::FlexibleExtract],
        };
        let mut metrics: Vec<Metric> = Vec::new();
        for written in self.metrics.get_ref() {
            let found = known.iter().find(|metric| metric.name() == written.get_ref());
            let names = || known.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ");
            match found {
                None => {
                    let message = format!(
                        "a task of this kind has no metric `{}`, only {}",
                        written.get_ref(),
                        names()
                    );
                    return Err((written.span(), message));
                }
                Some(metric) if metrics.contains(metric) => {
                    return Err((written.span(), format!("the metric {metric} is given twice")));
                }
                Some(metric) => metrics.push(*metric),
            }
        }
        if metrics.is_empty() {
            return Err((self.metrics.span(), "the task measures nothing".to_owned()));
        }
        Ok(metrics)
    }

    fn requests(mut self) -> Result<Requests, Wrong> {
        let kind = self.kind.clone();
        let metrics = std::mem::replace(&mut self.metrics, Spanned::new(0..0, Vec::new())).into_inner();
        let lacks = |key: &str| (kind.span(), format!("a task of this kind needs `{key}`"));
        let requests = match kind.get_ref() {
            WrittenKind::Choice => Requests::Choice {
                context: template("context", self.context.take().ok_or_else(|| lacks("context"))?)?,
                choices: self.choices(&lacks)?,
                gold: expression("gold", self.gold.take().ok_or_else(|| lacks("gold"))?)?,
            },
            WrittenKind::Partial => Requests::Partial {
                contexts: templates("contexts", self.contexts.take().ok_or_else(|| lacks("contexts"))?)?,
                target: template("target", self.target.take().ok_or_else(|| lacks("target"))?)?,
                gold: expression("gold", self.gold.take().ok_or_else(|| lacks("gold"))?)?,
            },
            WrittenKind::Likelihood => Requests::Likelihood {
                context: template("context", self.context.take().ok_or_else(|| lacks("context"))?)?,
                target: template("target", self.target.take().ok_or_else(|| lacks("target"))?)?,
            },
            WrittenKind::Generation => Requests::Generation {
                context: template("context", self.context.take().ok_or_else(|| lacks("context"))?)?,
                target: template("target", self.target.take().ok_or_else(|| lacks("target"))?)?,
                stop: self.stop.take().unwrap_or_default().into_iter().map(stop).collect::<Result<_, _>>()?,
                max_new_tokens: match self.max_new_tokens.take() {
                    Some(count) if *count.get_ref() == 0 => {
                        return Err((count.span(), "`max_new_tokens` is 1 or more".to_owned()));
                    }
                    Some(count) => count.into_inner(),
                    None => return Err(lacks("max_new_tokens")),
                },
                matching: self.matching(&lacks, &metrics)?,
            },
        };
        self.nothing_left()?;
        Ok(requests)
    }

    fn choices(&mut self, lacks: &dyn Fn(&str) -> Wrong) -> Result<Choices, Wrong> {
        match (self.choices.take(), self.choices_from.take()) {
            (Some(listed), None) => Ok(Choices::Listed(templates("choices", listed)?)),
            (None, Some(list)) => Ok(Choices::Of {
                list: expression("choices_from", list)?,
                each: self.choice.take().map(|each| template("choice", each)).transpose()?,
            }),
            (Some(_), Some(list)) => Err((
                list.span(),
                "`choices` and `choices_from` both say what the choices are: give one".to_owned(),
            )),
            (None, None) => Err(lacks("choices` or `choices_from")),
        }
    }

    fn matching(
        &mut self,
        lacks: &dyn Fn(&str) -> Wrong,
        metrics: &[Spanned<String>],
    ) -> Result<Matching, Wrong> {
        let written = self.matching.take().ok_or_else(|| lacks("match"))?;
        let span = written.span();
        let written = written.into_inner();
        let extraction = |it: WrittenExtraction| -> Result<Extraction, Wrong> {
            Ok(Extraction { pattern: pattern(&it.pattern)?, which: it.which })
        };
        let matching = Matching {
            strict: written.strict.map(extraction).transpose()?,
            flexible: written.flexible.map(extraction).transpose()?,
            ignored: Ignored {
                patterns: written.ignore.iter().map(pattern).collect::<Result<_, _>>()?,
                case: written.ignore_case,
                punctuation: written.ignore_punctuation,
            },
        };
        for (metric, key, found) in [
            (Metric::StrictMatch, "strict", &matching.strict),
            (Metric::FlexibleExtract, "flexible", &matching.flexible),
        ] {
            if found.is_none() && metrics.iter().any(|named| named.get_ref() == metric.name()) {
                return Err((span, format!("{metric} needs [match.{key}]")));
            }
        }
        Ok(matching)
    }

    /// Refuses keys of another kind.
    fn nothing_left(self) -> Result<(), Wrong> {
        let first = |list: Option<Vec<Spanned<String>>>| list?.into_iter().next().map(|it| it.span());
        let left = [
            ("context", self.context.map(|it| it.span())),
            ("contexts", first(self.contexts)),
            ("choices", first(self.choices)),
            ("choices_from", self.choices_from.map(|it| it.span())),
            ("choice", self.choice.map(|it| it.span())),
            ("target", self.target.map(|it| it.span())),
            ("gold", self.gold.map(|it| it.span())),
            ("stop", first(self.stop)),
            ("max_new_tokens", self.max_new_tokens.map(|it| it.span())),
            ("match", self.matching.map(|it| it.span())),
        ];
        match left.into_iter().find_map(|(key, span)| Some((key, span?))) {
            None => Ok(()),
            Some((key, span)) => Err((span, format!("`{key}` has no meaning in a task of this kind"))),
        }
    }
}

impl WrittenShots {
    fn shots(self, span: Range<usize>) -> Result<Shots, Wrong> {
        let row = |table: toml::Table| {
            let value = serde_json::to_value(table).map_err(|error| error.to_string())?;
            Row::try_from(value).map_err(|error| error.to_string())
        };
        let rows: Vec<Row> = self
            .examples
            .into_iter()
            .map(row)
            .collect::<Result<_, _>>()
            .map_err(|wrong| (span.clone(), wrong))?;
        if self.count > 0 && self.split.is_none() && rows.len() < self.count {
            return Err((span, "[shots] needs a `split` or as many `examples`".to_owned()));
        }
        let draw = match (self.draw, self.seed) {
            (WrittenDraw::First, Some(_)) => {
                return Err((span, "[shots] that are the first have no `seed`".to_owned()));
            }
            (WrittenDraw::First, None) => Draw::First,
            (WrittenDraw::Seeded, seed) => Draw::Seeded(seed.unwrap_or(SEED)),
        };
        let Self { count, split, spare, same, .. } = self;
        Ok(Shots { count, split, rows, draw, spare, same })
    }
}

fn template(name: &str, source: Spanned<String>) -> Result<RowTemplate, Wrong> {
    RowTemplate::new(name, source.get_ref())
        .map_err(|problem| (source.span(), format!("`{name}` is not a template: {problem}")))
}

fn templates(name: &str, sources: Vec<Spanned<String>>) -> Result<Vec<RowTemplate>, Wrong> {
    sources.into_iter().map(|source| template(name, source)).collect()
}

fn expression(name: &str, source: Spanned<String>) -> Result<RowExpression, Wrong> {
    RowExpression::new(name, source.get_ref())
        .map_err(|problem| (source.span(), format!("`{name}` is not an expression: {problem}")))
}

fn pattern(source: &Spanned<String>) -> Result<Regex, Wrong> {
    Regex::new(source.get_ref()).map_err(|error| {
        let error = error.to_string();
        let problem = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        (source.span(), format!("this is not a regular expression: {problem}"))
    })
}

fn stop(text: Spanned<String>) -> Result<String, Wrong> {
    if text.get_ref().is_empty() {
        return Err((text.span(), "an empty stop would end every prediction before it begins".to_owned()));
    }
    Ok(text.into_inner())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
