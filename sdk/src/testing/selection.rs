//! Selectors over documents that a test made up.

use crate::{
    Code, Document, Documents, Error, LanguageModel, ModelInfo, Result, SamplingOptions, SelectionRequest,
    Selector, Source, Windows,
    service::{DocumentService, ModelService, WindowService},
};
use serde_json::Value;
use std::{collections::BTreeMap, ops::Range};

/// The documents that a selector without a model offers, in its order, until `request.samples` windows are there:
/// every document is one window, and offered again gives nothing. A document is its text; its tokens are the
/// text's characters.
///
/// # Errors
/// An option that the selector does not have, or the selector's own error.
pub fn select<S: Selector>(
    options: &[(&str, Value)],
    documents: &[&str],
    request: &SelectionRequest,
) -> Result<Vec<usize>> {
    let selector = S::new(&super::options(&S::info().options, options)?)?;
    let collection = TestDocuments(documents);
    let mut chosen = OfferedDocuments { of: documents.len(), wanted: request.samples, offered: Vec::new() };
    let documents = Documents::new(&collection)?;
    selector.select(&documents, &LanguageModel::new(&NoModel), request, &mut Windows::new(&mut chosen))?;
    Ok(chosen.offered)
}

struct TestDocuments<'a>(&'a [&'a str]);

impl TestDocuments<'_> {
    fn text(&self, index: usize) -> Result<&str> {
        let text = self.0.get(index).copied();
        text.ok_or_else(|| Error::invalid(format!("there is no document {index} of {}", self.0.len())))
    }
}

impl DocumentService for TestDocuments<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn sources(&self) -> Result<Vec<Source>> {
        Ok(vec![Source { name: "test".to_owned(), share: 1.0, documents: 0..self.0.len(), min_tokens: 1 }])
    }

    fn document(&self, index: usize) -> Result<Document> {
        Ok(Document { text: self.text(index)?.to_owned(), source: "test".to_owned() })
    }

    fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        Ok(self.text(index)?.chars().map(u32::from).collect())
    }

    fn fields(&self, index: usize) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::from([("text".to_owned(), self.text(index)?.to_owned())]))
    }

    fn answer(&self, index: usize) -> Result<Option<Range<usize>>> {
        self.text(index).map(|_| None)
    }

    fn decode(&self, tokens: &[u32]) -> Result<String> {
        let character = |&token: &u32| char::from_u32(token);
        let text: Option<String> = tokens.iter().map(character).collect();
        text.ok_or_else(|| Error::invalid("a token is not a character"))
    }
}

/// The offers that were taken.
struct OfferedDocuments {
    of: usize,
    wanted: usize,
    offered: Vec<usize>,
}

impl WindowService for OfferedDocuments {
    fn wanted(&self) -> bool {
        self.offered.len() < self.wanted
    }

    fn offer(&mut self, document: usize, _: Option<f64>, limit: usize) -> Result<usize> {
        if document >= self.of {
            return Err(Error::invalid(format!("there is no document {document} of {}", self.of)));
        }
        let gives = usize::from(limit > 0 && self.wanted() && !self.offered.contains(&document));
        self.offered.extend((gives > 0).then_some(document));
        Ok(gives)
    }

    fn offer_at(&mut self, document: usize, _: usize, score: Option<f64>, limit: usize) -> Result<usize> {
        self.offer(document, score, limit)
    }

    fn offer_tokens(&mut self, _: &[u32], _: Option<f64>, _: usize) -> Result<usize> {
        Err(Error::new(Code::Unsupported, "a selector's own text is not kept in tests"))
    }

    fn separate(&mut self) {}
}

struct NoModel;

fn no_model<T>() -> Result<T> {
    Err(Error::new(Code::Unsupported, "there is no model in this test"))
}

impl ModelService for NoModel {
    fn info(&self) -> Result<ModelInfo> {
        no_model()
    }

    fn log_likelihoods(&self, _: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        no_model()
    }

    fn pooled(&self, _: &[&[u32]], _: &[usize]) -> Result<Vec<Vec<f32>>> {
        no_model()
    }

    fn sample(&self, _: &[&[u32]], _: &SamplingOptions) -> Result<Vec<Vec<u32>>> {
        no_model()
    }
}
