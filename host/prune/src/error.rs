//! Errors of pruning runs.

use super::{Size, TargetsError, memory::BudgetBy};
use espalier_base::interrupt::Interrupted;
use espalier_device::DeviceError;
use espalier_model::{ModelError, writer::WriteError};
use espalier_plugins::PluginError;
use espalier_sdk::Sparsity;
use std::path::PathBuf;

/// The result of pruning.
pub type Result<T, E = PruneError> = std::result::Result<T, E>;

/// Errors of pruning runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The model cannot be read, run or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The method cannot be had, or not so.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The method does not say when statistics are to be taken.
    #[error("the method {method} cannot be asked for its order")]
    Order {
        /// The method.
        method: String,
        /// Its error.
        #[source]
        source: espalier_sdk::Error,
    },
    /// The model has a low-rank part, which pruning its weights would lose.
    #[error(
        "the model has a low-rank part in {}: merge it into the weights before it is pruned again (PEFT's merge_and_unload)",
        .folder.display()
    )]
    HasAdapter {
        /// The folder of the low-rank part.
        folder: PathBuf,
    },
    /// No run was given.
    #[error("there is nothing to prune")]
    NothingToDo,
    /// A method that measures, and nothing to measure.
    #[error("the method {method} needs calibration data")]
    NoCalibration {
        /// The method.
        method: String,
    },
    /// Counts of rows that a layer does not have.
    #[error("{layer} needs {rows} counts of rows, each at most {cols}")]
    RowCounts {
        /// The layer.
        layer: String,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// Calibration windows of which nothing counts.
    #[error(
        "no token of the calibration windows counts: `--loss-mask answers` needs rows with answers, and windows that reach \
         them; a `loss_mask` of rows needs a weight above 0"
    )]
    NothingCounts,
    /// Runs that were to share one dense pass, of which one propagates.
    #[error("only runs without propagation can share a pass through the model")]
    Propagated,
    /// The manifest or the journal cannot be written as JSON.
    #[error("the manifest or the journal cannot be written as JSON")]
    Manifest(#[from] serde_json::Error),
    /// A choice of layers that does not fit the model.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// A pattern that does not fit the layers.
    #[error(
        "sparsity {sparsity} is not possible: {layer} has {cols} columns, which do not divide into such groups"
    )]
    Pattern {
        /// The weight's name.
        layer: String,
        /// Its columns.
        cols: usize,
        /// The pattern.
        sparsity: Sparsity,
    },
    /// A method that cannot prune to patterns is to prune to one.
    #[error("the method {method} cannot prune to the pattern {sparsity}: give a share such as 0.5")]
    Unpatterned {
        /// The method.
        method: String,
        /// The pattern.
        sparsity: Sparsity,
    },
    /// The device failed at a layer.
    #[error("{layer}")]
    Device {
        /// The weight's name.
        layer: String,
        /// The device's error.
        #[source]
        source: DeviceError,
    },
    /// A budget that not even one block fits.
    #[error(
        "one block with one window takes {least} on the device, but {budget} is the budget: {} or take shorter windows \
         with --seqlen", .by.advice()
    )]
    Memory {
        /// The origin of the budget.
        by: BudgetBy,
        /// The least size that suffices.
        least: Size,
        /// The budget.
        budget: Size,
    },
    /// The method failed at a layer.
    #[error("the method failed at {layer}")]
    Method {
        /// The weight's name.
        layer: String,
        /// Its error.
        #[source]
        source: espalier_sdk::Error,
    },
    /// The method returned something that is not a pruned weight.
    #[error("the method returned an unusable weight for {layer}: {message}")]
    Returned {
        /// The weight's name.
        layer: String,
        /// The problem.
        message: String,
    },
    /// The device failed between layers.
    #[error("while measuring the inputs of layers")]
    Measuring(#[from] DeviceError),
    /// A weight of the model is NaN or infinite.
    #[error("{layer} has a value that is {value}, at row {row}, column {col}: the model is damaged")]
    NotFinite {
        /// The tensor's name.
        layer: String,
        /// The row of the first such value.
        row: usize,
        /// Its column.
        col: usize,
        /// The actual value.
        value: &'static str,
    },
    /// An unfinished run that is not the same as this one.
    #[error(
        "{} holds an unfinished run that this one cannot continue: {}; give the same settings, choose another --out, or \
         start over with --restart", .folder.display(), .why.join("; ")
    )]
    NotContinued {
        /// The folder of the unfinished run.
        folder: PathBuf,
        /// The differences.
        why: Vec<String>,
    },
    /// A measured number is NaN or infinite.
    #[error(
        "the inputs of {layers} are not finite (feature {feature} has norm {value}): the model's numbers overflow on \
         this calibration data, or a block before it was damaged"
    )]
    Inputs {
        /// The names of the weights that read it.
        layers: String,
        /// The first such feature.
        feature: usize,
        /// Its norm.
        value: f32,
    },
}

impl PruneError {
    /// An error of the device with the block that it happened in.
    pub(super) fn in_block(self, block: usize) -> Self {
        match self {
            Self::Measuring(source) => Self::Model(ModelError::Block { block, source }),
            Self::Model(error) => Self::Model(error.in_block(block)),
            other => other,
        }
    }

    /// Whether the device, or the host, had no memory left.
    pub(super) fn is_out_of_memory(&self) -> bool {
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(this) = error {
            // Transparent wrappers are seen through by their own kind, not by `source`.
            let wrapped = matches!(
                this.downcast_ref(),
                Some(Self::Model(ModelError::Device(DeviceError::OutOfMemory { .. })))
            );
            let device = matches!(this.downcast_ref(), Some(DeviceError::OutOfMemory { .. }));
            let plugin = this
                .downcast_ref::<espalier_sdk::Error>()
                .is_some_and(|error| error.code == espalier_sdk::Code::OutOfMemory);
            if wrapped || device || plugin {
                return true;
            }
            error = this.source();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_out_is_seen_through_every_wrapper() {
        let full = || DeviceError::OutOfMemory { what: "a tensor".to_owned(), bytes: 1 };
        let (name, block) = ("lm_head.weight".to_owned(), 3);
        for error in [
            PruneError::Measuring(full()),
            ModelError::Device(full()).into(),
            ModelError::Block { block, source: full() }.into(),
            ModelError::Tensor { name, source: full() }.into(),
            PruneError::from(ModelError::Block { block, source: full() }).in_block(block),
        ] {
            assert!(error.is_out_of_memory(), "{error:?}");
        }
        assert!(!PruneError::NothingToDo.is_out_of_memory());
    }
}
