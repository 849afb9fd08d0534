//! Chat templates, rendered.
#![no_main]

use espalier_host::data::{ChatTemplate, Conversation, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let message = |role: &str, content: &str| Message::new(role, content);
    let messages = [message("user", "hi"), message("assistant", "ho")];
    if let Ok(template) = ChatTemplate::new(source, Default::default(), "template".into()) {
        let _ = template.render(&Conversation::new(messages.to_vec()), true);
    }
});
