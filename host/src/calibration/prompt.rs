//! Prompt templates.

use std::borrow::Cow;

/// An instruction as Alpaca's two published templates put it, up to and with the `### Response:` that the
/// answer follows on the next line.
pub fn alpaca_prompt(instruction: &str, input: &str) -> String {
    if input.is_empty() {
        format!(
            "Below is an instruction that describes a task. Write a response that appropriately completes \
             the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
        )
    } else {
        format!(
            "Below is an instruction that describes a task, paired with an input that provides further \
             context. Write a response that appropriately completes the request.\n\n### Instruction:\n\
             {instruction}\n\n### Input:\n{input}\n\n### Response:"
        )
    }
}

/// A whole example: the prompt, and the answer on the next line.
pub(super) fn alpaca_document(instruction: &str, input: Option<&Cow<'_, str>>, output: &str) -> String {
    let mut text = alpaca_prompt(instruction, input.map_or("", AsRef::as_ref));
    text.push('\n');
    text.push_str(output);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of the `text` column of tatsu-lab/alpaca.
    #[test]
    fn renders_the_published_templates() {
        assert_eq!(
            alpaca_document("Add.", None, "3"),
            "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n3"
        );
        assert_eq!(
            alpaca_document("Add.", Some(&"1 2".into()), "3"),
            "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3"
        );
    }
}
