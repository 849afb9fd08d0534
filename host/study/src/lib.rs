//! A study: a matrix of runs, its table and its report.
//!
//! ```text
//! STUDY.toml ─► StudyFile ─► Study ─► Plan: cells, each with the hash of all that determines it
//!               (parsed)   (checked)    │
//!                                       ▼ run: cell by cell, under a lease
//!              model ─► windows (shared) ─► prune ─► evaluate ─► cells/HASH/
//!                                                                   │
//!                    results.jsonl, results.csv, table.md, report.html ◄┘
//! ```

mod check;
mod diff;
mod digest;
mod error;
mod estimate;
mod file;
mod folder;
mod matrix;
mod plan;
mod properties;
pub mod report;
mod results;
mod run;
mod spearman;
mod windows;

pub use check::{Study, StudyCalibration, StudyEvaluation, StudyMethod, StudyModel};
pub use diff::{ScoreChange, Verdict, diff};
pub use error::{Result, StudyError};
pub use estimate::Estimate;
pub use file::{KeepModels, StudyFile};
pub use matrix::{Cell, Drawn, Variant};
pub use plan::{CellChoice, ParseShardError, Plan, Shard};
pub use results::{gather, write_results};
pub use run::{CellEnd, StudyEvent, StudyOutcome, run};
