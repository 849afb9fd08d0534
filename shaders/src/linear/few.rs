//! Products of few tokens, as in generating text: memory sets the pace, so that weights are read once, in their own type, by all
//! threads along one way through them, and widened in registers.
//!
//! Inputs are met in blocks of [`BLOCK`]: in each, the first half's products are added to [`LANES`] sums, then the second
//! half's. What is in which half is the [`Order`]'s. So a token's result depends on neither the number of tokens nor how many
//! outputs are computed at a time, and weights without their zeros give what they give with them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::{
    borrow::Cow,
    sync::atomic::{AtomicUsize, Ordering},
};

use rayon::prelude::*;

use super::{Mode, Products, Rows, gate};
use crate::{
    Compute, Floats, FloatsMut, Packed, Weights,
    parallel::{Disjoint, with_scratch},
    simd::LANES,
};

/// Inputs that are met at a time.
const BLOCK: usize = 2 * LANES;

/// Outputs that are computed at a time, where there are so many.
const OUTPUTS: usize = 4;

/// Tokens that are computed at a time, where there are so many.
const TOKENS: usize = 4;

/// Bytes of dense weights of a task: enough for its beginning, where memory is waited for, not to count.
const TASK_BYTES: [usize; 2] = [64 << 10, 1 << 20];

/// Tasks for every thread, so that all end together.
const TASKS_A_THREAD: usize = 8;

/// What is in the halves of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The first and the second half of the inputs.
    InTurn,
    /// Inputs at even and at odd places: a bf16 is widened where it lies in its pair.
    Interleaved,
}

/// Computes products of at most [`FEW_TOKENS`](super::FEW_TOKENS) tokens.
pub(super) fn multiply(rows: &Rows, tokens: usize, layers: &mut [Products]) {
    let mut prepared = Vec::new();
    let x = rows.prepare(0..tokens, &mut prepared);
    let inputs = rows.inputs;
    let arrange = |order| {
        let mut matrices = layers.iter().flat_map(|layer| &layer.products);
        matrices
            .any(|product| Form::of(product.w, rows.compute).order() == order)
            .then(|| Arranged::new(x, tokens, order))
    };
    let arranged = [arrange(Order::InTurn), arrange(Order::Interleaved)];
    let all: usize = layers.iter().map(|layer| layer.products.len() * layer.outputs * inputs * 2).sum();
    let bytes = (all / (TASKS_A_THREAD * rayon::current_num_threads())).clamp(TASK_BYTES[0], TASK_BYTES[1]);
    let outputs = (bytes / (2 * inputs).max(1)).max(1).next_multiple_of(OUTPUTS);
    let layers: Vec<_> = layers
        .iter_mut()
        .map(|Products { products, outputs, y }| (&*products, *outputs, Disjoint::new(y)))
        .collect();
    let tasks = layers.iter().map(|(_, all, _)| all.div_ceil(outputs)).sum();
    let run = |mut task: usize| {
        for &(products, all, y) in &layers {
            let here = all.div_ceil(outputs);
            if task >= here {
                task -= here;
                continue;
            }
            let range = task * outputs..all.min((task + 1) * outputs);
            for product in products {
                let form = Form::of(product.w, product.compute);
                let x = arranged[form.order() as usize].as_ref().expect("inputs in every order that is met");
                product_of(form, product.compute, inputs, x, range.clone(), |output, token, sum| {
                    // SAFETY: one element, which is this task's alone.
                    let y = unsafe { &mut y.slice(token * all + output, 1)[0] };
                    let sum = product.bias.as_ref().map_or(sum, |bias| sum + bias[output]);
                    *y = match product.mode {
                        Mode::Write => sum,
                        Mode::Add => *y + sum,
                        Mode::Gate => gate::gated(*y, sum),
                    };
                });
            }
            return;
        }
    };
    each(tasks, run);
}

/// Runs every task, the next one on whichever thread is free: weights are read along one way through memory, and a thread that
/// wakes late or is held up leaves more to the others.
fn each(tasks: usize, run: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    (0..rayon::current_num_threads().min(tasks)).into_par_iter().with_max_len(1).for_each(|_| {
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            run(task);
        }
    });
}

/// Rows of inputs, each in blocks that are filled up with zeros, in some order.
struct Arranged<'a> {
    x: Cow<'a, [f32]>,
    tokens: usize,
    stride: usize,
}

impl<'a> Arranged<'a> {
    fn new(x: &'a [f32], tokens: usize, order: Order) -> Self {
        let inputs = x.len() / tokens;
        let stride = inputs.next_multiple_of(BLOCK);
        if inputs == 0 || (order == Order::InTurn && stride == inputs) {
            return Self { x: Cow::Borrowed(x), tokens, stride };
        }
        let mut arranged = vec![0.0; tokens * stride];
        for (out, x) in arranged.chunks_exact_mut(stride).zip(x.chunks_exact(inputs)) {
            match order {
                Order::InTurn => out[..inputs].copy_from_slice(x),
                Order::Interleaved => {
                    for (out, x) in out.chunks_exact_mut(BLOCK).zip(x.chunks(BLOCK)) {
                        let (even, odd) = out.split_at_mut(LANES);
                        for (place, &x) in x.iter().enumerate() {
                            if place % 2 == 0 { even[place / 2] = x } else { odd[place / 2] = x }
                        }
                    }
                }
            }
        }
        Self { x: Cow::Owned(arranged), tokens, stride }
    }

    /// Some rows, from one on.
    fn rows<const T: usize>(&self, first: usize) -> [&[f32]; T] {
        std::array::from_fn(|token| &self.x[(first + token) * self.stride..][..self.stride])
    }
}

/// How weights are taken.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// As they are.
    Dense(Floats<'a>),
    /// Without zeros, which are put in on the way.
    Packed(Packed<'a>),
    /// As f32, widened and rounded to the type to compute in a few rows at a time.
    Widened(Weights<'a>),
}

impl<'a> Form<'a> {
    fn of(w: Weights<'a>, compute: Compute) -> Self {
        let floats = match w {
            Weights::Dense(floats) => floats,
            Weights::Packed(packed) => packed.values(),
        };
        let is_exact = matches!(
            (floats, compute),
            (_, Compute::F32) | (Floats::F16(_), Compute::F16) | (Floats::BF16(_), Compute::BF16)
        );
        match w {
            _ if !is_exact || !widens(floats) => Self::Widened(w),
            Weights::Dense(floats) => Self::Dense(floats),
            Weights::Packed(packed) => Self::Packed(packed),
        }
    }

    fn order(self) -> Order {
        match self {
            Self::Dense(Floats::BF16(_)) => Order::Interleaved,
            Self::Packed(packed) if matches!(packed.values(), Floats::BF16(_)) => Order::Interleaved,
            _ => Order::InTurn,
        }
    }
}

/// Whether this processor's loops widen weights of this type in registers.
fn widens(floats: Floats) -> bool {
    #[cfg(target_arch = "x86_64")]
    match crate::simd::level() {
        crate::simd::Level::Avx512 => return true,
        crate::simd::Level::Avx2 => return !matches!(floats, Floats::F16(_)),
        crate::simd::Level::Baseline => {}
    }
    matches!(floats, Floats::F32(_))
}

/// The products of some outputs' weights with every token's inputs, each given to `put` with its output and token.
fn product_of(
    form: Form,
    compute: Compute,
    inputs: usize,
    x: &Arranged,
    outputs: std::ops::Range<usize>,
    mut put: impl FnMut(usize, usize, f32),
) {
    if let Form::Packed(packed) = form
        && takes_packed(x.tokens)
    {
        return packed_rows(packed, outputs, x, put);
    }
    let mut first = outputs.start;
    while first < outputs.end {
        let count = if outputs.end - first >= OUTPUTS { OUTPUTS } else { 1 };
        let mut put = |row: usize, token: usize, sum: f32| put(first + row, token, sum);
        match form {
            Form::Dense(floats) => {
                rows_of(floats.slice(first * inputs..(first + count) * inputs), count, x, &mut put)
            }
            Form::Packed(packed) => {
                with_expanded(packed, first..first + count, |dense| rows_of(dense, count, x, &mut put))
            }
            Form::Widened(w) => with_scratch(count * inputs, |wide| {
                match w {
                    Weights::Dense(floats) => {
                        floats.slice(first * inputs..(first + count) * inputs).widen(wide)
                    }
                    Weights::Packed(packed) => {
                        with_expanded(packed, first..first + count, |dense| dense.widen(wide))
                    }
                }
                compute.round(wide);
                rows_of(Floats::F32(wide), count, x, &mut put);
            }),
        }
        first += count;
    }
}

/// Runs `f` with some rows of a matrix, zeros put in.
fn with_expanded<R>(packed: Packed, rows: std::ops::Range<usize>, f: impl FnOnce(Floats) -> R) -> R {
    let elements = rows.len() * packed.cols();
    // Room for elements of four bytes does for those of two.
    with_scratch(elements, |scratch| match packed.values() {
        Floats::F32(_) => {
            packed.expand(rows, FloatsMut::F32(scratch));
            f(Floats::F32(scratch))
        }
        Floats::F16(_) => {
            let half = &mut bytemuck::cast_slice_mut(scratch)[..elements];
            packed.expand(rows, FloatsMut::F16(half));
            f(Floats::F16(half))
        }
        Floats::BF16(_) => {
            let half = &mut bytemuck::cast_slice_mut(scratch)[..elements];
            packed.expand(rows, FloatsMut::BF16(half));
            f(Floats::BF16(half))
        }
    })
}

/// Runs `$run` for as many tokens at a time as fit, with the first one's number and how many they are as a constant.
macro_rules! in_groups {
    ($x:expr, |$first:ident, $count:ident| $run:expr) => {{
        let tokens = $x.tokens;
        let mut $first = 0;
        while $first < tokens {
            match tokens - $first {
                1 => {
                    const $count: usize = 1;
                    $run;
                    $first += $count;
                }
                2 | 3 => {
                    const $count: usize = 2;
                    $run;
                    $first += $count;
                }
                _ => {
                    const $count: usize = TOKENS;
                    $run;
                    $first += $count;
                }
            }
        }
    }};
}

/// Products of `count` rows of weights, 1 or [`OUTPUTS`], with every token.
fn rows_of(w: Floats, count: usize, x: &Arranged, put: &mut impl FnMut(usize, usize, f32)) {
    in_groups!(x, |first, T| {
        let x = x.rows::<T>(first);
        if count == OUTPUTS {
            put_all(dots::<OUTPUTS, T>(w, x), first, put);
        } else {
            put_all(dots::<1, T>(w, x), first, put);
        }
    });
}

fn put_all<const R: usize, const T: usize>(
    sums: [[f32; T]; R],
    first_token: usize,
    put: &mut impl FnMut(usize, usize, f32),
) {
    for (row, sums) in sums.into_iter().enumerate() {
        for (token, sum) in sums.into_iter().enumerate() {
            put(row, first_token + token, sum);
        }
    }
}

/// `R` rows of weights, one behind the other, times `T` rows of inputs, which are arranged.
fn dots<const R: usize, const T: usize>(w: Floats, x: [&[f32]; T]) -> [[f32; T]; R] {
    let inputs = w.len() / R;
    assert!(
        w.len() == R * inputs && x.iter().all(|x| x.len() == inputs.next_multiple_of(BLOCK)),
        "rows of one length"
    );
    #[cfg(target_arch = "x86_64")]
    match crate::simd::level() {
        // SAFETY: the processor has these features, as `level` has just found, and x is as long as said above.
        crate::simd::Level::Avx512 => return unsafe { avx512::dots(w, x) },
        // SAFETY: as above.
        crate::simd::Level::Avx2 => return unsafe { avx2::dots(w, x) },
        crate::simd::Level::Baseline => {}
    }
    portable::dots(w, x)
}

/// Whether rows without their zeros are multiplied as they are: else, and for more tokens at a time, zeros are put in first.
fn takes_packed(tokens: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return tokens <= TOKENS && crate::packed::avx512::expands();
    #[cfg(not(target_arch = "x86_64"))]
    return tokens == 0;
}

/// The products of rows without their zeros, where the processor [takes](takes_packed) them: along [`OUTPUTS`] ways at a time, so
/// that each is read in order.
fn packed_rows(
    w: Packed,
    rows: std::ops::Range<usize>,
    x: &Arranged,
    mut put: impl FnMut(usize, usize, f32),
) {
    #[cfg(target_arch = "x86_64")]
    in_groups!(x, |first, T| {
        let x = x.rows::<T>(first);
        let each = rows.len() / OUTPUTS;
        for step in 0..each {
            let ways: [usize; OUTPUTS] = std::array::from_fn(|way| rows.start + way * each + step);
            // SAFETY: the processor has the instructions, and x is as long as a row, in whole blocks.
            let sums = unsafe { avx512::packed_dots::<OUTPUTS, T>(w, ways, x) };
            put_all(sums, first, &mut |way, token, sum| put(ways[way], token, sum));
        }
        for row in rows.start + each * OUTPUTS..rows.end {
            // SAFETY: as above.
            let sums = unsafe { avx512::packed_dots::<1, T>(w, [row], x) };
            put_all(sums, first, &mut |_, token, sum| put(row, token, sum));
        }
    });
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (w, rows, x, &mut put);
        unreachable!("no other processor takes them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn numbers(seed: usize, count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 7.0 - 1.5).collect()
    }

    /// Vectors of either width and no vectors at all.
    #[test]
    fn every_version_agrees_with_double_precision() {
        for inputs in [0, 1, 7, 16, 31, 32, 63, 64, 65, 1000] {
            let (wide, x) = (numbers(0, OUTPUTS * inputs), numbers(1, 2 * inputs));
            let half: Vec<f16> = wide.iter().map(|x| f16::from_f32(*x)).collect();
            let brain: Vec<bf16> = wide.iter().map(|x| bf16::from_f32(*x)).collect();
            for w in [Floats::F32(&wide), Floats::F16(&half), Floats::BF16(&brain)] {
                let arranged = Arranged::new(&x, 2, Form::Dense(w).order());
                let rows = arranged.rows::<2>(0);
                let exact = w.to_vec();
                let check = |name: &str, sums: [[f32; 2]; OUTPUTS]| {
                    for (row, sums) in sums.iter().enumerate() {
                        for (token, sum) in sums.iter().enumerate() {
                            let (w, x) = (&exact[row * inputs..], &x[token * inputs..][..inputs]);
                            let expected: f64 =
                                x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                            assert!(
                                (f64::from(*sum) - expected).abs() < 1e-3,
                                "{name}: {inputs}: {sum} {expected}"
                            );
                        }
                    }
                    sums
                };
                if let Floats::F32(_) = w {
                    check("portable", portable::dots(w, rows));
                }
                #[cfg(target_arch = "x86_64")]
                {
                    let level = crate::simd::level();
                    let narrow = (!matches!(level, crate::simd::Level::Baseline)
                        && !matches!(w, Floats::F16(_)))
                    // SAFETY: the processor has at least these features.
                    .then(|| check("avx2", unsafe { avx2::dots(w, rows) }));
                    if matches!(level, crate::simd::Level::Avx512) {
                        // SAFETY: as above.
                        let wide = check("avx512", unsafe { avx512::dots(w, rows) });
                        assert!(narrow.is_none_or(|narrow| narrow == wide), "{inputs}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_task_is_run_once() {
        for count in [0, 1, 2, 1000] {
            let runs: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            each(count, |task| _ = runs[task].fetch_add(1, Ordering::Relaxed));
            assert!(runs.into_iter().all(|runs| runs.into_inner() == 1));
        }
    }
}
