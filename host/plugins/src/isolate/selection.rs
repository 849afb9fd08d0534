//! Selectors: the documents, the model and the windows that one asks for stay with the host.

use super::{
    forward::Forward,
    message::{Reply, Request, SelectionCall},
};
use espalier_sdk::{
    AnswerRule, Document, Error, ModelInfo, Result, SamplingOptions, Source,
    service::{DocumentService, ModelService, WindowService},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{cell::RefCell, collections::BTreeMap, ops::Range};

/// What a selector may call while it works.
#[derive(Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) documents: &'a dyn DocumentService,
    pub(super) model: &'a dyn ModelService,
    pub(super) windows: &'a RefCell<&'a mut dyn WindowService>,
}

impl Offered<'_> {
    /// Does what the child's selector asks.
    pub(super) fn answer(&self, call: SelectionCall) -> Result<Reply> {
        let Self { documents, model, .. } = self;
        let mut windows = self.windows.borrow_mut();
        match call {
            SelectionCall::Length => packed(&documents.len()),
            SelectionCall::Sources => packed(&documents.sources()?),
            SelectionCall::Document(index) => packed(&documents.document(index)?),
            SelectionCall::Tokens(index) => packed(&documents.tokens(index)?),
            SelectionCall::Fields(index) => packed(&documents.fields(index)?),
            SelectionCall::Answer(index) => packed(&documents.answer(index)?),
            SelectionCall::Prompt(index) => packed(&documents.prompt(index)?),
            SelectionCall::Decode(tokens) => packed(&documents.decode(&tokens)?),
            SelectionCall::Agree { document, answers, rule } => {
                packed(&documents.agree(document, &views(&answers), &rule)?)
            }
            SelectionCall::Model => packed(&model.info()?),
            SelectionCall::LogLikelihoods(sequences) => packed(&model.log_likelihoods(&views(&sequences))?),
            SelectionCall::Pooled(sequences, layers) => packed(&model.pooled(&views(&sequences), &layers)?),
            SelectionCall::Sample(prefixes, options) => packed(&model.sample(&views(&prefixes), &options)?),
            SelectionCall::Wanted => packed(&windows.wanted()),
            SelectionCall::Offer { document, score, limit } => {
                packed(&windows.offer(document, score, limit)?)
            }
            SelectionCall::OfferAt { document, offset, score, limit } => {
                packed(&windows.offer_at(document, offset, score, limit)?)
            }
            SelectionCall::OfferTokens { tokens, score, limit } => {
                packed(&windows.offer_tokens(&tokens, score, limit)?)
            }
            SelectionCall::OfferAnswer { document, prompt, answer, score, limit } => {
                packed(&windows.offer_answer(document, &prompt, &answer, score, limit)?)
            }
            SelectionCall::Separate => {
                windows.separate();
                Ok(Reply::Done)
            }
        }
    }
}

fn packed<T: Serialize>(value: &T) -> Result<Reply> {
    postcard::to_stdvec(value).map(Reply::Packed).map_err(|error| Error::invalid(error.to_string()))
}

fn views(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

fn owned(sequences: &[&[u32]]) -> Vec<Vec<u32>> {
    sequences.iter().map(|tokens| tokens.to_vec()).collect()
}

impl Forward {
    fn select<T: DeserializeOwned>(&self, call: SelectionCall) -> Result<T> {
        match self.ask(Request::Selection(call))? {
            Reply::Packed(bytes) => {
                postcard::from_bytes(&bytes).map_err(|error| Error::invalid(error.to_string()))
            }
            other => Err(super::forward::unexpected(&other)),
        }
    }
}

impl DocumentService for Forward {
    fn len(&self) -> usize {
        // Nothing of the host's fails here.
        self.select(SelectionCall::Length).unwrap_or_default()
    }

    fn sources(&self) -> Result<Vec<Source>> {
        self.select(SelectionCall::Sources)
    }

    fn document(&self, index: usize) -> Result<Document> {
        self.select(SelectionCall::Document(index))
    }

    fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        self.select(SelectionCall::Tokens(index))
    }

    fn fields(&self, index: usize) -> Result<BTreeMap<String, String>> {
        self.select(SelectionCall::Fields(index))
    }

    fn answer(&self, index: usize) -> Result<Option<Range<usize>>> {
        self.select(SelectionCall::Answer(index))
    }

    fn prompt(&self, index: usize) -> Result<Option<Vec<u32>>> {
        self.select(SelectionCall::Prompt(index))
    }

    fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.select(SelectionCall::Decode(tokens.to_vec()))
    }

    fn agree(&self, document: usize, answers: &[&[u32]], rule: &AnswerRule) -> Result<Option<Vec<bool>>> {
        self.select(SelectionCall::Agree { document, answers: owned(answers), rule: rule.clone() })
    }
}

impl ModelService for Forward {
    fn info(&self) -> Result<ModelInfo> {
        self.select(SelectionCall::Model)
    }

    fn log_likelihoods(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        self.select(SelectionCall::LogLikelihoods(owned(sequences)))
    }

    fn pooled(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<Vec<f32>>> {
        self.select(SelectionCall::Pooled(owned(sequences), layers.to_vec()))
    }

    fn sample(&self, prefixes: &[&[u32]], options: &SamplingOptions) -> Result<Vec<Vec<u32>>> {
        self.select(SelectionCall::Sample(owned(prefixes), *options))
    }
}

/// The windows of the host, which are asked for one after the other.
pub(super) struct ForwardWindows<'a>(pub(super) &'a Forward);

impl WindowService for ForwardWindows<'_> {
    fn wanted(&self) -> bool {
        // Without an answer the selector ends, and so does the run.
        self.0.select(SelectionCall::Wanted).unwrap_or_default()
    }

    fn offer(&mut self, document: usize, score: Option<f64>, limit: usize) -> Result<usize> {
        self.0.select(SelectionCall::Offer { document, score, limit })
    }

    fn offer_at(
        &mut self,
        document: usize,
        offset: usize,
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        self.0.select(SelectionCall::OfferAt { document, offset, score, limit })
    }

    fn offer_tokens(&mut self, tokens: &[u32], score: Option<f64>, limit: usize) -> Result<usize> {
        self.0.select(SelectionCall::OfferTokens { tokens: tokens.to_vec(), score, limit })
    }

    fn offer_answer(
        &mut self,
        document: usize,
        prompt: &[u32],
        answer: &[u32],
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        let (prompt, answer) = (prompt.to_vec(), answer.to_vec());
        self.0.select(SelectionCall::OfferAnswer { document, prompt, answer, score, limit })
    }

    fn separate(&mut self) {
        // Nobody can be told of an error; the next request has it, too.
        let _ = self.0.ask(Request::Selection(SelectionCall::Separate));
    }
}
