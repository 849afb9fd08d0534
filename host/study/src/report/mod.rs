//! The report: what a study found, and the page that shows it.

mod cells;
mod data;
mod holm;
mod metric;
mod missing;
mod page;
mod plots;
mod power;
mod predictions;
mod properties;
mod table;
mod template;
mod verdict;
mod view;

pub use crate::properties::Property;
pub use data::{
    AbilityRetention, Calibration, CalibrationKind, CellState, Correlation, CorrelationPoint, Difference,
    Evaluation, Gain, LayerResult, MeasuredProperty, Outcome, Output, Prediction, Report, ReportCell,
};
pub(super) use holm::Holm;
pub use metric::duration;
pub(super) use metric::{MetricFormat, sparsity_title};
pub(super) use missing::missing;
pub use page::render;
pub(super) use power::{assumptions, undecided};
pub(super) use properties::data;
pub(super) use view::{Column, ReportVariant, ReportView, distinct};
