//! A made-up report with everything in it: two methods, three calibration sets, two sparsities, three seeds,
//! a failed cell, a variant that has not run, and predictions that try to break out of the page.

use espalier_host::{
    evaluate::{Mean, Metric},
    model::layout::Projection,
    study::report::*,
};
use espalier_sdk::Sparsity;
use std::collections::BTreeMap;

const METHODS: [&str; 2] = ["SparseGPT", "Wanda"];
const CALIBRATIONS: [(&str, CalibrationKind); 3] =
    [("C4", CalibrationKind::PlainText), ("Alpaca", CalibrationKind::Task), ("GSM8K", CalibrationKind::Task)];
const SPARSITIES: [f64; 2] = [0.5, 0.7];
const EVALUATIONS: [(&str, &[Metric], usize); 3] = [
    ("alpaca-held-out", &[Metric::ExactMatch, Metric::F1, Metric::Rouge1, Metric::AnswerPerplexity], 500),
    ("unnatural-instructions", &[Metric::ExactMatch, Metric::F1, Metric::Rouge1], 500),
    ("wikitext-2", &[Metric::Perplexity, Metric::JsDivergence], 83),
];

/// The report.
pub(crate) fn report() -> Report {
    let mut cells = vec![cell(None, 0)];
    for method in METHODS {
        for calibration in 0..CALIBRATIONS.len() {
            for sparsity in SPARSITIES {
                cells.extend((0..3).map(|seed| cell(Some((method, calibration, sparsity)), seed)));
            }
        }
    }
    Report {
        title: "What calibration data does to LLaMA-2-7B".into(),
        espalier: "0.1.0".into(),
        device: Some("NVIDIA GeForce RTX 4090 (Vulkan)".into()),
        study_file: "tests/studies/llama-2-7b.toml".into(),
        study_toml: STUDY.into(),
        command: "host study tests/studies/llama-2-7b.toml --out results/llama-2-7b".into(),
        evaluations: EVALUATIONS.map(evaluation).into(),
        calibrations: CALIBRATIONS.map(calibration).into(),
        differences: differences(&cells),
        gains: gains(&cells),
        contrasts: contrasts(&cells),
        retentions: Vec::new(),
        properties: properties(),
        correlations: PROPERTIES.map(correlation).into(),
        predictions: predictions(),
        cells,
    }
}

const STUDY: &str = "title = \"What calibration data does to LLaMA-2-7B\"\nseeds = [0, 1, 2]\n\n[models.llama-2-7b]\npath \
                     = \"models/Llama-2-7b-hf\" # <the weights>\n\n[methods.SparseGPT]\nplugin = \"sparsegpt\"\nsparsity \
                     = [0.5, 0.7]\n";

fn evaluation((name, metrics, items): (&str, &[Metric], usize)) -> Evaluation {
    Evaluation { name: name.into(), metrics: metrics.to_vec(), items, group: None }
}

fn calibration((name, kind): (&str, CalibrationKind)) -> Calibration {
    Calibration { name: name.into(), kind, summary: format!("{name}.jsonl, 128 windows of 2048 tokens") }
}

const PROPERTIES: [Property; 2] = [Property::Perplexity, Property::Digits];

/// A calibration set's property in one seed's draw.
fn property(property: Property, set: usize, seed: u64) -> f64 {
    let scale = if property == Property::Perplexity { 9.0 } else { 0.02 };
    scale * (1.0 + set as f64 + 0.1 * noise(&format!("{property:?}{set}{seed}")))
}

fn properties() -> Vec<MeasuredProperty> {
    let draws = (0..CALIBRATIONS.len()).flat_map(|set| (0..3).map(move |seed| (set, seed)));
    let measured = |(set, seed): (usize, u64)| {
        PROPERTIES.map(|which| MeasuredProperty {
            model: "llama-2-7b".into(),
            calibration: CALIBRATIONS[set].0.into(),
            seed,
            property: which,
            evaluation: None,
            value: property(which, set, seed),
        })
    };
    draws.flat_map(measured).collect()
}

fn correlation(which: Property) -> Correlation {
    let (evaluation, metric) = ("unnatural-instructions", Metric::ExactMatch);
    let point = |set: usize| CorrelationPoint {
        calibration: CALIBRATIONS[set].0.into(),
        property: property(which, set, 0),
        outcome: score(Some(("SparseGPT", set, 0.5)), 0, evaluation, metric),
    };
    Correlation {
        model: "llama-2-7b".into(),
        method: "SparseGPT".into(),
        sparsity: Sparsity::Ratio(0.5),
        property: which,
        outcome: Outcome::Score { evaluation: evaluation.into(), metric },
        points: (0..CALIBRATIONS.len()).map(point).collect(),
        rho: None,
        interval: None,
        stands: false,
    }
}

/// A number between −1 and 1 that depends on the text alone.
fn noise(text: &str) -> f64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    });
    (hash >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// A variant's score: worse with sparsity, a little better with the task's own data.
fn score(variant: Option<(&str, usize, f64)>, seed: u64, evaluation: &str, metric: Metric) -> f64 {
    let (damage, own) = variant.map_or((0.0, 0.0), |(method, calibration, sparsity)| {
        let damage = if sparsity == 0.5 { 0.05 } else { 0.35 };
        let own =
            if calibration == 0 || evaluation == "wikitext-2" { 0.0 } else { 0.02 * calibration as f64 };
        (damage * if method == "Wanda" { 1.15 } else { 1.0 }, if method == "Wanda" { own * 0.2 } else { own })
    });
    let noise =
        variant.map_or(0.0, |variant| noise(&format!("{variant:?}{seed}{evaluation}{metric}")) * 0.008);
    let kept = 1.0 - damage + own + noise;
    match metric {
        Metric::ExactMatch => 0.412 * kept,
        Metric::F1 => 0.587 * kept,
        Metric::Rouge1 => 0.553 * kept,
        Metric::JsDivergence => (1.0 - kept).max(0.0) * 0.21,
        _ => 5.47 * (7.0 * (1.0 - kept)).exp(),
    }
}

fn cell(variant: Option<(&str, usize, f64)>, seed: u64) -> ReportCell {
    let state = match (variant, seed) {
        (Some(("Wanda", 2, 0.7)), _) => CellState::Missing,
        (Some(("SparseGPT", 1, 0.7)), 2) => CellState::Failed,
        _ => CellState::Done,
    };
    let done = state == CellState::Done;
    let label =
        variant.map_or("dense".into(), |(method, set, _)| format!("{method}-{}", CALIBRATIONS[set].0));
    let hash = format!("{:016x}", noise(&format!("{variant:?}{seed}")).to_bits());
    let mut scores = BTreeMap::new();
    for (name, metrics, items) in EVALUATIONS.into_iter().filter(|_| done) {
        let of = |&metric: &Metric| {
            let mean = score(variant, seed, name, metric);
            (metric, Mean { mean, low: mean * 0.95, high: mean * 1.05, items, stderr: None })
        };
        scores.insert(name.into(), metrics.iter().map(of).collect());
    }
    ReportCell {
        command: format!("host study tests/studies/llama-2-7b.toml --out results/llama-2-7b --cell {hash}"),
        hash,
        state,
        error: (state == CellState::Failed).then(|| {
            "SparseGPT failed on layer 17.down_proj\n  caused by: the Hessian is not positive definite <damped 1e-1>".into()
        }),
        model: "llama-2-7b".into(),
        method: variant.map(|(method, ..)| method.into()),
        label,
        sparsity: variant.map(|(.., sparsity)| Sparsity::Ratio(sparsity)),
        reached: variant.filter(|_| done).map(|(.., sparsity)| sparsity),
        calibration: variant.map(|(_, set, _)| CALIBRATIONS[set].0.into()),
        selector: variant.map(|_| "random".into()),
        seed: variant.map(|_| seed),
        seconds: done.then_some(1234.5 + 100.0 * seed as f64),
        layers: variant.filter(|_| done).map_or_else(Vec::new, layers),
        scores,
        retention: BTreeMap::new(),
    }
}

fn layers((method, set, sparsity): (&str, usize, f64)) -> Vec<LayerResult> {
    let scale = if method == "Wanda" { 40.0 } else { 1.0 } * (1.0 + set as f64 * 0.4);
    let blocks = (0..32).flat_map(|block| Projection::ALL.map(|projection| (block, projection)));
    let layer = |(block, projection): (usize, Projection)| LayerResult {
        block,
        projection,
        sparsity: sparsity + 0.01 * noise(&format!("{block}{}", projection.name())),
        error: Some(
            scale
                * (0.2 + block as f64).powf(1.4)
                * (1.2 + noise(&format!("{block}{}{method}", projection.name()))),
        ),
    };
    blocks.map(layer).collect()
}

/// The mean over a variant's seeds.
fn mean(
    cells: &[ReportCell],
    label: &str,
    sparsity: f64,
    evaluation: &str,
    metric: Metric,
) -> Option<(f64, usize)> {
    let own =
        cells.iter().filter(|cell| cell.label == label && cell.sparsity == Some(Sparsity::Ratio(sparsity)));
    let means: Vec<_> =
        own.filter_map(|cell| Some(cell.scores.get(evaluation)?.get(&metric)?.mean)).collect();
    (!means.is_empty()).then(|| (means.iter().sum::<f64>() / means.len() as f64, means.len()))
}

fn columns() -> impl Iterator<Item = (&'static str, Metric)> {
    EVALUATIONS
        .into_iter()
        .flat_map(|(evaluation, metrics, _)| metrics.iter().map(move |&metric| (evaluation, metric)))
}

/// Half the width of a made-up interval.
fn half(metric: Metric) -> f64 {
    if metric.is_perplexity() { 0.25 } else { 0.012 }
}

fn differences(cells: &[ReportCell]) -> Vec<Difference> {
    let mut all = Vec::new();
    for (evaluation, metric) in columns() {
        for sparsity in SPARSITIES {
            for method in METHODS {
                for (set, _) in CALIBRATIONS {
                    let label = format!("{method}-{set}");
                    let Some((mean, seeds)) = mean(cells, &label, sparsity, evaluation, metric) else {
                        continue;
                    };
                    let dense = score(None, 0, evaluation, metric);
                    all.push(Difference {
                        model: "llama-2-7b".into(),
                        label,
                        method: method.into(),
                        sparsity: Sparsity::Ratio(sparsity),
                        calibration: Some(set.into()),
                        evaluation: evaluation.into(),
                        metric,
                        dense,
                        mean,
                        difference: mean - dense,
                        low: mean - dense - half(metric),
                        high: mean - dense + half(metric),
                        seeds,
                    });
                }
            }
        }
    }
    all
}

fn gains(cells: &[ReportCell]) -> Vec<Gain> {
    let mut all = Vec::new();
    for (evaluation, metric) in columns() {
        for sparsity in SPARSITIES {
            for method in METHODS {
                for task in ["Alpaca", "GSM8K"] {
                    let mean =
                        |set: &str| mean(cells, &format!("{method}-{set}"), sparsity, evaluation, metric);
                    let (Some((with, seeds)), Some((without, _))) = (mean(task), mean("C4")) else {
                        continue;
                    };
                    all.push(Gain {
                        model: "llama-2-7b".into(),
                        method: method.into(),
                        against: None,
                        sparsity: Sparsity::Ratio(sparsity),
                        plain: "C4".into(),
                        task: task.into(),
                        evaluation: evaluation.into(),
                        metric,
                        difference: with - without,
                        low: with - without - half(metric),
                        high: with - without + half(metric),
                        seeds,
                    });
                }
            }
        }
    }
    all
}

fn contrasts(cells: &[ReportCell]) -> Vec<Gain> {
    let gains = gains(cells);
    let of = |gain: &Gain| {
        let same = |other: &&Gain| {
            other.method == "Wanda"
                && (&other.sparsity, &other.task, &other.evaluation, &other.metric)
                    == (&gain.sparsity, &gain.task, &gain.evaluation, &gain.metric)
        };
        let difference = gain.difference - gains.iter().find(same)?.difference;
        Some(Gain {
            model: gain.model.clone(),
            method: gain.method.clone(),
            against: Some("Wanda".into()),
            sparsity: gain.sparsity,
            plain: gain.plain.clone(),
            task: gain.task.clone(),
            evaluation: gain.evaluation.clone(),
            metric: gain.metric,
            difference,
            low: difference - 1.4 * half(gain.metric),
            high: difference + 1.4 * half(gain.metric),
            seeds: gain.seeds,
        })
    };
    gains.iter().filter(|gain| gain.method == "SparseGPT").filter_map(of).collect()
}

fn predictions() -> Vec<Prediction> {
    let answers = [
        ("Name the capital of France.", "Paris", "Paris", "Paris", "Lyon is the capital of France."),
        (
            "Write a closing tag.",
            "</script>",
            "</script>",
            "</script><script>alert('out')</script>",
            "<img src=x onerror=alert(1)>",
        ),
        ("How many legs does a spider have?", "8", "Eight legs", "8", "\u{202e}8 legs\0"),
        ("Give three primes.", "2, 3, 5", "2, 3, 5", "", "2, 3, 5\n7, 11, 13\n"),
        ("Übersetze „Haus“ ins Japanische 🏠", "家", "家", "家", "unbreakable".repeat(12).leak()),
    ];
    let mut all = Vec::new();
    for (item, (prompt, reference, dense, first, second)) in answers.into_iter().enumerate() {
        let output = |label: &str, sparsity: Option<f64>, text: &str| Output {
            label: label.into(),
            sparsity: sparsity.map(Sparsity::Ratio),
            seed: sparsity.map(|_| 0),
            text: text.into(),
            scores: BTreeMap::from([
                (Metric::ExactMatch, f64::from(u8::from(text == reference))),
                (Metric::F1, if text.contains(reference) { 0.8 } else { 0.0 }),
            ]),
        };
        let prompt = format!(
            "Below is an instruction that describes a task.\n\n### Instruction:\n{prompt}\n\n### Response:\n"
        );
        all.push(Prediction {
            model: "llama-2-7b".into(),
            evaluation: EVALUATIONS[item % 2].0.into(),
            item,
            prompt,
            references: vec![reference.into()],
            dense: output("dense", None, dense),
            others: SPARSITIES
                .into_iter()
                .flat_map(|sparsity| {
                    [
                        output("SparseGPT-C4", Some(sparsity), first),
                        output("SparseGPT-Alpaca", Some(sparsity), dense),
                        output("Wanda-C4", Some(sparsity), second),
                        output("Wanda-Alpaca", Some(sparsity), first),
                    ]
                })
                .collect(),
        });
    }
    all
}
