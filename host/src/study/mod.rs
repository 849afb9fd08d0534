//! A study: a matrix of runs, its table and its report.

pub mod report;
