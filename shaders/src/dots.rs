//! Inner products of a few vectors with one more: what a product of few rows is made of, where packing
//! operands would cost more than it saves.
//!
//! Written with the processors' vector types, because compilers turn a loop over several sums into
//! scalars more often than not.

use crate::simd::LANES;

/// `out[t] = x[t] · w` for every `t`; every vector is as long as w. The order of the sums depends on the
/// processor and the lengths alone.
///
/// # Panics
/// The lengths differ.
pub(crate) fn dots(x: &[&[f32]], w: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "a result for every vector");
    for (x, out) in x.chunks(4).zip(out.chunks_mut(4)) {
        match *x {
            [a, b, c, d] => out.copy_from_slice(&several::<4, 1>([a, b, c, d], w)),
            [a, b, c] => out.copy_from_slice(&several::<3, 2>([a, b, c], w)),
            [a, b] => out.copy_from_slice(&several::<2, 2>([a, b], w)),
            [a] => out.copy_from_slice(&several::<1, 4>([a], w)),
            _ => unreachable!("chunks of one to four"),
        }
    }
}

/// `T` products at a time, with `U` sums each: four or more chains of additions keep the adders busy.
fn several<const T: usize, const U: usize>(x: [&[f32]; T], w: &[f32]) -> [f32; T] {
    assert!(x.iter().all(|x| x.len() == w.len()), "vectors of one length");
    #[cfg(target_arch = "x86_64")]
    match crate::simd::level() {
        // SAFETY: the processor has these features, as `level` has just found.
        crate::simd::Level::Avx512 => return unsafe { x86::avx512::<T, U>(x, w) },
        // SAFETY: as above.
        crate::simd::Level::Avx2 => return unsafe { x86::avx2::<T, U>(x, w) },
        crate::simd::Level::Baseline => {}
    }
    x.map(|x| portable(x, w))
}

fn portable(x: &[f32], w: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (x, w) in x.chunks(LANES).zip(w.chunks(LANES)) {
        for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
            *sum += x * w;
        }
    }
    crate::simd::pairwise(&mut sums)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Defines the products for one width of vectors. What is left over at the end is added one by one.
    macro_rules! products {
        ($name:ident, $features:literal, $width:literal, $zero:ident, $load:ident, $fma:ident, $add:ident, $sum:expr) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name<const T: usize, const U: usize>(x: [&[f32]; T], w: &[f32]) -> [f32; T] {
                let mut sums = [[$zero(); U]; T];
                let blocks = w.len() / ($width * U);
                for block in 0..blocks {
                    for u in 0..U {
                        let at = (block * U + u) * $width;
                        // SAFETY: `at + $width <= w.len()`, and every x is as long as w.
                        let factor = unsafe { $load(w.as_ptr().add(at)) };
                        for t in 0..T {
                            // SAFETY: as above.
                            let x = unsafe { $load(x[t].as_ptr().add(at)) };
                            sums[t][u] = $fma(x, factor, sums[t][u]);
                        }
                    }
                }
                let mut out = [0.0; T];
                for t in 0..T {
                    let mut sum = sums[t][0];
                    for u in 1..U {
                        sum = $add(sum, sums[t][u]);
                    }
                    out[t] = $sum(sum);
                    for at in blocks * $width * U..w.len() {
                        out[t] += x[t][at] * w[at];
                    }
                }
                out
            }
        };
    }

    products!(
        avx512,
        "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
        16,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_reduce_add_ps
    );
    products!(
        avx2,
        "avx2,fma",
        8,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        |sum| {
            let half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_agrees_with_double_precision() {
        let vector = |seed: usize, len: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 7.0 - 1.5).collect()
        };
        for len in [0, 1, 7, 16, 63, 64, 65, 1000] {
            let w = vector(0, len);
            for count in 1..=9 {
                let x: Vec<Vec<f32>> = (1..=count).map(|seed| vector(seed, len)).collect();
                let x: Vec<&[f32]> = x.iter().map(Vec::as_slice).collect();
                let mut out = vec![f32::NAN; count];
                dots(&x, &w, &mut out);
                for (x, out) in x.iter().zip(out) {
                    let expected: f64 = x.iter().zip(&w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    assert!((f64::from(out) - expected).abs() < 1e-3, "{count} of {len}: {out} {expected}");
                    assert!((f64::from(portable(x, &w)) - expected).abs() < 1e-3);
                    #[cfg(target_arch = "x86_64")]
                    if !matches!(crate::simd::level(), crate::simd::Level::Baseline) {
                        // SAFETY: the processor has at least these features.
                        let [out] = unsafe { x86::avx2::<1, 4>([x], &w) };
                        assert!((f64::from(out) - expected).abs() < 1e-3);
                    }
                }
            }
        }
    }
}
