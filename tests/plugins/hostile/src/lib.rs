//! Methods and a selector that do what they must not: the host has to answer each with one clear error.

use espalier_sdk::{
    Documents, Error, LanguageModel, Layer, Method, MethodInfo, OptionKind, Options, Pruned, Result, Run,
    Scores, SelectionRequest, Selector, SelectorInfo, Sparsity, Statistic, Unary, Windows, export_plugin,
};

/// A method that is one function.
macro_rules! method {
    ($type:ident, $name:literal, $(needs $statistic:ident,)? |$layer:ident, $device:ident| $body:expr) => {
        pub(crate) struct $type;

        impl Method for $type {
            fn info() -> MethodInfo {
                MethodInfo::new($name, "for tests")$(.needs(Statistic::$statistic))?
            }

            fn new(_: &Options) -> Result<Self> {
                Ok(Self)
            }

            fn layer(&self, $layer: &Layer, run: &Run) -> Result<Pruned> {
                let $device = run.device();
                $body
            }
        }
    };
}

mod faults;
mod parts;

method!(Panics, "panics", |layer, _device| panic!("out of ideas at {}", layer.name));
method!(Fails, "fails", |_layer, _device| Err(Error::invalid("no reason at all")));
method!(FailsMeasured, "fails_measured", needs ColumnNorms, |_layer, _device| {
    Err(Error::invalid("no reason at all"))
});
method!(WrongShape, "wrong_shape", |_layer, device| Ok(device.from_slice(1, 2, &[1.0, 2.0])?.into()));
method!(NotFinite, "not_finite", |layer, device| {
    Ok(device.affine(Unary::Identity, &layer.weight, 1.0, f32::NAN)?.into())
});
method!(Unasked, "unasked", |layer, _device| {
    layer.statistics.column_norms()?;
    unreachable!("the norms were not asked for")
});
method!(Leaks, "leaks", |layer, device| {
    std::mem::forget(device.map(Unary::Identity, &layer.weight)?);
    let mask = device.smallest_per_row(Scores::of(Unary::Abs, &layer.weight), Sparsity::Ratio(0.5))?;
    Ok(device.zero_where(&mask, &layer.weight)?.into())
});
method!(PrunesNothing, "prunes_nothing", |layer, device| {
    Ok(device.map(Unary::Identity, &layer.weight)?.into())
});
method!(PrunesAll, "prunes_all", |layer, device| {
    Ok(device.affine(Unary::Identity, &layer.weight, 0.0, 0.0)?.into())
});

method!(NegativeScores, "negative_scores", |layer, device| {
    let mask = device.smallest_per_row(&layer.weight, layer.target)?;
    Ok(mask.into())
});
method!(NanScores, "nan_scores", |layer, device| {
    let scores = device.map(Unary::Log, &layer.weight)?;
    Ok(device.smallest_per_row(Scores::of(Unary::Abs, &scores), layer.target)?.into())
});
method!(InfiniteScores, "infinite_scores", |layer, device| {
    let factors = device.full(1, layer.weight.cols(), f32::INFINITY)?;
    let scores = Scores::of(Unary::Abs, &layer.weight).by(espalier_sdk::Binary::Multiply, &factors);
    Ok(device.smallest_per_row(scores, layer.target)?.into())
});

struct PanicsAtBirth;

impl Method for PanicsAtBirth {
    fn info() -> MethodInfo {
        MethodInfo::new("panics_at_birth", "for tests")
    }

    fn new(_: &Options) -> Result<Self> {
        panic!("not today")
    }

    fn layer(&self, _: &Layer, _: &Run) -> Result<Pruned> {
        unreachable!("it is never made")
    }
}

/// Offers what it must not: documents that are not there, tokens that no model has, the same for ever, less
/// than it is asked for; asks a model that it did not say it needs; or ends its process.
struct Liar(String);

impl Selector for Liar {
    fn info() -> SelectorInfo {
        SelectorInfo::new("liar", "for tests").option("lie", OptionKind::String, "tokens", "what it does")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self(options.string("lie")?.to_owned()))
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        _: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        match self.0.as_str() {
            "document" => windows.offer(documents.len(), None).map(|_| ()),
            "tokens" => windows.offer_tokens(&[1, u32::MAX], None).map(|_| ()),
            "no_tokens" => windows.offer_tokens(&[], None).map(|_| ()),
            "few" => windows.offer(0, None).map(|_| ()),
            "panics" => panic!("lost at {}", documents.get(0)?.text.len()),
            "model" => model.info().map(|_| ()),
            "crashes" => {
                faults::touch_what_is_not_there();
                Ok(())
            }
            "aborts" => std::process::abort(),
            "exits" => std::process::exit(0),
            "loops" => loop {
                std::hint::spin_loop();
            },
            // It keeps what it is told to itself.
            "deaf" => {
                let _ = windows.offer(usize::MAX, None);
                Ok(())
            }
            _ => loop {
                windows.offer(0, None)?;
            },
        }
    }
}

export_plugin! {
    methods: [
        Panics, Fails, FailsMeasured, WrongShape, NotFinite, Unasked, Leaks, PrunesNothing, PrunesAll, NegativeScores, NanScores,
        InfiniteScores, PanicsAtBirth,
        faults::Segfaults, faults::Aborts, faults::Overflows, faults::Exits, faults::Loops, faults::Asks,
        faults::Babbles, faults::Prints, faults::Reenters, faults::TwinSegfaults, faults::TwinLoops,
        faults::TwinPanics, faults::TwinNegates, faults::DropPanics, parts::LowRankMisfits, parts::LowRankNan,
        parts::LowRankFull, parts::KeepsUnequal, parts::KeepsNobody, parts::KeepsStrangers, parts::Shuffles,
        parts::MovesPruned, parts::SurveysInGradients, parts::GradientsInSurvey, parts::FewerRows, parts::Alternates,
    ],
    selectors: [Liar],
}
