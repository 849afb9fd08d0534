//! Draws without replacement.

use crate::{Documents, Rng};
use std::{collections::HashMap, ops::Range};

/// The numbers `0..n` in random order, each drawn when it is asked for (Fisher–Yates from the front): memory
/// grows with what was drawn, not with `n`.
#[derive(Debug, Clone)]
pub struct Shuffled {
    drawn: usize,
    n: usize,
    /// The numbers at places that do not hold their own.
    moved: HashMap<usize, usize>,
}

impl Shuffled {
    /// All of `0..n`, still to be drawn.
    pub fn new(n: usize) -> Self {
        Self { drawn: 0, n, moved: HashMap::new() }
    }

    /// The next number; none when all were drawn.
    pub fn next(&mut self, rng: &mut Rng) -> Option<usize> {
        let left = self.n - self.drawn;
        if left == 0 {
            return None;
        }
        let at = self.drawn + rng.below(left);
        let front = self.moved.remove(&self.drawn).unwrap_or(self.drawn);
        let number = if at == self.drawn { front } else { self.moved.insert(at, front).unwrap_or(at) };
        self.drawn += 1;
        Some(number)
    }
}

/// Documents at random, without replacement, by the [shares](crate::Source::share) of their sources; of
/// those that are not used up where some are.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Of each source that is not used up: its number, share and documents, and those that are left.
    left: Vec<(usize, f64, Range<usize>, Shuffled)>,
}

impl Draw {
    /// All documents of sources that have a share, still to be drawn.
    pub fn new(documents: &Documents) -> Self {
        let sources = documents.sources().iter().enumerate().filter(|(_, source)| source.share > 0.0);
        let all = sources.map(|(at, source)| {
            let documents = source.documents.clone();
            (at, source.share, documents.clone(), Shuffled::new(documents.len()))
        });
        Self { left: all.collect() }
    }

    /// The number of a source, and of one of its documents; none when all were drawn. Of a source that is used
    /// up, `again` says by its number whether all its documents can be drawn anew.
    pub fn next(&mut self, rng: &mut Rng, mut again: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
        while !self.left.is_empty() {
            let at = self.source(rng);
            let (number, _, documents, left) = &mut self.left[at];
            if let Some(document) = left.next(rng) {
                return Some((*number, documents.start + document));
            }
            if again(*number) {
                *left = Shuffled::new(documents.len());
            } else {
                self.left.remove(at);
            }
        }
        None
    }

    fn source(&self, rng: &mut Rng) -> usize {
        let total: f64 = self.left.iter().map(|(_, share, ..)| share).sum();
        let mut point = rng.unit() * total;
        let hit = self.left.iter().position(|(_, share, ..)| {
            point -= share;
            point < 0.0
        });
        hit.unwrap_or(self.left.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Result, Source, service::DocumentService};

    /// Two sources of 3 and 2 documents.
    struct Two([f64; 2]);

    impl DocumentService for Two {
        fn len(&self) -> usize {
            5
        }

        fn sources(&self) -> Result<Vec<Source>> {
            let source = |share, documents| Source { name: String::new(), share, documents, min_tokens: 1 };
            Ok(vec![source(self.0[0], 0..3), source(self.0[1], 3..5)])
        }

        fn document(&self, _: usize) -> Result<Document> {
            unreachable!("a draw reads nothing")
        }

        fn tokens(&self, _: usize) -> Result<Vec<u32>> {
            unreachable!("a draw reads nothing")
        }
    }

    #[test]
    fn a_draw_goes_by_shares_and_has_every_document_once() {
        let (two, mut rng) = (Two([0.25, 0.75]), Rng::new(3));
        let documents = Documents::new(&two).unwrap();
        let mut first = [0u32; 5];
        for _ in 0..12_000 {
            let mut draw = Draw::new(&documents);
            let drawn: Vec<_> = std::iter::from_fn(|| draw.next(&mut rng, |_| false)).collect();
            first[drawn[0].1] += 1;
            let mut sorted: Vec<_> = drawn.iter().map(|(_, document)| *document).collect();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
            assert!(drawn.iter().all(|(source, document)| *source == usize::from(*document > 2)));
        }
        // Chi-squared with 4 degrees of freedom: 18.47 is passed once in a thousand seeds.
        let expected = [1000.0, 1000.0, 1000.0, 4500.0, 4500.0];
        let chi: f64 = first.iter().zip(expected).map(|(&c, e)| (f64::from(c) - e).powi(2) / e).sum();
        assert!(chi < 18.47, "{first:?} gives {chi}");
    }

    #[test]
    fn a_source_can_begin_again_and_one_without_a_share_is_left_out() {
        let (two, mut rng) = (Two([1.0, 0.0]), Rng::new(3));
        let documents = Documents::new(&two).unwrap();
        let (mut draw, mut rounds) = (Draw::new(&documents), 0);
        let again = |_| {
            rounds += 1;
            rounds < 3
        };
        let mut again = again;
        let drawn: Vec<_> = std::iter::from_fn(|| draw.next(&mut rng, &mut again)).collect();
        let times = |document| drawn.iter().filter(|(_, drawn)| *drawn == document).count();
        assert_eq!((0..5).map(times).collect::<Vec<_>>(), [3, 3, 3, 0, 0]);
    }

    #[test]
    fn a_shuffle_has_every_number_once_and_every_order_as_often() {
        let mut rng = Rng::new(11);
        let mut counts = HashMap::new();
        for _ in 0..24_000 {
            let mut shuffled = Shuffled::new(4);
            let order: Vec<_> = std::iter::from_fn(|| shuffled.next(&mut rng)).collect();
            *counts.entry(order).or_insert(0u32) += 1;
        }
        assert!(counts.keys().all(|order| (0..4).all(|number| order.contains(&number))));
        // Chi-squared with 23 degrees of freedom: 49.73 is passed once in a thousand seeds.
        let chi: f64 = counts.values().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(counts.len() == 24 && chi < 49.73, "{chi}: {counts:?}");
        assert_eq!(Shuffled::new(0).next(&mut rng), None);
    }
}
