//! Python's `random.Random`, as far as lm-evaluation-harness draws examples with it: the same examples for the same seed.

use rand_mt::Mt;
use std::collections::HashSet;

/// A generator that gives what Python's of the same seed gives.
pub(super) struct PythonRandom(Mt);

impl PythonRandom {
    /// A generator of this seed.
    pub(super) fn new(seed: u32) -> Self {
        Self(Mt::new_with_key([seed]))
    }

    /// `random.sample(range(of), count)`; `count` is at most `of`.
    pub(super) fn sample(&mut self, of: usize, count: usize) -> Vec<usize> {
        // Where few of many are drawn, Python remembers those that were, and else those that are left.
        let mut small = 21;
        if count > 5 {
            small += 4usize.pow((count as f64 * 3.0).log(4.0).ceil() as u32);
        }
        if of <= small {
            let mut pool: Vec<usize> = (0..of).collect();
            return (0..count)
                .map(|done| {
                    let at = self.below(of - done);
                    let drawn = pool[at];
                    pool[at] = pool[of - done - 1];
                    drawn
                })
                .collect();
        }
        let mut drawn = HashSet::new();
        (0..count)
            .map(|_| {
                loop {
                    let at = self.below(of);
                    if drawn.insert(at) {
                        return at;
                    }
                }
            })
            .collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - bound.leading_zeros();
        if bits == 0 {
            return 0;
        }
        loop {
            let drawn = self.bits(bits);
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// `getrandbits`: words from the lowest on, of the last of which the upper bits count.
    fn bits(&mut self, bits: u32) -> usize {
        let mut found = 0;
        let mut at = 0;
        while at < bits {
            let taken = (bits - at).min(32);
            found |= ((self.0.next_u32() >> (32 - taken)) as usize) << at;
            at += taken;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_python() {
        // CPython 3.11: r = random.Random(1234); [r.sample(range(n), k) for n, k in …]
        let mut random = PythonRandom::new(1234);
        assert_eq!(random.sample(10, 3), [7, 1, 0]);
        assert_eq!(random.sample(1000, 5), [92, 932, 965, 961, 826]);
        assert_eq!(random.sample(90, 6), [74, 4, 85, 88, 10, 12]);
        assert_eq!(random.sample(7473, 6), [6279, 2905, 1939, 142, 252, 6461]);
    }
}
