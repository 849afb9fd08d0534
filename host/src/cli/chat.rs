//! `host chat`.

use super::{
    CliError, args, note, report,
    writing::{Ending, WritingModel, of_chat_template, print_piece, unless_reader_left},
};
use espalier_base::{
    files::{self, Limit},
    guard, interrupt,
};
use espalier_data::{ChatTemplate, Conversation, Message};
use espalier_model::{Generation, Generator};
use std::io::{self, IsTerminal};

/// The part of the context that is kept free for an answer, unless `--max-new-tokens` asks for less.
const ROOM: usize = 4;

pub(super) fn run(command: &args::Chat, verbosity: args::Verbosity) -> Result<(), CliError> {
    interrupt::distinguish_terminations();
    let opened = WritingModel::open(&command.model, &command.device)?;
    let template = ChatTemplate::of_model(&opened.folder).map_err(of_chat_template)?;
    let mut generation = command.writing.generation(&opened.model.config).map_err(CliError::Usage)?;
    // A turn ends where the tokenizer ends texts, whatever the configuration says.
    generation.end_tokens.extend(opened.tokenizer.eos());
    let mut chat = Chat {
        opened: &opened,
        template,
        generation,
        stops: &command.writing.stop,
        generator: Generator::new(&opened.model),
        messages: command.system.iter().map(|system| Message::new("system", system)).collect(),
        verbosity,
    };
    let by_hand = io::stdin().is_terminal() && io::stdout().is_terminal();
    unless_reader_left(chat.talk(by_hand))
}

/// A conversation.
struct Chat<'a> {
    opened: &'a WritingModel,
    template: ChatTemplate,
    generation: Generation,
    stops: &'a [String],
    generator: Generator<'a>,
    /// What was said: a system message if there is one, then turns of the user and the model.
    messages: Vec<Message>,
    verbosity: args::Verbosity,
}

impl Chat<'_> {
    /// Answers line after line, until there are no more.
    fn talk(&mut self, by_hand: bool) -> Result<(), CliError> {
        loop {
            if by_hand {
                print_piece("> ")?;
            }
            let read = guard::interruptible(|| files::read_line(io::stdin().lock(), Limit::PROMPT));
            if by_hand && !matches!(read, Ok(Ok(Ok(Some(_))))) {
                print_piece("\n")?;
            }
            let line = read?.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(CliError::Stdin)?;
            let Some(line) = line else { return Ok(()) };
            if line.trim().is_empty() {
                continue;
            }
            match self.answer(line) {
                // A person can ask for something else; a script cannot.
                Err(error) if by_hand && !error.is_failure() => report(&error),
                other => other?,
            }
        }
    }

    /// Answers what the user says.
    fn answer(&mut self, line: String) -> Result<(), CliError> {
        let prompt = self.ask(line)?;
        let mut begun = false;
        let mut show = |piece: &str| {
            // Many models begin with a space.
            let piece = if begun { piece } else { piece.trim_start() };
            begun |= !piece.is_empty();
            print_piece(piece)
        };
        let (generator, generation) = (&mut self.generator, &self.generation);
        let written = self.opened.write(generator, &prompt, generation, self.stops, &mut show);
        // A question without an answer is no turn.
        let written = written.inspect_err(|_| drop(self.messages.pop()))?;
        if !written.text.ends_with('\n') {
            print_piece("\n")?;
        }
        written.tell();
        if written.end == Ending::Interrupted {
            interrupt::forgive();
            interrupt::check()?;
        }
        match written.text.trim() {
            "" => drop(self.messages.pop()),
            text => self.messages.push(Message::new("assistant", text)),
        }
        if let Some(sampling) = &mut self.generation.sampling {
            // The next answer has draws of its own.
            sampling.seed = sampling.seed.wrapping_add(1);
        }
        Ok(())
    }

    /// Adds what the user says, and gives the tokens of the conversation. Where they leave no room for an answer, the oldest
    /// turns are forgotten.
    fn ask(&mut self, line: String) -> Result<Vec<u32>, CliError> {
        let context = self.opened.context();
        let room = context - self.generation.max_new_tokens.min(context / ROOM).max(1);
        let system = usize::from(self.messages.first().is_some_and(|message| message.role == "system"));
        let mut messages = self.messages.clone();
        messages.push(Message::new("user", line));
        let mut forgotten = 0;
        let prompt = loop {
            let said = Conversation::new(messages.clone());
            let text = self.template.prompt(&said, || "the conversation".to_owned())?;
            let prompt = self.opened.prompt(&text, false)?;
            if prompt.len() <= room {
                break prompt;
            }
            if messages.len() == system + 1 {
                let message = format!(
                    "what you say makes {} tokens, but the model's context ends at {context} and has to hold the answer \
                     too: say less at a time",
                    prompt.len()
                );
                return Err(CliError::Usage(message));
            }
            // A turn is what the user says and the answer.
            messages.drain(system..system + 2);
            forgotten += 1;
        };
        let turns = match forgotten {
            0 => None,
            1 => Some("the oldest turn is".to_owned()),
            several => Some(format!("the oldest {several} turns are")),
        };
        if let Some(turns) = turns {
            note(&format!("the model's context is full: {turns} forgotten"), self.verbosity);
        }
        self.messages = messages;
        Ok(prompt)
    }
}
