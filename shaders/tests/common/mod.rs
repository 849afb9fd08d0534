//! Random operands and comparisons for the tests of the twins.
#![allow(dead_code, unreachable_pub, reason = "a module of several test crates, each using its own part")]

use espalier_shaders::Floats;

/// A small generator (splitmix64): tests need no better, and no dependency.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Elements that are nearly normally distributed.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0).collect()
    }

    /// Scores with zeros and many ties.
    pub fn scores(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| match self.below(4) {
                0 => 0.0,
                1 => self.below(4) as f32,
                _ => self.uniform() * 3.0,
            })
            .collect()
    }
}

/// The elements as f32, one by one.
pub fn floats(x: Floats<'_>) -> Vec<f32> {
    match x {
        Floats::F32(x) => x.to_vec(),
        Floats::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
        Floats::BF16(x) => x.iter().map(|x| x.to_f32()).collect(),
    }
}

/// Every element within `tolerance` of what is expected, relative to numbers over 1.
#[track_caller]
pub fn assert_close(found: &[f32], expected: impl IntoIterator<Item = f64>, tolerance: f64, what: &str) {
    let mut count = 0;
    for (i, expected) in expected.into_iter().enumerate() {
        let error = (f64::from(found[i]) - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{what}: element {i} is {}, not {expected}", found[i]);
        count += 1;
    }
    assert_eq!(count, found.len(), "{what}: as many elements as expected");
}
