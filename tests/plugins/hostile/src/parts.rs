//! Methods that answer with parts that do not fit, or leave out and move what they must not.

use espalier_sdk::{
    Block, DType, Layer, Method, MethodInfo, Model, Options, Part, Pruned, Result, Run, Scope, Scores,
    Sparsity, Unary,
};

method!(LowRankMisfits, "low_rank_misfits", |layer, device| {
    let (rows, cols) = (layer.weight.rows(), layer.weight.cols());
    let pruned = most(layer, device)?;
    Ok(pruned.low_rank(device.zeros(DType::F32, rows, 2)?, device.zeros(DType::F32, 3, cols)?))
});
method!(LowRankNan, "low_rank_nan", |layer, device| {
    let (rows, cols) = (layer.weight.rows(), layer.weight.cols());
    let pruned = most(layer, device)?;
    Ok(pruned.low_rank(device.full(rows, 1, f32::NAN)?, device.full(1, cols, 1.0)?))
});
method!(LowRankFull, "low_rank_full", |layer, device| {
    let (rows, cols) = (layer.weight.rows(), layer.weight.cols());
    let rank = rows.min(cols);
    let pruned = most(layer, device)?;
    Ok(pruned.low_rank(device.zeros(DType::F32, rows, rank)?, device.zeros(DType::F32, rank, cols)?))
});

fn most(layer: &Layer, device: &espalier_sdk::Device) -> Result<Pruned> {
    let mask = device.smallest_per_row(Scores::of(Unary::Abs, &layer.weight), Sparsity::Ratio(0.75))?;
    Ok(Pruned::from((device.zero_where(&mask, &layer.weight)?, mask)))
}

/// A method on the model or on a block that is one function.
macro_rules! stage {
    ($type:ident, $name:literal, $scope:ident, $function:ident, |$of:ident: $Of:ty, $run:ident| $body:expr) => {
        pub(crate) struct $type;

        impl Method for $type {
            fn info() -> MethodInfo {
                MethodInfo::new($name, "for tests").scope(Scope::$scope)
            }

            fn new(_: &Options) -> Result<Self> {
                Ok(Self)
            }

            fn $function(&self, $of: &mut $Of, $run: &Run) -> Result<()> {
                $body
            }
        }
    };
}

stage!(KeepsUnequal, "keeps_unequal", Model, model, |model: Model, _run| {
    model.keep(0, Part::Neurons, &[0, 1, 2, 3])?;
    model.keep(1, Part::Neurons, &[0, 1])
});
stage!(KeepsNobody, "keeps_nobody", Model, model, |model: Model, _run| model.keep(0, Part::Heads, &[]));
stage!(KeepsStrangers, "keeps_strangers", Model, model, |model: Model, _run| {
    model.keep(0, Part::Neurons, &[0, usize::MAX])
});
stage!(Shuffles, "shuffles", Block, block, |block: Block, _run| block.permute(Part::Heads, &[0, 0]));
stage!(MovesPruned, "moves_pruned", Block, block, |block: Block, run| {
    let pruned = most(&block.layer("up_proj")?, run.device())?;
    block.set("up_proj", pruned)?;
    let order: Vec<usize> = (0..block.layer("down_proj")?.weight.cols()).rev().collect();
    block.permute(Part::Neurons, &order)
});
stage!(SurveysInGradients, "surveys_in_gradients", Model, model, |model: Model, _run| {
    model.gradients(1, |_, _| model.survey(|_| Ok(())))
});
stage!(GradientsInSurvey, "gradients_in_survey", Model, model, |model: Model, _run| {
    model.survey(|_| model.gradients(1, |_, _| Ok(())))
});
stage!(FewerRows, "fewer_rows", Model, model, |model: Model, _run| model.set_row_counts(
    0,
    "q_proj",
    &[1, 2]
));
// Not hostile: every other row of the layers named loses a quarter, and the rows between them three quarters.
stage!(Alternates, "alternates", Model, model, |model: Model, _run| {
    for layer in model.layers().to_vec() {
        let [rows, cols] = layer.shape;
        let counts: Vec<usize> = (0..rows).map(|row| cols * if row % 2 == 0 { 1 } else { 3 } / 4).collect();
        model.set_row_counts(layer.block, &layer.projection, &counts)?;
    }
    Ok(())
});
