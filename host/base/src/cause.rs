//! Why something went wrong, cause by cause.

use std::error::Error;

/// The messages of an error and of each of its causes. Transparent wrappers, which repeat their cause, appear once.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(because) = cause {
        let text = because.to_string();
        if !texts.last().is_some_and(|last| last.ends_with(&text)) {
            texts.push(text);
        }
        cause = because.source();
    }
    texts
}
