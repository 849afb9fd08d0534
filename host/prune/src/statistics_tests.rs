use super::*;
use espalier_device::choose::{self, DeviceChoice, DeviceRequest};
use espalier_sdk::Rng;
use std::sync::PoisonError;

const COLS: usize = 5;
const ALL: [Statistic; 4] =
    [Statistic::ColumnNorms, Statistic::Gram, Statistic::MeanVariance, Statistic::Inputs];

/// Two batches of two windows each, with the weights of their tokens.
fn batches(weight: impl Fn(usize) -> f32) -> Vec<(Vec<f32>, [usize; 2], Vec<f32>)> {
    let mut rng = Rng::new(5);
    let mut batch = |windows: [usize; 2], first: usize| {
        let tokens = windows.iter().sum::<usize>();
        let x = (0..tokens * COLS).map(|_| rng.unit() as f32 + 3.0).collect();
        (x, windows, (first..first + tokens).map(&weight).collect())
    };
    vec![batch([4, 3], 0), batch([2, 6], 7)]
}

fn gather(batches: &[(Vec<f32>, [usize; 2], Vec<f32>)]) -> (Measured, BTreeMap<Statistic, Vec<f32>>) {
    let device =
        choose::open(&DeviceRequest { choice: DeviceChoice::Cpu, ..DeviceRequest::default() }).unwrap();
    let counted = batches.iter().flat_map(|(_, _, weights)| weights).filter(|&&weight| weight > 0.0).count();
    let inputs = [LayerInput::Mlp];
    let mut gatherer = Gatherer::new(&*device, &ALL, &inputs, counted);
    for (x, windows, weights) in batches {
        let x = device.from_f32(weights.len(), COLS, x.clone()).unwrap();
        gatherer.add(LayerInput::Mlp, &x, windows, weights).unwrap();
    }
    let measured = gatherer.finish(0).unwrap().remove(&LayerInput::Mlp).unwrap();
    let read =
        |tensor: &Shared| device.to_f32(&tensor.read().unwrap_or_else(PoisonError::into_inner)).unwrap();
    let statistics = measured.statistics.iter().map(|(kind, tensor)| (*kind, read(tensor))).collect();
    (measured, statistics)
}

/// The same in f64.
fn expected(batches: &[(Vec<f32>, [usize; 2], Vec<f32>)]) -> BTreeMap<Statistic, Vec<f64>> {
    let tokens: Vec<(&[f32], f64)> = batches
        .iter()
        .flat_map(|(x, _, weights)| x.chunks_exact(COLS).zip(weights.iter().map(|&weight| f64::from(weight))))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let sum = |f: &dyn Fn(&[f32]) -> f64| tokens.iter().map(|(x, weight)| weight * f(x)).sum::<f64>();
    let total = sum(&|_| 1.0);
    let cols = || 0..COLS;
    let product = |i: usize, j: usize| sum(&|x| f64::from(x[i]) * f64::from(x[j]));
    let means: Vec<f64> = cols().map(|j| sum(&|x| f64::from(x[j])) / total).collect();
    let variance = |j: usize| sum(&|x| (f64::from(x[j]) - means[j]).powi(2)) / total;
    let inputs = tokens.iter().flat_map(|(x, _)| x.iter().map(|&x| f64::from(x)));
    BTreeMap::from([
        (Statistic::ColumnNorms, cols().map(|j| product(j, j).sqrt()).collect()),
        (
            Statistic::Gram,
            cols().flat_map(|i| cols().map(move |j| (i, j))).map(|(i, j)| product(i, j)).collect(),
        ),
        (Statistic::MeanVariance, means.iter().copied().chain(cols().map(variance)).collect()),
        (Statistic::Inputs, inputs.collect()),
    ])
}

#[test]
fn statistics_weigh_tokens_as_their_loss_mask_says() {
    let weight = |token: usize| [0.0, 0.5, 1.0, 2.0, 0.0, 0.0, 0.25][token % 7];
    let answers = |token: usize| f32::from(u8::from((3..9).contains(&token)));
    let cases =
        [(batches(weight), [3, 1, 1, 3]), (batches(answers), [1, 3, 2, 0]), (batches(|_| 1.0), [4, 3, 2, 6])];
    for (batches, windows) in cases {
        let (measured, found) = gather(&batches);
        assert_eq!(measured.windows, windows);
        for (kind, expected) in expected(&batches) {
            let found = &found[&kind];
            assert_eq!(found.len(), expected.len(), "{kind:?}");
            for (found, expected) in found.iter().zip(&expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-5 * expected.abs().max(1.0), "{kind:?}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn weights_are_told_where_not_all_are_1() {
    let told = |weight: &dyn Fn(usize) -> f32| {
        let (measured, _) = gather(&batches(weight));
        measured.token_weights.map(|weights| weights.read().unwrap_or_else(PoisonError::into_inner).rows())
    };
    assert_eq!(told(&|_| 1.0), None);
    assert_eq!(told(&|token| f32::from(u8::from(token > 3))), None);
    // The first batch's are told, too, once those of the second are not 1.
    assert_eq!(told(&|token| if token < 7 { 1.0 } else { 0.5 }), Some(15));
}

#[test]
fn a_batch_without_a_token_that_counts_changes_nothing() {
    let (first, alone) = (|token| f32::from(u8::from(token < 7)), batches(|_| 1.0));
    let (measured, found) = gather(&batches(first));
    let (_, expected) = gather(&alone[..1]);
    assert_eq!(measured.windows, [4, 3, 0, 0]);
    assert_eq!(found, expected);
}
