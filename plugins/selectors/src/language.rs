//! Documents in one language, by its trigrams (whatlang), or in one script: which language a model is calibrated in decides
//! which languages the pruned model still speaks (Kurz et al., 2408.14398).

use espalier_sdk::{
    Documents, Draw, Error, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest, Selector,
    SelectorInfo, Windows,
};
use whatlang::{Lang, Script};

pub(crate) struct Language {
    language: Option<Lang>,
    script: Option<Script>,
    confidence: f64,
}

impl Selector for Language {
    fn info() -> SelectorInfo {
        SelectorInfo::new("language", "documents at random that are in one language or script")
            .option("language", OptionKind::String, "", "its ISO 639-3 code, such as eng, deu or cmn")
            .option("script", OptionKind::String, "", "such as Latin, Cyrillic, Arabic or Mandarin")
            .option(
                "confidence",
                OptionKind::Float,
                0.5,
                "how sure the detector must be of the language, from 0 to 1",
            )
            .range(0.0..=1.0)
    }

    fn new(options: &Options) -> Result<Self> {
        let language = options.string("language")?;
        let language = parsed(language, Lang::from_code(language), || {
            Lang::all().iter().map(|language| language.code()).collect()
        })?;
        let script = options.string("script")?;
        let script = parsed(script, script.parse().ok(), || {
            Script::all().iter().map(|script| script.name()).collect()
        })?;
        if language.is_none() && script.is_none() {
            return Err(Error::invalid("say which: --option language=eng, or --option script=Latin"));
        }
        Ok(Self { language, script, confidence: options.float("confidence")? })
    }

    fn select(
        &self,
        documents: &Documents,
        _: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut rng = Rng::new(request.seed);
        let mut draw = Draw::new(documents);
        while windows.wanted() {
            let Some((_, document)) = draw.next(&mut rng, |_| false) else { break };
            if let Some(confidence) = self.fits(&documents.get(document)?.text) {
                windows.offer(document, Some(confidence))?;
            }
        }
        Ok(())
    }
}

impl Language {
    /// How sure it is that a text fits; nothing where it does not.
    fn fits(&self, text: &str) -> Option<f64> {
        let found = whatlang::detect(text)?;
        let is_language = |language| found.lang() == language && found.confidence() >= self.confidence;
        let fits = self.language.is_none_or(is_language)
            && self.script.is_none_or(|script| found.script() == script);
        fits.then(|| found.confidence())
    }
}

/// An option's value; nothing where it is empty.
fn parsed<T>(text: &str, value: Option<T>, known: impl Fn() -> Vec<&'static str>) -> Result<Option<T>> {
    match value {
        None if text.is_empty() => Ok(None),
        None => Err(Error::invalid(format!("`{text}` is not one of {}", known().join(", ")))),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    const DOCUMENTS: [&str; 6] = [
        "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised by it.",
        "Der schnelle braune Fuchs springt über den faulen Hund, und niemand im Dorf war überrascht.",
        "Быстрая лиса каждый день перепрыгивает через ленивую собаку, и никто в деревне этому не удивляется, потому что все об этом уже знают.",
        "Le vif renard brun saute par-dessus le chien paresseux, et personne au village n'en fut surpris.",
        "敏捷的棕色狐狸跳过了懒狗，村子里没有人感到惊讶。",
        "1234567890",
    ];

    fn chosen(options: &[(&str, &str)]) -> Result<Vec<usize>> {
        let options: Vec<_> = options.iter().map(|(name, value)| (*name, (*value).into())).collect();
        let request = SelectionRequest { samples: 6, seqlen: 8, seed: 3 };
        let mut chosen = testing::select::<Language>(&options, &DOCUMENTS, &request)?;
        chosen.sort_unstable();
        Ok(chosen)
    }

    #[test]
    fn documents_of_a_language_or_a_script_are_chosen() {
        for (code, document) in [("eng", 0), ("deu", 1), ("rus", 2), ("fra", 3), ("cmn", 4)] {
            assert_eq!(chosen(&[("language", code)]).unwrap(), [document], "{code}");
        }
        assert_eq!(chosen(&[("script", "Latin")]).unwrap(), [0, 1, 3]);
        assert_eq!(chosen(&[("script", "Cyrillic"), ("language", "eng")]).unwrap(), [0; 0]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (options, words) in [
            (&[("language", "xyz")][..], "`xyz` is not one of"),
            (&[("script", "Runes")], "`Runes` is not one of"),
            (&[], "say which"),
        ] {
            let error = chosen(options).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
