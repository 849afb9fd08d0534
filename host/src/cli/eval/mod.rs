//! `host eval`.

mod tasks;

use super::{CliError, args, print, print_json, progress, table};
use espalier_base::output;
use espalier_data::{Collection, Reading, Renderer, Source, Tokenizer, evaluation_windows};
use espalier_device::{Device, choose};
use espalier_evaluate::{
    DenseReference, Metric, Perplexity, Task, TaskItems, TaskResult, perplexity, run as run_task,
    write_predictions,
};
use espalier_model::{BATCH_TOKENS, Llama, resolve};
use serde::Serialize;
use std::{path::Path, sync::Arc};

/// The measurements.
#[derive(Serialize)]
struct EvalReport {
    #[serde(flatten)]
    text: Option<Perplexity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<TaskResult>,
}

pub(super) fn run(command: &args::Eval, verbosity: args::Verbosity) -> Result<(), CliError> {
    // Everything that can be wrong with the request is found before anything long begins.
    let requested = tasks::requested(command)?;
    if let Some(path) = &command.predictions {
        let read = requested.iter().map(|task| task.source.path.as_path());
        output::check(path, command.overwrite, read.chain(command.perplexity.as_deref()))?;
    }
    let folder = resolve(&command.model)?;
    let device = choose::open(&command.device.request())?;
    tracing::info!("on {}", device.info());
    let model = Llama::open(&folder, Arc::clone(&device))?;
    let seqlen = espalier_select::seqlen(command.seqlen.map(|seqlen| seqlen as usize), &model.config);
    let windows = match &command.perplexity {
        Some(path) => windows(path, &reading(command), &folder, &model, seqlen)?,
        None => Vec::new(),
    };
    let tasks = match requested.is_empty() {
        true => None,
        false => Some(Tasks::read(command, &requested, &folder, &model, &device)?),
    };

    let text = (!windows.is_empty()).then(|| measure_text(&model, &windows, verbosity)).transpose()?;
    let results = match &tasks {
        Some(tasks) => tasks.run(&model, verbosity)?,
        None => Vec::new(),
    };
    if let Some(path) = &command.predictions {
        write_predictions(path, command.overwrite, &results)?;
    }
    if command.json {
        return print_json(&EvalReport { text, tasks: results });
    }
    let mut lines = Vec::new();
    if let Some(Perplexity { perplexity, tokens, windows, .. }) = text {
        lines.push(format!(
            "perplexity {perplexity:.4} over {tokens} tokens in {windows} windows of at most {seqlen}"
        ));
    }
    if !results.is_empty() {
        lines.push(summary(&results));
    }
    print(&lines.join("\n\n"))
}

fn windows(
    path: &Path,
    reading: &Reading,
    folder: &Path,
    model: &Llama,
    seqlen: usize,
) -> Result<Vec<Vec<u32>>, CliError> {
    let vocab_size = model.config.vocab_size;
    let collection = Collection::open_for_evaluation(&[Source::new(path)], reading)?;
    let renderer = Renderer::new(None, folder)?;
    let tokenizer = || Tokenizer::open(folder, vocab_size);
    Ok(evaluation_windows(&collection, &renderer, tokenizer, seqlen, vocab_size)?)
}

fn measure_text(
    model: &Llama,
    windows: &[Vec<u32>],
    verbosity: args::Verbosity,
) -> Result<Perplexity, CliError> {
    let windows: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let tokens: usize = windows.iter().map(|window| window.len()).sum();
    let bar = progress::bar("evaluating", tokens * model.config.num_hidden_layers, verbosity.quiet);
    let result = perplexity(model, &windows, BATCH_TOKENS, |done| bar.inc(done as u64));
    bar.finish_and_clear();
    Ok(result?)
}

/// How data are read.
fn reading(command: &args::Eval) -> Reading {
    Reading { fields: command.fields.clone(), strict: command.strict, ..Reading::default() }
}

/// The tasks, with what runs them.
struct Tasks {
    tokenizer: Tokenizer,
    items: Vec<TaskItems>,
    dense: Option<Llama>,
}

impl Tasks {
    fn read(
        command: &args::Eval,
        requested: &[Task],
        folder: &Path,
        model: &Llama,
        device: &Arc<dyn Device>,
    ) -> Result<Self, CliError> {
        let compares = command.metrics.contains(&Metric::JsDivergence);
        let dense = match (&command.dense, compares) {
            (Some(dense), true) => Some(Llama::open(&resolve(dense)?, Arc::clone(device))?),
            (Some(_), false) => {
                tracing::warn!("no metric compares with the dense model: --dense is not used");
                None
            }
            (None, true) => {
                let message = "js_divergence compares with the dense model: give its folder with --dense";
                return Err(CliError::Usage(message.to_owned()));
            }
            (None, false) => None,
        };
        let tokenizer = Tokenizer::open(folder, model.config.vocab_size)?;
        let mut items = Vec::with_capacity(requested.len());
        for task in requested {
            let read = TaskItems::read(task, folder, &model.config, &tokenizer)?;
            read.warn();
            items.push(read);
        }
        Ok(Self { tokenizer, items, dense })
    }

    fn run(&self, model: &Llama, verbosity: args::Verbosity) -> Result<Vec<TaskResult>, CliError> {
        let work = |items: &TaskItems| {
            let dense = self.dense.as_ref().filter(|_| items.compares());
            let dense = dense.map_or(0, |dense| items.reading_work(&dense.config));
            items.work(&model.config) + dense
        };
        let bar = progress::bar("evaluating", self.items.iter().map(work).sum(), verbosity.quiet);
        let mut progress = |done: usize| bar.inc(done as u64);
        let mut results = Vec::with_capacity(self.items.len());
        for items in &self.items {
            let dense = self
                .dense
                .as_ref()
                .filter(|_| items.compares())
                .map(|dense| DenseReference::new(dense, items, &mut progress));
            results.push(run_task(
                model,
                &self.tokenizer,
                items,
                dense.transpose()?.as_ref(),
                &mut progress,
            )?);
        }
        bar.finish_and_clear();
        Ok(results)
    }
}

fn summary(results: &[TaskResult]) -> String {
    let errors = results.iter().any(|result| result.metrics.values().any(|mean| mean.stderr.is_some()));
    let rows: Vec<_> = results
        .iter()
        .flat_map(|result| result.metrics.iter().map(move |(metric, mean)| (result, metric, mean)))
        .map(|(result, metric, mean)| {
            let interval = format!("{:.4} – {:.4}", mean.low, mean.high);
            let mut row = vec![
                result.name.clone(),
                metric.to_string(),
                format!("{:.4}", mean.mean),
                interval,
                mean.items.to_string(),
            ];
            row.extend(errors.then(|| mean.stderr.map_or_else(String::new, |stderr| format!("{stderr:.4}"))));
            row
        })
        .collect();
    let mut titles = vec!["task", "metric", "mean", "95% interval", "items"];
    titles.extend(errors.then_some("std. error"));
    table::render(&titles, &rows)
}
