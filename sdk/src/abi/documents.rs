//! Documents at the border.

use super::{
    AbiResult, guard,
    json::{from_json, to_json},
    missing, plain,
};
use crate::{AnswerRule, Document, Result, Source, service::DocumentService};
use abi_stable::{
    StableAbi, sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, ROption, RSlice, RStr, RString, RVec, Tuple2},
};
use std::{collections::BTreeMap, ops::Range};

/// [`Source`] with a stable layout.
#[repr(C)]
#[derive(StableAbi)]
pub struct SourceAbi {
    name: RString,
    share: f64,
    start: u64,
    end: u64,
    min_tokens: u64,
}

/// [`DocumentService`] with a stable layout.
#[sabi_trait]
pub trait DocumentsAbi: Send + Sync {
    fn len(&self) -> u64;
    fn sources(&self) -> AbiResult<RVec<SourceAbi>>;
    fn document(&self, index: u64) -> AbiResult<Tuple2<RString, RString>>;
    #[sabi(last_prefix_field)]
    fn tokens(&self, index: u64) -> AbiResult<RVec<u32>>;
    fn fields(&self, _index: u64) -> AbiResult<RVec<Tuple2<RString, RString>>> {
        missing("fields")
    }
    fn answer(&self, _index: u64) -> AbiResult<ROption<Tuple2<u64, u64>>> {
        missing("answer")
    }
    fn prompt(&self, _index: u64) -> AbiResult<ROption<RVec<u32>>> {
        missing("prompt")
    }
    fn decode(&self, _tokens: RSlice<'_, u32>) -> AbiResult<RString> {
        missing("decode")
    }
    fn agree(
        &self,
        _index: u64,
        _answers: RSlice<'_, RSlice<'_, u32>>,
        _rule: RStr<'_>,
    ) -> AbiResult<ROption<RVec<bool>>> {
        missing("agree")
    }
}

/// A collection as it crosses the border, for the length of a call.
pub type DocumentsBox<'a> = DocumentsAbi_TO<'a, RBox<()>>;

/// Packs the host's documents for a plugin.
pub(super) fn pack(service: &dyn DocumentService) -> DocumentsBox<'_> {
    DocumentsAbi_TO::from_value(ExportedDocuments(service), TD_Opaque)
}

struct ExportedDocuments<'a>(&'a dyn DocumentService);

impl DocumentsAbi for ExportedDocuments<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn sources(&self) -> AbiResult<RVec<SourceAbi>> {
        let pack = |source: Source| SourceAbi {
            name: source.name.into(),
            share: source.share,
            start: source.documents.start as u64,
            end: source.documents.end as u64,
            min_tokens: source.min_tokens as u64,
        };
        guard(|| Ok(self.0.sources()?.into_iter().map(pack).collect()))
    }

    fn document(&self, index: u64) -> AbiResult<Tuple2<RString, RString>> {
        guard(|| {
            let Document { text, source } = self.0.document(index as usize)?;
            Ok(Tuple2(text.into(), source.into()))
        })
    }

    fn tokens(&self, index: u64) -> AbiResult<RVec<u32>> {
        guard(|| Ok(self.0.tokens(index as usize)?.into()))
    }

    fn fields(&self, index: u64) -> AbiResult<RVec<Tuple2<RString, RString>>> {
        let pair = |(name, text): (String, String)| Tuple2(name.into(), text.into());
        guard(|| Ok(self.0.fields(index as usize)?.into_iter().map(pair).collect()))
    }

    fn answer(&self, index: u64) -> AbiResult<ROption<Tuple2<u64, u64>>> {
        let span = |span: Range<usize>| Tuple2(span.start as u64, span.end as u64);
        guard(|| Ok(self.0.answer(index as usize)?.map(span).into()))
    }

    fn prompt(&self, index: u64) -> AbiResult<ROption<RVec<u32>>> {
        guard(|| Ok(self.0.prompt(index as usize)?.map(RVec::from).into()))
    }

    fn decode(&self, tokens: RSlice<'_, u32>) -> AbiResult<RString> {
        guard(|| Ok(self.0.decode(tokens.as_slice())?.into()))
    }

    fn agree(
        &self,
        index: u64,
        answers: RSlice<'_, RSlice<'_, u32>>,
        rule: RStr<'_>,
    ) -> AbiResult<ROption<RVec<bool>>> {
        guard(|| {
            let answers: Vec<&[u32]> = answers.iter().map(|answer| answer.as_slice()).collect();
            let rule = from_json(rule.as_str())?;
            Ok(self.0.agree(index as usize, &answers, &rule)?.map(RVec::from).into())
        })
    }
}

/// The plugin's end of a collection.
pub(super) struct ImportedDocuments<'a>(pub(super) DocumentsBox<'a>);

impl DocumentService for ImportedDocuments<'_> {
    fn len(&self) -> usize {
        self.0.len() as usize
    }

    fn sources(&self) -> Result<Vec<Source>> {
        let unpack = |source: SourceAbi| Source {
            name: source.name.into(),
            share: source.share,
            documents: source.start as usize..source.end as usize,
            min_tokens: source.min_tokens as usize,
        };
        Ok(plain(self.0.sources())?.into_iter().map(unpack).collect())
    }

    fn document(&self, index: usize) -> Result<Document> {
        let Tuple2(text, source) = plain(self.0.document(index as u64))?;
        Ok(Document { text: text.into(), source: source.into() })
    }

    fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        plain(self.0.tokens(index as u64)).map(RVec::into_vec)
    }

    fn fields(&self, index: usize) -> Result<BTreeMap<String, String>> {
        let fields = plain(self.0.fields(index as u64))?.into_iter();
        Ok(fields.map(|Tuple2(name, text)| (name.into(), text.into())).collect())
    }

    fn answer(&self, index: usize) -> Result<Option<Range<usize>>> {
        let span = plain(self.0.answer(index as u64))?.into_option();
        Ok(span.map(|Tuple2(start, end)| start as usize..end as usize))
    }

    fn prompt(&self, index: usize) -> Result<Option<Vec<u32>>> {
        let prompt = plain(self.0.prompt(index as u64))?.into_option();
        Ok(prompt.map(RVec::into_vec))
    }

    fn decode(&self, tokens: &[u32]) -> Result<String> {
        plain(self.0.decode(tokens.into())).map(RString::into_string)
    }

    fn agree(&self, index: usize, answers: &[&[u32]], rule: &AnswerRule) -> Result<Option<Vec<bool>>> {
        let answers: Vec<RSlice<'_, u32>> = answers.iter().map(|&answer| answer.into()).collect();
        let rule = to_json(rule)?;
        let agree = plain(self.0.agree(index as u64, answers.as_slice().into(), rule.as_str().into()))?;
        Ok(agree.into_option().map(RVec::into_vec))
    }
}
