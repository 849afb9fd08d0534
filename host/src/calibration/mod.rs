//! calibration.
