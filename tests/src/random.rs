//! Random operands.

/// A small generator (splitmix64): tests need no better one, and always the same numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// A number in 0..1.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Elements that are nearly normally distributed.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0).collect()
    }

    /// Scores as methods make them, with zeros and many ties.
    pub fn scores(&mut self, count: usize) -> Vec<f32> {
        let score = |random: &mut Self| match random.below(4) {
            0 => 0.0,
            1 => random.below(4) as f32,
            _ => random.uniform() * 3.0,
        };
        (0..count).map(|_| score(self)).collect()
    }
}
