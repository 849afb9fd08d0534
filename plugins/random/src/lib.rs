//! The classic calibration draw of SparseGPT and Wanda: a random document longer than a window, a random
//! crop of it. A collection whose documents are all too short is packed instead, so that the draw ends.

use espalier_sdk::{
    Documents, Error, Options, Piece, Result, Rng, SelectionRequest, Selector, SelectorInfo, Window,
    export_plugin,
};

struct Random;

impl Selector for Random {
    fn info() -> SelectorInfo {
        SelectorInfo::new("random", "random crops of long documents; packs where all are short")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn select(&self, documents: &Documents, request: &SelectionRequest) -> Result<Vec<Window>> {
        let mut rng = Rng::new(request.seed);
        let mut candidates: Vec<usize> = (0..documents.len()).collect();
        let mut windows = Vec::with_capacity(request.samples);
        // Every turn yields a window or strikes a document off, so this ends.
        while windows.len() < request.samples {
            if candidates.is_empty() {
                return pack(documents, request, &mut rng);
            }
            let at = rng.below(candidates.len());
            let tokens = documents.tokens(candidates[at])?;
            if tokens.len() <= request.seqlen {
                candidates.swap_remove(at);
                continue;
            }
            let offset = rng.below(tokens.len() - request.seqlen);
            windows.push(Window {
                input_ids: tokens[offset..offset + request.seqlen].to_vec(),
                pieces: vec![Piece { document: candidates[at], offset, length: request.seqlen }],
            });
        }
        Ok(windows)
    }
}

/// Documents in random order, joined by the end-of-text token, cut into windows.
fn pack(documents: &Documents, request: &SelectionRequest, rng: &mut Rng) -> Result<Vec<Window>> {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    rng.shuffle(&mut order);
    let mut windows = Vec::with_capacity(request.samples);
    let mut window = Window { input_ids: Vec::with_capacity(request.seqlen), pieces: Vec::new() };
    let mut seen = 0;
    for document in order {
        let mut tokens = documents.tokens(document)?;
        if let Some(eos) = request.eos.filter(|eos| tokens.last() != Some(eos)) {
            tokens.push(eos);
        }
        seen += tokens.len();
        let mut offset = 0;
        while offset < tokens.len() {
            let length = (tokens.len() - offset).min(request.seqlen - window.input_ids.len());
            window.input_ids.extend_from_slice(&tokens[offset..offset + length]);
            window.pieces.push(Piece { document, offset, length });
            offset += length;
            if window.input_ids.len() == request.seqlen {
                windows.push(std::mem::replace(
                    &mut window,
                    Window { input_ids: Vec::new(), pieces: Vec::new() },
                ));
                if windows.len() == request.samples {
                    return Ok(windows);
                }
            }
        }
    }
    let (samples, seqlen) = (request.samples, request.seqlen);
    Err(Error::invalid(format!(
        "no document is longer than a window of {seqlen} tokens, and all {} together have {seen} tokens, where \
         {samples} windows need {}: give more text, fewer --samples or a smaller --seqlen",
        documents.len(),
        samples * seqlen
    )))
}

export_plugin! { selectors: [Random] }
