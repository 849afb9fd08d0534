//! The report: what a study found, and the page that shows it.

mod cells;
mod data;
mod html;
mod metric;
mod number;
mod page;
mod plots;
mod predictions;
mod table;
mod verdict;
mod view;

pub use data::{
    Calibration, CalibrationKind, Cell, CellState, Difference, Evaluation, Gain, GainContrast, LayerResult,
    Mean, Output, Prediction, Report,
};
pub(super) use metric::{Metric, sparsity_title};
pub use page::render;
pub(super) use view::{Column, Variant, View};
