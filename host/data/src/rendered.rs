//! Records as prompts and answers.

/// A record as a prompt and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The model's input.
    pub prompt: String,
    /// The expected continuation; empty for running text.
    pub answer: String,
    /// Whether the tokenizer is to add its own special tokens; not where a chat template wrote them.
    pub special: bool,
    /// Whether the chat template writes the turns before the answer differently once the answer follows, so that the
    /// document does not begin with the prompt.
    pub rewritten: bool,
}

impl Rendered {
    /// The prompt with the answer behind it.
    pub fn whole(&self) -> String {
        format!("{}{}", self.prompt, self.answer)
    }

    pub(super) fn new(prompt: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), answer: answer.into(), special: true, rewritten: false }
    }
}

/// The answer that a document shows, of several that would do.
pub(super) fn first(answers: &[String]) -> &str {
    answers.first().map_or("", String::as_str)
}
