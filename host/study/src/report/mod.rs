//! The report: what a study found, and the page that shows it.

mod cells;
mod data;
mod holm;
mod metric;
mod page;
mod plots;
mod predictions;
mod table;
mod template;
mod verdict;
mod view;

pub use data::{
    AbilityRetention, Calibration, CalibrationKind, CellState, Difference, Evaluation, Gain, LayerResult,
    Output, Prediction, Report, ReportCell,
};
pub use metric::duration;
pub(super) use metric::{MetricFormat, sparsity_title};
pub use page::render;
pub(super) use view::{Column, ReportVariant, ReportView, distinct};
