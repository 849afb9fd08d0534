//! Rotary position embeddings: the frequencies of every scaling that LLaMA checkpoints use, rounded
//! where `transformers` rounds, and the table of cosines and sines that the devices turn heads with.

use std::{f64::consts::PI, ops::Range};

/// How the frequencies are stretched beyond the context a model was first trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all (Su et al., 2104.09864).
    Default,
    /// Every frequency divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// A base that grows with the sequence once it is longer than the model's context ("NTK-aware").
    Dynamic {
        /// The factor.
        factor: f64,
    },
    /// LLaMA 3.1's: low frequencies divided by a factor, high ones kept, a smooth passage between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// A wavelength above `original_context / low_freq_factor` is long.
        low_freq_factor: f64,
        /// A wavelength below `original_context / high_freq_factor` is short.
        high_freq_factor: f64,
        /// The context the model was first trained on, in tokens.
        original_context: usize,
    },
    /// YaRN (Peng et al., 2309.00071).
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// Turns within the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns within the original context below which a frequency is divided by the whole factor.
        beta_slow: f64,
        /// The context the model was first trained on, in tokens.
        original_context: usize,
        /// The factor of cosines and sines.
        attention_factor: f64,
        /// Whether the ends of the passage are rounded to whole dimensions.
        truncate: bool,
    },
}

/// The rotary position embedding of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Numbers in a head; even.
    pub head_dim: usize,
    /// The base of the frequencies.
    pub theta: f64,
    /// The model's context in tokens.
    pub context: usize,
    /// How frequencies are stretched.
    pub scaling: RopeScaling,
}

impl Rope {
    /// Whether a sequence's length changes the frequencies, so that a table holds for one length only.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.scaling, RopeScaling::Dynamic { .. })
    }

    /// The angle each of the `head_dim / 2` pairs turns by from one position to the next, in radians,
    /// for a sequence of `length` tokens.
    pub fn inverse_frequencies(&self, length: usize) -> Vec<f32> {
        match self.scaling {
            RopeScaling::Default => self.plain(self.theta as f32),
            RopeScaling::Linear { factor } => {
                self.plain(self.theta as f32).into_iter().map(|f| f / factor as f32).collect()
            }
            RopeScaling::Dynamic { factor } => self.plain(self.dynamic_base(factor, length)),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => self
                .plain(self.theta as f32)
                .into_iter()
                .map(|f| {
                    llama3(
                        f,
                        factor as f32,
                        low_freq_factor as f32,
                        high_freq_factor as f32,
                        original_context as f32,
                    )
                })
                .collect(),
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original_context, truncate, .. } => {
                self.yarn(factor, [beta_fast, beta_slow], original_context, truncate)
            }
        }
    }

    /// The factor of cosines and sines.
    pub fn attention_factor(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor as f32,
            _ => 1.0,
        }
    }

    /// The table that `Device::rope` takes for a sequence of `length` tokens: `[length, head_dim]`, row
    /// by row, a position's cosines in the left half of its row and its sines in the right, both times
    /// the [attention factor](Self::attention_factor).
    pub fn table(&self, length: usize) -> Vec<f32> {
        let mut table = Vec::with_capacity(length * self.head_dim);
        self.extend_table(length, 0..length, &mut table);
        table
    }

    /// Appends the rows of these positions in the [table](Self::table) for `length` tokens.
    pub fn extend_table(&self, length: usize, positions: Range<usize>, table: &mut Vec<f32>) {
        let frequencies = self.inverse_frequencies(length);
        let scale = self.attention_factor();
        for position in positions {
            // The angle is rounded to f32 before its cosine is taken, as the models were trained.
            let angles = || frequencies.iter().map(|f| f64::from(position as f32 * f));
            table.extend(angles().map(|angle| angle.cos() as f32 * scale));
            table.extend(angles().map(|angle| angle.sin() as f32 * scale));
        }
    }

    /// `1 / base^(2i / head_dim)`.
    fn plain(&self, base: f32) -> Vec<f32> {
        self.powers(base).map(|power| 1.0 / power).collect()
    }

    /// `base^(2i / head_dim)`, the exponent and the power each rounded to f32.
    fn powers(&self, base: f32) -> impl Iterator<Item = f32> {
        let dim = self.head_dim as f32;
        (0..self.head_dim / 2).map(move |i| f64::from(base).powf(f64::from((2 * i) as f32 / dim)) as f32)
    }

    fn dynamic_base(&self, factor: f64, length: usize) -> f32 {
        if length <= self.context || self.head_dim <= 2 {
            return self.theta as f32;
        }
        let growth = factor as f32 * length as f32 / self.context as f32 - (factor - 1.0) as f32;
        let dim = self.head_dim as f64;
        let power = f64::from(growth).powf(dim / (dim - 2.0)) as f32;
        self.theta as f32 * power
    }

    fn yarn(&self, factor: f64, betas: [f64; 2], original_context: usize, truncate: bool) -> Vec<f32> {
        let dim = self.head_dim as f64;
        // The dimension whose frequency makes this many turns within the original context.
        let dimension =
            |turns: f64| dim * (original_context as f64 / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let [mut low, mut high] = betas.map(dimension);
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let low = low.max(0.0);
        let mut high = high.min(dim - 1.0);
        if low == high {
            high += 0.001;
        }
        let (start, width) = (low as f32, (high - low) as f32);
        self.powers(self.theta as f32)
            .enumerate()
            .map(|(i, power)| {
                let kept = 1.0 - ((i as f32 - start) / width).clamp(0.0, 1.0);
                1.0 / (factor as f32 * power) * (1.0 - kept) + 1.0 / power * kept
            })
            .collect()
    }
}

fn llama3(f: f32, factor: f32, low: f32, high: f32, context: f32) -> f32 {
    let wavelength = 1.0 / f * (2.0 * PI) as f32;
    if wavelength > context / low {
        f / factor
    } else if wavelength < context / high {
        f
    } else {
        let smooth = (1.0 / wavelength * context - low) / (high - low);
        (1.0 - smooth) * f / factor + smooth * f
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from transformers 5.23's `LlamaRotaryEmbedding` in f32: the frequencies 0, 1, h/4, h/2,
    /// h−2 and h−1 of the h = head_dim / 2, and of the last position's row cos[1], cos[h/2], sin[1] and
    /// sin[h−1].
    struct Recorded {
        rope: Rope,
        length: usize,
        frequencies: [f32; 6],
        row: [f32; 4],
    }

    fn rope(head_dim: usize, theta: f64, context: usize, scaling: RopeScaling) -> Rope {
        Rope { head_dim, theta, context, scaling }
    }

    fn llama(factor: f64) -> RopeScaling {
        RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192 }
    }

    #[expect(clippy::excessive_precision, reason = "the numbers stand as they were printed")]
    fn recorded() -> Vec<Recorded> {
        let dynamic = RopeScaling::Dynamic { factor: 2.0 };
        let yarn = |factor, betas: [f64; 2], attention_factor, truncate| RopeScaling::Yarn {
            factor,
            beta_fast: betas[0],
            beta_slow: betas[1],
            original_context: 4096,
            attention_factor,
            truncate,
        };
        vec![
            Recorded {
                rope: rope(128, 1e4, 2048, RopeScaling::Default),
                length: 5,
                frequencies: [1.0, 0.865964353, 0.1, 0.00999999978, 0.00013335215, 0.000115478193],
                row: [-0.948520601, 0.999200106, -0.316715539, 0.000461912743],
            },
            Recorded {
                rope: rope(128, 1e6, 32768, RopeScaling::Default),
                length: 5,
                frequencies: [1.0, 0.805842221, 0.0316227786, 0.001, 1.53992653e-06, 1.24093776e-06],
                row: [-0.996658206, 0.999992013, -0.0816851184, 4.96375105e-06],
            },
            Recorded {
                rope: rope(64, 1e4, 2048, RopeScaling::Linear { factor: 4.0 }),
                length: 5,
                frequencies: [0.25, 0.18747355, 0.025, 0.00249999994, 4.44569851e-05, 3.33380376e-05],
                row: [0.731760979, 0.999949992, 0.681561351, 0.00013335215],
            },
            Recorded {
                rope: rope(64, 1e4, 128, dynamic),
                length: 100,
                frequencies: [1.0, 0.749894202, 0.1, 0.00999999978, 0.00017782794, 0.00013335215],
                row: [0.400532097, 0.548689902, -0.916282713, 0.0132014789],
            },
            Recorded {
                rope: rope(64, 1e4, 128, dynamic),
                length: 300,
                frequencies: [1.0, 0.718982458, 0.0714079514, 0.0050990954, 5.02978728e-05, 3.61632883e-05],
                row: [0.221490815, 0.0461504534, 0.975162446, 0.0108126132],
            },
            Recorded {
                rope: rope(128, 5e5, 131072, llama(8.0)),
                length: 5,
                frequencies: [1.0, 0.814617217, 0.0376060307, 0.000524846022, 3.7673226e-07, 3.06892588e-07],
                row: [-0.993177772, 0.999997795, -0.116610304, 1.22757035e-06],
            },
            Recorded {
                rope: rope(64, 5e5, 131072, llama(32.0)),
                length: 5,
                frequencies: [1.0, 0.663601279, 0.0376060307, 0.000429556705, 1.41927202e-07, 9.41830649e-08],
                row: [-0.883652985, 0.99999851, 0.468142509, 3.7673226e-07],
            },
            Recorded {
                rope: rope(128, 1e4, 16384, yarn(4.0, [32.0, 1.0], 1.138629436111989, true)),
                length: 5,
                frequencies: [1.0, 0.865964353, 0.1, 0.00653846189, 3.33380376e-05, 2.88695483e-05],
                row: [-1.08001351, 1.13823998, -0.360621631, 0.000131486871],
            },
            Recorded {
                rope: rope(64, 1e4, 163840, yarn(40.0, [16.0, 2.0], 0.8521510516131852, false)),
                length: 5,
                frequencies: [1.0, 0.749894202, 0.1, 0.00579010462, 4.44569832e-06, 3.33380353e-06],
                row: [-0.84357214, 0.851922452, 0.120612562, 1.1363617e-05],
            },
            Recorded {
                rope: rope(32, 1e4, 16384, yarn(4.0, [32.0, 1.0], 1.25, true)),
                length: 5,
                frequencies: [1.0, 0.562341332, 0.1, 0.00678571407, 7.90569466e-05, 4.44569851e-05],
                row: [-0.784599662, 1.24953961, 0.973089635, 0.000222284929],
            },
        ]
    }

    #[test]
    fn agrees_with_transformers() {
        for Recorded { rope, length, frequencies, row } in recorded() {
            let half = rope.head_dim / 2;
            let found = rope.inverse_frequencies(length);
            for (place, expected) in
                [0, 1, half / 4, half / 2, half - 2, half - 1].into_iter().zip(frequencies)
            {
                let error = (found[place] - expected).abs() / expected;
                assert!(error < 2e-7, "{rope:?}: frequency {place} is {}, not {expected}", found[place]);
            }
            let table = rope.table(length);
            assert_eq!(table.len(), length * rope.head_dim);
            let last = &table[(length - 1) * rope.head_dim..];
            for (place, expected) in [1, half / 2, half + 1, rope.head_dim - 1].into_iter().zip(row) {
                let error = (last[place] - expected).abs();
                assert!(error < 2e-6, "{rope:?}: entry {place} is {}, not {expected}", last[place]);
            }
        }
    }

    #[test]
    fn the_first_position_does_not_turn() {
        for Recorded { rope, .. } in recorded() {
            let row = rope.table(1);
            let (cosines, sines) = row.split_at(rope.head_dim / 2);
            assert!(cosines.iter().all(|&c| c == rope.attention_factor()));
            assert!(sines.iter().all(|&s| s == 0.0));
        }
    }
}
