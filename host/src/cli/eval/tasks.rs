//! The tasks that `host eval` is asked for.

use crate::cli::{CliError, args};
use espalier_base::text::did_you_mean;
use espalier_data::{Reading, Source};
use espalier_evaluate::{ChatForm, DefinitionName, Metric, Task, TaskDefinition};
use std::{collections::BTreeMap, path::Path};

/// The metrics of rows with answers, where none is named.
const METRICS: [Metric; 3] = [Metric::ExactMatch, Metric::F1, Metric::Rouge1];

/// The tasks, in the order they are named in.
///
/// # Errors
/// A definition that is none, named tasks without their data, or flags that have no meaning for them.
pub(super) fn requested(command: &args::Eval) -> Result<Vec<Task>, CliError> {
    let definitions: Vec<_> = command.task.iter().map(|text| DefinitionName::of(text)).collect();
    let named = definitions.iter().flatten().count();
    check_data(command, named)?;
    if named > 0 && named == command.task.len() {
        refuse_unused(command)?;
    }
    let mut data = command.data.iter();
    let mut tasks = Vec::with_capacity(definitions.len());
    for (text, definition) in command.task.iter().zip(definitions) {
        tasks.push(match definition {
            None => rows(command, text.parse()?),
            Some(name) => {
                let definition = TaskDefinition::open(&name)?;
                let name = data.next().map_or("", String::as_str);
                let source = definition.data(Path::new(name), name)?;
                defined(command, Task::defined(definition, source))
            }
        });
    }
    name_apart(&mut tasks)?;
    Ok(tasks)
}

/// A task on rows with answers, or on running text.
fn rows(command: &args::Eval, source: Source) -> Task {
    let metrics = if command.metrics.is_empty() { METRICS.to_vec() } else { command.metrics.clone() };
    let task = Task::new(source, metrics);
    Task {
        reading: Reading {
            prompt: command.prompt.clone(),
            fields: command.fields.clone(),
            ..reading(command)
        },
        max_new_tokens: command.max_new_tokens.map_or(task.max_new_tokens, |most| most as usize),
        stop: command.stop.clone(),
        ..common(command, task)
    }
}

/// A named task.
fn defined(command: &args::Eval, task: Task) -> Task {
    Task {
        reading: reading(command),
        max_new_tokens: command.max_new_tokens.map_or(task.max_new_tokens, |most| most as usize),
        shots: command.shots.map(|shots| shots as usize),
        chat: ChatForm::of(command.apply_chat_template, command.fewshot_as_multiturn),
        ..common(command, task)
    }
}

fn common(command: &args::Eval, task: Task) -> Task {
    Task {
        limit: command.limit.map(|limit| limit as usize),
        seqlen: command.seqlen.map(|seqlen| seqlen as usize),
        ..task
    }
}

fn reading(command: &args::Eval) -> Reading {
    Reading { strict: command.strict, ..Reading::default() }
}

/// Refuses named tasks without their data, and data without a task.
fn check_data(command: &args::Eval, named: usize) -> Result<(), CliError> {
    let given = command.data.len();
    if named == given {
        return Ok(());
    }
    let mut message =
        format!("--data is given {given} times, and {named} of the tasks are named: each has its own");
    if let Some(other) =
        command.task.iter().find(|text| !Path::new(text).exists() && DefinitionName::of(text).is_none())
    {
        let names = DefinitionName::shipped();
        let near = did_you_mean(other, names.iter().copied());
        message = format!("there is no task {other}{near}; there are {}", names.join(", "));
    }
    Err(CliError::Usage(message))
}

/// Refuses flags that say how rows with answers are measured, where there are none.
fn refuse_unused(command: &args::Eval) -> Result<(), CliError> {
    let unused = [
        ("--metrics", !command.metrics.is_empty()),
        ("--prompt", command.prompt.is_some()),
        ("--fields", command.fields.is_some()),
        ("--stop", !command.stop.is_empty()),
        ("--dense", command.dense.is_some()),
    ];
    match unused.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CliError::Usage(format!(
            "{flag} has no meaning here: a named task says itself what is measured and how"
        ))),
        None => Ok(()),
    }
}

/// Gives tasks of one name the paths of their data for their names.
fn name_apart(tasks: &mut [Task]) -> Result<(), CliError> {
    for (place, task) in tasks.iter().enumerate() {
        let twice = tasks[..place]
            .iter()
            .any(|other| other.source.path == task.source.path && other.definition == task.definition);
        if twice {
            return Err(CliError::Usage(format!("--task {} is given twice", task.source.path.display())));
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for task in tasks.iter() {
        *counts.entry(task.name.clone()).or_default() += 1;
    }
    for task in tasks.iter_mut().filter(|task| counts[&task.name] > 1) {
        let path = task.source.path.display();
        task.name =
            if task.definition.is_some() { format!("{} on {path}", task.name) } else { path.to_string() };
    }
    Ok(())
}
