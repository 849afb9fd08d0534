//! The report: what a study found, and the page that shows it.

mod data;

pub use data::{
    Calibration, CalibrationKind, Cell, CellState, Difference, Evaluation, Gain, GainContrast, LayerResult,
    Mean, Output, Prediction, Report,
};
