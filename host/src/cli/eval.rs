//! `host eval`.

use super::{CliError, args, calibrate, print, print_json, progress};
use crate::{
    calibration::{Renderer, Tokenizer, evaluation_windows},
    device::choose,
    evaluate::perplexity,
    model::{Llama, resolve},
    prune::BATCH_TOKENS,
};

pub(super) fn run(command: &args::Eval, verbosity: args::Verbosity) -> Result<(), CliError> {
    let folder = resolve(&command.model)?;
    let device = choose::open(&command.device.request())?;
    tracing::info!("on {} ({}, {})", device.info().name, device.info().backend, device.info().driver);
    let model = Llama::open(&folder, device)?;
    let seqlen = calibrate::seqlen(command.seqlen, &model.config)?;
    let tokenizer = || Tokenizer::open(&folder, model.config.vocab_size);
    let renderer = Renderer::new(None, &folder)?;
    let windows =
        evaluation_windows(&command.perplexity, &renderer, tokenizer, seqlen, model.config.vocab_size)?;
    let windows: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();

    let tokens: usize = windows.iter().map(|window| window.len()).sum();
    let bar = progress::bar("evaluating", tokens * model.config.num_hidden_layers, verbosity.quiet);
    let result = perplexity(&model, &windows, BATCH_TOKENS, |done| bar.inc(done as u64));
    bar.finish_and_clear();
    let result = result?;
    if command.json {
        return print_json(&result);
    }
    print(&format!(
        "perplexity {:.4} over {} tokens in {} windows of at most {seqlen}",
        result.perplexity, result.tokens, result.windows
    ))
}
