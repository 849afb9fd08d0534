//! What stands before a continuation: the description, examples and the question of a task, as plain text or in the model's
//! chat template, to the letter as lm-evaluation-harness 0.4.13 puts them together (`fewshot_context`,
//! `multiturn_to_singleturn`, `HFLM.apply_chat_template`).

use super::{Result, definition::TaskDefinition, task::ChatForm, turns::Shot};
use espalier_data::{CalibrationError, ChatTemplate, Conversation, Message};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Makes the contexts of a task.
pub(super) struct Contexts<'a> {
    definition: &'a TaskDefinition,
    chat: Option<(ChatTemplate, ChatForm)>,
    /// Whether it was warned of a template that refuses system messages.
    warned: AtomicBool,
}

/// What stands before the question of an item.
pub(super) struct Before<'a> {
    pub(super) description: String,
    pub(super) shots: &'a [Shot],
}

impl<'a> Contexts<'a> {
    /// Contexts for the model in `folder`.
    ///
    /// # Errors
    /// A chat template is asked for, and the model has none, or one that cannot be read.
    pub(super) fn new(definition: &'a TaskDefinition, chat: Option<ChatForm>, folder: &Path) -> Result<Self> {
        let chat = chat.map(|form| Ok::<_, CalibrationError>((ChatTemplate::of_model(folder)?, form)));
        Ok(Self { definition, chat: chat.transpose()?, warned: AtomicBool::new(false) })
    }

    /// What stands between a context and a choice: nothing where the template ends the context.
    pub(super) fn delimiter(&self) -> &str {
        if self.chat.is_some() { "" } else { &self.definition.delimiter }
    }

    /// A question with all that stands before it.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub(super) fn context(
        &self,
        before: &Before,
        question: &str,
        place: impl Fn() -> String,
    ) -> Result<String, CalibrationError> {
        let Some((template, form)) = &self.chat else {
            return Ok([before.text(self.definition).as_str(), question].concat());
        };
        let mut messages = Vec::new();
        match form {
            ChatForm::Multi => {
                for shot in before.shots {
                    messages.push(Message::new("user", shot.question.as_str()));
                    messages.push(Message::new("assistant", shot.answer.as_str()));
                }
                messages.push(Message::new("user", question));
            }
            ChatForm::Single => {
                let shots: String = before.shots.iter().map(|shot| shot.text(self.definition)).collect();
                messages.push(Message::new("user", shots + question));
            }
        }
        if before.description.is_empty() {
            return template.prompt(&Conversation::new(messages), place);
        }
        let system = Message::new("system", before.description.as_str());
        let with_system = Conversation::new([std::slice::from_ref(&system), messages.as_slice()].concat());
        match template.prompt(&with_system, &place) {
            Ok(text) => Ok(text),
            Err(refused) => {
                let text = template.prompt(&Conversation::new(messages), place)?;
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "{}: the chat template refuses a system message, so that the task's description is left out ({refused})",
                        self.definition.name
                    );
                }
                Ok(text)
            }
        }
    }
}

impl Before<'_> {
    /// As plain text.
    pub(super) fn text(&self, definition: &TaskDefinition) -> String {
        let shots: String = self.shots.iter().map(|shot| shot.text(definition)).collect();
        [self.description.as_str(), shots.as_str()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::DefinitionName;
    use std::collections::BTreeMap;

    const REFUSING: &str = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}[{{ \
                            m.role }}:{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}";

    #[test]
    fn examples_are_turns_or_one_message() {
        let definition = TaskDefinition::open(&DefinitionName::of("mmlu").unwrap()).unwrap();
        let shots = [Shot { question: "1?".to_owned(), answer: "A".to_owned() }];
        let context = |form: Option<ChatForm>, source: &str| {
            let template = |form| (ChatTemplate::new(source, BTreeMap::new(), "t".into()).unwrap(), form);
            let contexts = Contexts {
                definition: &definition,
                chat: form.map(template),
                warned: AtomicBool::new(false),
            };
            let before = Before { description: "Say.\n".to_owned(), shots: &shots };
            (contexts.context(&before, "2?", String::new).unwrap(), contexts.delimiter().to_owned())
        };
        let plain = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}";
        for (form, source, expected, delimiter) in [
            (None, plain, "Say.\n1? A\n\n2?", " "),
            (Some(ChatForm::Multi), plain, "[system:Say.\n][user:1?][assistant:A][user:2?]", ""),
            (Some(ChatForm::Single), plain, "[system:Say.\n][user:1? A\n\n2?]", ""),
            // As the harness, without the system message where the template refuses it.
            (Some(ChatForm::Multi), REFUSING, "[user:1?][assistant:A][user:2?]>", ""),
        ] {
            assert_eq!(context(form, source), (expected.to_owned(), delimiter.to_owned()), "{form:?}");
        }
    }
}
