//! A row as the text of its requests.

use super::{
    definition::{Choices, Requests, TaskDefinition},
    requests::unfit,
};
use espalier_data::{CalibrationError, Row, RowValue};

/// The text of a row.
#[derive(Debug)]
pub(super) enum Turn {
    /// A context and its continuations, of which one is right.
    Choice { context: String, choices: Vec<String>, gold: usize },
    /// Contexts, of which one is right, and their continuation.
    Partial { contexts: Vec<String>, target: String, gold: usize },
    /// A context and its continuation, or the answer to it.
    Single { context: String, target: String },
}

type Place<'a> = &'a dyn Fn() -> String;

impl Turn {
    /// The text of a row, of which `place` says where it is from.
    ///
    /// # Errors
    /// The row does not fit the definition.
    pub(super) fn of(definition: &TaskDefinition, row: &Row, place: Place) -> Result<Self, CalibrationError> {
        match &definition.requests {
            Requests::Choice { context, choices, gold } => {
                let choices = self::choices(choices, row, place)?;
                check_choices(&choices, place)?;
                let gold = gold_of(&gold.evaluate(row, place)?, &choices, place)?;
                Ok(Self::Choice { context: context.render(row, place)?, choices, gold })
            }
            Requests::Partial { contexts, target, gold } => {
                let render = |context: &espalier_data::RowTemplate| context.render(row, place);
                let contexts = contexts.iter().map(render).collect::<Result<Vec<_>, _>>()?;
                check_choices(&contexts, place)?;
                let gold = gold_of(&gold.evaluate(row, place)?, &contexts, place)?;
                Ok(Self::Partial { contexts, target: self::target(target.render(row, place)?, place)?, gold })
            }
            Requests::Likelihood { context, target } | Requests::Generation { context, target, .. } => {
                let target = self::target(target.render(row, place)?, place)?;
                Ok(Self::Single { context: context.render(row, place)?, target })
            }
        }
    }

    /// The row with its answer, as an example before others.
    pub(super) fn shot(self) -> Shot {
        let (question, answer) = match self {
            Self::Choice { context, mut choices, gold } => (context, choices.swap_remove(gold)),
            Self::Partial { mut contexts, target, gold } => (contexts.swap_remove(gold), target),
            Self::Single { context, target } => (context, target),
        };
        Shot { question, answer }
    }
}

/// An example: a row's text with its answer.
#[derive(Debug)]
pub(super) struct Shot {
    pub(super) question: String,
    pub(super) answer: String,
}

impl Shot {
    /// As it stands before others in plain text.
    pub(super) fn text(&self, definition: &TaskDefinition) -> String {
        [&self.question, &definition.delimiter, &self.answer, &definition.separator]
            .map(String::as_str)
            .concat()
    }
}

fn choices(choices: &Choices, row: &Row, place: Place) -> Result<Vec<String>, CalibrationError> {
    let (list, each) = match choices {
        Choices::Listed(listed) => return listed.iter().map(|choice| choice.render(row, place)).collect(),
        Choices::Of { list, each } => (list.evaluate(row, place)?, each),
    };
    let wrong =
        |found: &str| unfit(place(), "choices_from", format!("it is {found}, and should be a list of texts"));
    let RowValue::List(items) = list else { return Err(wrong(list.kind())) };
    let text = |item: RowValue| match item {
        RowValue::Text(text) => Ok(text),
        other => Err(wrong(&format!("a list with {} in it", other.kind()))),
    };
    let texts = items.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    match each {
        None => Ok(texts),
        Some(each) => texts.iter().map(|choice| each.render_choice(row, choice, place)).collect(),
    }
}

/// Refuses choices of which none can be chosen.
fn check_choices(choices: &[String], place: Place) -> Result<(), CalibrationError> {
    let wrong = |problem: String| Err(unfit(place(), "choices", problem));
    if choices.len() < 2 {
        return wrong(format!("there is nothing to choose from: {} choices", choices.len()));
    }
    for (number, choice) in choices.iter().enumerate() {
        if choice.trim().is_empty() {
            return wrong(format!("choice {number} (from 0) is empty"));
        }
        if let Some(other) = choices[..number].iter().position(|other| other == choice) {
            return wrong(format!("choices {other} and {number} (from 0) are equal"));
        }
    }
    Ok(())
}

/// The number of the right choice: a number, its digits, or the choice itself.
fn gold_of(gold: &RowValue, choices: &[String], place: Place) -> Result<usize, CalibrationError> {
    let wrong = |problem: String| unfit(place(), "gold", problem);
    let number = match gold {
        RowValue::Number(number) => *number,
        RowValue::Text(text) => match choices.iter().position(|choice| choice == text) {
            Some(at) => return Ok(at),
            None => text.parse().map_err(|_| wrong(format!("{text:?} is neither a number nor a choice")))?,
        },
        other => return Err(wrong(format!("it is {}, and should be the number of a choice", other.kind()))),
    };
    usize::try_from(number).ok().filter(|&gold| gold < choices.len()).ok_or_else(|| {
        wrong(format!("it is {number}, and the choices are numbered from 0 to {}", choices.len() - 1))
    })
}

fn target(target: String, place: Place) -> Result<String, CalibrationError> {
    if target.trim().is_empty() {
        Err(unfit(place(), "target", "it is empty".to_owned()))
    } else {
        Ok(target)
    }
}
