//! Properties of calibration data against what came of calibrating with them.

use super::{
    Element, Figure, FigureGroup,
    chart::{Axes, Chart},
    scale::Scale,
};
use crate::properties::Property;
use crate::report::{
    data::{Correlation, Outcome},
    metric::{MetricFormat, number, sparsity_title},
    properties::{axis, direction, interval, outcome_words, shown},
    view::{ReportView, TextSpan, distinct},
};
use espalier_sdk::Sparsity;

/// The fewest sets that are worth a picture.
const SETS: usize = 3;

/// A figure for every result and property, of one model and sparsity each.
pub(in super::super) fn properties<'a>(view: &ReportView<'a>) -> Vec<FigureGroup<'a>> {
    let all = &view.report.correlations;
    let mut groups = Vec::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            let own: Vec<_> =
                all.iter().filter(|one| one.model == model && one.sparsity == sparsity).collect();
            let mut figures = Vec::new();
            for outcome in distinct(own.iter().map(|one| &one.outcome)) {
                for property in Property::ALL {
                    let of: Vec<&Correlation> = own
                        .iter()
                        .copied()
                        .filter(|one| one.property == property && one.outcome == *outcome)
                        .filter(|one| one.points.len() >= SETS)
                        .collect();
                    figures.extend(figure(view, model, sparsity, property, outcome, &of));
                }
            }
            if !figures.is_empty() {
                let title = format!("{} of weights pruned{}", sparsity_title(sparsity), view.of_model(model));
                groups.push(FigureGroup { model, sparsity, title, figures });
            }
        }
    }
    groups
}

fn figure<'a>(
    view: &ReportView<'a>,
    model: &'a str,
    sparsity: Sparsity,
    property: Property,
    outcome: &'a Outcome,
    methods: &[&'a Correlation],
) -> Option<Figure<'a>> {
    let chart = chart(view, property, outcome, methods)?;
    let told: Vec<_> = methods.iter().filter_map(|one| told(one)).collect();
    let mut caption = vec![
        TextSpan::strong(upper(&outcome_words(outcome))),
        TextSpan::plain(format!(" against {}", property.title().to_lowercase())),
    ];
    if !told.is_empty() {
        caption.push(TextSpan::plain(format!(": {}", told.join("; "))));
    }
    let (evaluation, metric) = match outcome {
        Outcome::Retention(_) => (None, None),
        Outcome::Score { evaluation, metric } => (Some(evaluation.as_str()), Some(*metric)),
    };
    Some(Figure {
        model,
        evaluation,
        metric,
        sparsity: Some(sparsity),
        caption,
        strips: None,
        charts: vec![chart],
    })
}

/// A method's correlation in words.
fn told(one: &Correlation) -> Option<String> {
    let rho = number(one.rho?, 2);
    let interval = interval(one).map_or_else(String::new, |interval| format!(" {interval}"));
    Some(format!("{} ρ = {rho}{interval}, n = {}", one.method, one.points.len()))
}

fn upper(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// How a result is shown.
enum OutcomeUnit {
    /// A share, in percent.
    Share,
    /// A metric, in its own unit.
    Metric(MetricFormat),
}

impl OutcomeUnit {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Retention(_) => Self::Share,
            Outcome::Score { metric, .. } => Self::Metric(MetricFormat::of(*metric)),
        }
    }

    fn axis(&self) -> String {
        match self {
            Self::Share => "Retention (%)".to_owned(),
            Self::Metric(format) => format.axis(),
        }
    }

    fn scaled(&self, value: f64) -> f64 {
        match self {
            Self::Share => 100.0 * value,
            Self::Metric(format) => format.scaled(value),
        }
    }

    fn text(&self, value: f64) -> String {
        match self {
            Self::Share => format!("{}%", number(100.0 * value, 1)),
            Self::Metric(format) => format.value(value),
        }
    }
}

fn chart(
    view: &ReportView<'_>,
    property: Property,
    outcome: &Outcome,
    methods: &[&Correlation],
) -> Option<Chart> {
    let unit = OutcomeUnit::of(outcome);
    let points = || methods.iter().flat_map(|one| one.points.iter().map(move |point| (*one, point)));
    if points().count() == 0 {
        return None;
    }
    let axes = Axes {
        x: Scale::covering(points().map(|(_, point)| property.scaled(point.property))),
        y: Scale::covering(points().map(|(_, point)| unit.scaled(point.outcome))),
        height: 180,
        x_label: axis(property),
        y_label: unit.axis() + direction(outcome),
    };
    let mark = |(one, point): (&Correlation, &crate::report::CorrelationPoint)| {
        let at = axes.place(property.scaled(point.property), unit.scaled(point.outcome))?;
        let variant = view.pruned(&one.model).find(|variant| {
            variant.method == Some(one.method.as_str())
                && variant.sparsity == Some(one.sparsity)
                && variant
                    .cells
                    .iter()
                    .any(|cell| cell.calibration.as_deref() == Some(point.calibration.as_str()))
        })?;
        let title =
            format!("{}: {} at {}", variant.label, unit.text(point.outcome), shown(property, point.property));
        Some(Element::Mark { look: view.look_of(variant), at, small: false, title })
    };
    let shapes = points().filter_map(mark).collect();
    let description = format!(
        "{} against {}, {} points",
        outcome_words(outcome),
        property.title().to_lowercase(),
        points().count()
    );
    let ticks = axes.x.ticks(5);
    Some(axes.chart(description, &ticks, shapes))
}
