//! Plots with two axes.

use super::{Element, Tick, scale::Scale};
use crate::report::view::Look;
use serde::Serialize;

/// A plot, ready to be drawn.
#[derive(Serialize)]
pub(super) struct Chart {
    x_label: String,
    y_label: String,
    /// A description for who cannot see it.
    description: String,
    height: u32,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    shapes: Vec<Element>,
}

/// The axes of a plot.
pub(super) struct Axes {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) height: u32,
    /// The label of the horizontal axis, with its unit; empty where another plot's axis is shared.
    pub(super) x_label: String,
    /// The label of the vertical axis, with its unit.
    pub(super) y_label: String,
}

impl Axes {
    /// Where a point stands: percent across, pixels down.
    pub(super) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x.percent(x)?, self.down(y)?))
    }

    fn down(&self, y: f64) -> Option<f64> {
        Some(f64::from(self.height) * (1.0 - self.y.percent(y)? / 100.0))
    }

    /// Line segments from point to point.
    pub(super) fn path(&self, look: Look, points: &[(f64, f64)]) -> Element {
        Element::Path { look, places: points.iter().filter_map(|&(x, y)| self.place(x, y)).collect() }
    }

    /// The plot of some shapes, with labels at values of the horizontal axis.
    pub(super) fn chart(self, description: String, x_ticks: &[(f64, String)], shapes: Vec<Element>) -> Chart {
        let y_ticks = self.y.ticks(if self.height < 100 { 3 } else { 5 });
        let y_tick = |(value, label)| Some(Tick { at: self.down(value)?, label });
        Chart {
            y_ticks: y_ticks.into_iter().filter_map(y_tick).collect(),
            x_ticks: self.x.places(x_ticks),
            x_label: self.x_label,
            y_label: self.y_label,
            description,
            height: self.height,
            shapes,
        }
    }
}
