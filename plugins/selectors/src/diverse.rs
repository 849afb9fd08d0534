//! Documents with tokens that none had before: greedy coverage of the vocabulary (`unique_tokens` in the code of ZipCal,
//! 2603.16105). No model is needed.

use crate::pool::{Candidate, Pool};
use espalier_sdk::{
    Documents, LanguageModel, Options, Result, Rng, SelectionRequest, Selector, SelectorInfo, Windows,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

pub(crate) struct Diverse(Pool);

impl Selector for Diverse {
    fn info() -> SelectorInfo {
        Pool::declare(SelectorInfo::new("diverse", "documents with the most tokens that none had before"))
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self(Pool::new(options)?))
    }

    fn select(
        &self,
        documents: &Documents,
        _: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let pool = self.0.draw(documents, request, &mut Rng::new(request.seed))?;
        let mut greedy = Greedy::new(&pool);
        while windows.wanted() {
            let Some((document, gain)) = greedy.next() else { break };
            windows.offer(document, Some(gain as f64))?;
        }
        Ok(())
    }
}

/// Documents by the tokens that they add to those before. Where none adds any, all tokens count as new again.
struct Greedy<'a> {
    /// By what a document added when it was last looked at, which can only have become less: the first whose
    /// gain still holds is the best.
    heap: BinaryHeap<(usize, Reverse<usize>)>,
    unique: Vec<HashSet<u32>>,
    pool: &'a [Candidate],
    seen: HashSet<u32>,
}

impl<'a> Greedy<'a> {
    fn new(pool: &'a [Candidate]) -> Self {
        let unique: Vec<HashSet<u32>> =
            pool.iter().map(|candidate| candidate.tokens.iter().copied().collect()).collect();
        let heap = unique.iter().enumerate().map(|(at, tokens)| (tokens.len(), Reverse(at))).collect();
        Self { heap, unique, pool, seen: HashSet::new() }
    }

    /// The next document, and how many tokens it adds.
    fn next(&mut self) -> Option<(usize, usize)> {
        while let Some((gain, Reverse(at))) = self.heap.pop() {
            if gain == 0 {
                self.heap.push((gain, Reverse(at)));
                self.begin_again();
                continue;
            }
            let now = self.unique[at].difference(&self.seen).count();
            if now == gain {
                self.seen.extend(&self.unique[at]);
                return Some((self.pool[at].document, gain));
            }
            self.heap.push((now, Reverse(at)));
        }
        None
    }

    fn begin_again(&mut self) {
        self.seen.clear();
        let left = std::mem::take(&mut self.heap);
        // A document without tokens would never add any.
        let renewed = left.into_iter().map(|(_, at)| (self.unique[at.0].len(), at));
        self.heap = renewed.filter(|(gain, _)| *gain > 0).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greedy_order(documents: &[&[u32]]) -> Vec<(usize, usize)> {
        let pool: Vec<_> = documents
            .iter()
            .enumerate()
            .map(|(document, tokens)| Candidate { document, tokens: tokens.to_vec() })
            .collect();
        let mut greedy = Greedy::new(&pool);
        std::iter::from_fn(|| greedy.next()).collect()
    }

    #[test]
    fn what_adds_most_comes_first() {
        let documents: [&[u32]; 4] = [&[1, 2], &[1, 2, 3, 3], &[4, 1], &[1]];
        // Document 0 adds nothing behind 1 and 2, so that all counts as new again.
        assert_eq!(greedy_order(&documents), [(1, 3), (2, 1), (0, 2), (3, 1)]);
    }

    #[test]
    fn documents_without_tokens_end_it() {
        assert_eq!(greedy_order(&[&[], &[7]]), [(1, 1)]);
        assert_eq!(greedy_order(&[]), []);
    }

    #[test]
    fn the_lazy_order_is_the_greedy_one() {
        let mut rng = Rng::new(5);
        let documents: Vec<Vec<u32>> =
            (0..30).map(|_| (0..1 + rng.below(12)).map(|_| rng.below(40) as u32).collect()).collect();
        let slices: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
        let mut seen = HashSet::new();
        for (document, gain) in greedy_order(&slices).into_iter().take_while(|(_, gain)| *gain > 0) {
            let gain_of =
                |tokens: &[u32]| tokens.iter().filter(|t| !seen.contains(*t)).collect::<HashSet<_>>().len();
            let best = slices.iter().map(|tokens| gain_of(tokens)).max().unwrap();
            if best == 0 {
                break;
            }
            assert_eq!((gain_of(slices[document]), gain), (best, best));
            seen.extend(slices[document].iter().copied());
        }
        assert!(seen.len() > 30);
    }
}
