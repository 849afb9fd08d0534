//! Tokenising a long text piece by piece, so that it takes memory for one piece.

use espalier_base::interrupt::{self, Interrupted};
use std::{collections::HashMap, ops::Range};

/// Tokens on either side of a joint that two pieces must have alike.
const ALIKE: usize = 8;

/// A token and the bytes of the text that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) begin: usize,
    pub(super) end: usize,
}

/// How a text is divided, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of a piece.
    pub(super) piece: usize,
    /// Of what a piece has in common with the next one.
    pub(super) shared: usize,
}

/// The tokens of a text, of which `encode` tokenises a part without special tokens, with places that count from the part's
/// beginning. Nothing where two pieces have no tokens alike to be joined at; the text must be tokenised whole then.
///
/// Pieces overlap, and are joined in the middle of a run of tokens that both have alike: what decides where tokens end (words,
/// merges, a best path) depends on what is near.
///
/// # Errors
/// `encode` fails, or an interrupt.
pub(super) fn tokens<E: From<Interrupted>>(
    text: &str,
    sizes: Sizes,
    mut encode: impl FnMut(&str) -> Result<Vec<Piece>, E>,
) -> Result<Option<Vec<u32>>, E> {
    let mut encode_at = |range: Range<usize>| -> Result<Vec<Piece>, E> {
        interrupt::check()?;
        let begin = range.start;
        let mut tokens = encode(&text[range])?;
        for token in &mut tokens {
            token.begin += begin;
            token.end += begin;
        }
        Ok(tokens)
    };
    let mut ids = Vec::new();
    let mut end = text.floor_char_boundary(sizes.piece);
    let mut held = encode_at(0..end)?;
    while end < text.len() {
        let begin = text.floor_char_boundary(end - sizes.shared);
        let next_end = text.floor_char_boundary(begin.saturating_add(sizes.piece));
        if next_end <= end {
            return Ok(None);
        }
        let next = encode_at(begin..next_end)?;
        let Some((of_held, of_next)) = joint(&held, &next, (begin + end) / 2) else { return Ok(None) };
        ids.extend(held[..of_held].iter().map(|token| token.id));
        held = next;
        held.drain(..of_next);
        end = next_end;
    }
    ids.extend(held.iter().map(|token| token.id));
    Ok(Some(ids))
}

/// Where two pieces can be joined: the numbers of a token in both that stands at the same place, as close behind `middle` as
/// there is one, else before it, with equal tokens around it.
fn joint(held: &[Piece], next: &[Piece], middle: usize) -> Option<(usize, usize)> {
    let mut places = HashMap::new();
    for (at, token) in next.iter().enumerate() {
        places.entry(token.begin).or_insert(at);
    }
    let begin = held.partition_point(|token| token.begin < middle);
    let fits = |&at: &usize| -> Option<(usize, usize)> {
        let of_next = *places.get(&held[at].begin)?;
        // Bytes of one character stand at the same place; a joint is not put between them.
        let inner = at > 0 && held[at - 1].begin == held[at].begin;
        (!inner && around(held, at)? == around(next, of_next)?).then_some((at, of_next))
    };
    (begin..held.len()).find_map(|at| fits(&at)).or_else(|| (0..begin).rev().find_map(|at| fits(&at)))
}

/// The tokens on either side of a joint, if there are as many.
fn around(tokens: &[Piece], at: usize) -> Option<&[Piece]> {
    tokens.get(at.checked_sub(ALIKE)?..at + ALIKE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of letters, in tokens of at most three.
    fn encode(text: &str) -> Result<Vec<Piece>, Interrupted> {
        let mut tokens = Vec::new();
        let mut begin = 0;
        for word in text.split_inclusive(' ') {
            for chunk in word.as_bytes().chunks(3) {
                let id = chunk.iter().fold(0, |id, &byte| id * 256 + u32::from(byte));
                tokens.push(Piece { id, begin, end: begin + chunk.len() });
                begin += chunk.len();
            }
        }
        Ok(tokens)
    }

    fn ids(text: &str) -> Vec<u32> {
        encode(text).unwrap().iter().map(|token| token.id).collect()
    }

    #[test]
    fn pieces_make_the_tokens_of_the_whole() {
        let text: String = (0..2000)
            .map(|n: u32| format!("{} ", "abcdefghij".repeat(3)[..1 + (n * 7 % 23) as usize].to_owned()))
            .collect();
        for (piece, shared) in [(500, 200), (777, 300), (4000, 400), (1 << 20, 100)] {
            let found = tokens(&text, Sizes { piece, shared }, encode).unwrap();
            assert_eq!(found.unwrap(), ids(&text), "{piece} {shared}");
        }
    }

    #[test]
    fn what_cannot_be_joined_is_told() {
        // Tokens of one endless word stand where the piece begins, not at the same places.
        let text = "abcdefgh".repeat(1000);
        assert_eq!(tokens(&text, Sizes { piece: 500, shared: 100 }, encode).unwrap(), None);
        assert_eq!(tokens("", Sizes { piece: 500, shared: 100 }, encode).unwrap(), Some(Vec::new()));
    }
}
