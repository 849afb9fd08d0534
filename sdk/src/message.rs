//! What host and method say to each other. Everything here crosses the FFI boundary as JSON, by name: a function, a field or
//! an answer that is added later changes no layout. One that the other side does not know is refused by its name.

use crate::{Code, DType, Error, Order, Result, Sparsity, Statistic, service::TensorId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A tensor of the host's, as both sides name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHandle {
    /// The id in the host's [`DeviceService`](crate::service::DeviceService).
    pub id: TensorId,
    /// The element type.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

/// A call of a method by the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodCall {
    /// When are statistics taken? Answered by [`MethodAnswer::Order`].
    Order,
    /// Prune a layer. Answered by [`MethodAnswer::Pruned`].
    Layer {
        /// The layer.
        layer: Box<LayerData>,
        /// The seed of its draws.
        seed: u64,
    },
    /// Work on a block. Answered by [`MethodAnswer::Done`].
    Block {
        /// The block.
        block: BlockData,
        /// The seed of its draws.
        seed: u64,
    },
    /// Work on the model. Answered by [`MethodAnswer::Done`].
    Model {
        /// The model.
        model: ModelData,
        /// The seed of its draws.
        seed: u64,
    },
}

/// The answer of a method.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodAnswer {
    /// When statistics are taken.
    Order(Order),
    /// A pruned layer.
    Pruned(PrunedData),
    /// The work is done.
    Done,
}

/// A linear layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerData {
    /// The weight's name in the checkpoint.
    pub name: String,
    /// The block it belongs to, from 0.
    pub block: usize,
    /// Its name within the block, such as `up_proj`.
    pub projection: String,
    /// How much of it is to be pruned.
    pub target: Sparsity,
    /// How many weights of each row are to be pruned, if a stage before has said so.
    #[serde(default)]
    pub row_counts: Option<Vec<usize>>,
    /// The weight as the stage before left it.
    pub weight: TensorHandle,
    /// The weight as in the checkpoint.
    pub dense: TensorHandle,
    /// The words of the mask of what is pruned so far, if anything is.
    #[serde(default)]
    pub mask: Option<TensorHandle>,
    /// The low-rank part that a stage before has added: `[out_features, rank]` times `[rank, in_features]`.
    #[serde(default)]
    pub low_rank: Option<(TensorHandle, TensorHandle)>,
    /// Tokens measured.
    #[serde(default)]
    pub tokens: u64,
    /// The tokens of each calibration window, in the order in which they were measured.
    #[serde(default)]
    pub windows: Vec<usize>,
    /// How much each of them counts, if not all count 1.
    #[serde(default)]
    pub token_weights: Option<TensorHandle>,
    /// The statistics of its input. One that this version does not know was not asked for by it.
    #[serde(default)]
    pub statistics: BTreeMap<String, TensorHandle>,
}

impl LayerData {
    /// Every tensor that is lent with it.
    pub fn tensors(&self) -> impl Iterator<Item = TensorHandle> {
        let low_rank = self.low_rank.into_iter().flat_map(|(left, right)| [left, right]);
        let weights = [self.weight, self.dense].into_iter().chain(self.mask).chain(low_rank);
        let weights = weights.chain(self.token_weights);
        weights.chain(self.statistics.values().copied())
    }

    /// The name of a statistic in [`LayerData::statistics`].
    pub fn key(statistic: Statistic) -> String {
        serde_json::to_value(statistic)
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// A block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockData {
    /// From 0.
    pub index: usize,
    /// The layers to be pruned, in the order of the forward pass.
    pub layers: Vec<String>,
    /// Batches of calibration tokens.
    pub batches: usize,
}

/// A model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelData {
    /// Its blocks.
    pub blocks: usize,
    /// Calibration windows.
    pub windows: usize,
    /// Neurons of each block's feed-forward network.
    #[serde(default)]
    pub neurons: usize,
    /// Key and value heads of each block.
    #[serde(default)]
    pub heads: usize,
    /// Query heads that read each of them.
    #[serde(default)]
    pub queries_per_head: usize,
    /// Features of a head.
    #[serde(default)]
    pub head_dim: usize,
    /// The layers that are to be pruned, in the order of the forward pass, with their sizes and targets.
    pub layers: Vec<LayerTarget>,
}

/// A part of a block that can be left out. What reads and what writes it shrinks with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Neurons of the feed-forward network: rows of gate and up, columns of down.
    Neurons,
    /// Key and value heads with the query heads that read them: rows of q, k and v, columns of o.
    Heads,
}

/// A layer with its target, for a method that works on the whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerTarget {
    /// The block, from 0.
    pub block: usize,
    /// The layer's name within the block, such as `up_proj`.
    pub projection: String,
    /// `[out_features, in_features]`
    pub shape: [usize; 2],
    /// How much of it is to be pruned.
    pub target: Sparsity,
}

impl LayerTarget {
    /// The target of a layer from whose rows so many weights are to go.
    pub fn of_rows(shape: [usize; 2], counts: &[usize]) -> Sparsity {
        Sparsity::Ratio(counts.iter().sum::<usize>() as f64 / (shape[0] * shape[1]).max(1) as f64)
    }
}

/// A pruned layer. The tensors become the host's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PrunedData {
    /// The new weight; none where the old one stays under the mask.
    #[serde(default)]
    pub weight: Option<TensorHandle>,
    /// The words of the mask of what is pruned; none where it is what is 0 in the weight.
    #[serde(default)]
    pub mask: Option<TensorHandle>,
    /// A low-rank part that is added to the weight: `[out_features, rank]` times `[rank, in_features]`.
    #[serde(default)]
    pub low_rank: Option<(TensorHandle, TensorHandle)>,
    /// The method's own measure of what pruning cost this layer.
    #[serde(default)]
    pub error: Option<f64>,
    /// Other numbers for the manifest, by name.
    #[serde(default)]
    pub numbers: BTreeMap<String, f64>,
    /// Remarks for the run's log and manifest.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// For whoever wants to follow.
    Info,
    /// For everybody.
    Warn,
}

/// Declares [`HostCall`] with the names of its functions.
macro_rules! host_calls {
    ($( $(#[$doc:meta])* $name:literal = $Call:ident $({ $( $(#[$field_doc:meta])* $field:ident: $Field:ty ),* $(,)? })? )*) => {
        /// A call of the host by a method, while the method works.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub enum HostCall {
            $( $(#[$doc])* #[serde(rename = $name)] $Call $({ $( $(#[$field_doc])* $field: $Field, )* })?, )*
        }

        impl HostCall {
            /// The names of all functions, for [`MethodInfo::requires`](crate::MethodInfo::requires).
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The function's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$Call $({ $( $field: _, )* })? => $name, )*
                }
            }
        }
    };
}

host_calls! {
    /// Writes to the run's log.
    "log" = Log {
        /// How much it matters.
        level: Level,
        /// One line.
        text: String,
    }
    /// Reports progress. The answer is an error if the user has interrupted the run.
    "progress" = Progress {
        /// Steps done.
        done: usize,
        /// All steps.
        of: usize,
    }
    /// Adds a number to the manifest.
    "number" = Number {
        /// Its name.
        name: String,
        /// Its value.
        value: f64,
    }
    /// A layer of the block, with its statistics as of now: [`HostReply::Layer`].
    "layer" = Layer {
        /// Its name within the block.
        projection: String,
    }
    /// Replaces a layer's weight.
    "set" = Set {
        /// Its name within the block.
        projection: String,
        /// The new weight.
        pruned: PrunedData,
    }
    /// Puts the neurons or heads of the block into another order.
    "permute" = Permute {
        /// Which part of it.
        part: Part,
        /// The place that each comes from.
        order: Vec<usize>,
    }
    /// The hidden states `[tokens, hidden_size]` that enter the block: [`HostReply::Tensor`].
    "block_input" = BlockInput {
        /// From 0.
        batch: usize,
    }
    /// The hidden states that leave the dense block for that input: [`HostReply::Tensor`].
    "dense_output" = DenseOutput {
        /// From 0.
        batch: usize,
    }
    /// How much each token of a batch counts, `[tokens, 1]`: [`HostReply::Tensor`].
    "token_weights" = TokenWeights {
        /// From 0.
        batch: usize,
    }
    /// Runs the block: [`HostReply::Tape`].
    "forward" = Forward {
        /// The batch whose input enters, from 0.
        batch: usize,
        /// Weights to use instead of the block's own, by layer.
        weights: Vec<(String, TensorHandle)>,
    }
    /// Gradients of a loss, given its gradient by the output of a forward pass: [`HostReply::Gradients`]. Ends the tape.
    "backward" = Backward {
        /// The forward pass.
        tape: u64,
        /// `[tokens, hidden_size]`
        gradient: TensorHandle,
    }
    /// Ends a tape that is not needed.
    "drop_tape" = DropTape {
        /// The forward pass.
        tape: u64,
    }
    /// Goes on to the next block of a survey of the dense model: [`HostReply::Block`], none behind the last.
    "survey" = Survey
    /// Goes on to the next window of a way back through the dense model, from its last block to its first, window by window in
    /// each: [`HostReply::ModelGradients`], and [`HostReply::Block`] of none behind the first block.
    "gradients" = Gradients {
        /// Calibration windows to use, of the first.
        windows: usize,
    }
    /// Sets a layer's target.
    "set_target" = SetTarget {
        /// The block, from 0.
        block: usize,
        /// The layer's name within the block; all of them if there is none.
        projection: Option<String>,
        /// How much of it is to be pruned.
        target: Sparsity,
    }
    /// Sets how many weights of each row of a layer are to be pruned.
    "set_row_counts" = SetRowCounts {
        /// The block, from 0.
        block: usize,
        /// The layer's name within the block.
        projection: String,
        /// One count for each output feature.
        counts: Vec<usize>,
    }
    /// The mean loss per token of the model pruned by the stages that follow, with other targets: [`HostReply::Number`].
    /// Nothing is kept.
    "trial" = Trial {
        /// Targets of layers that differ from the present ones.
        targets: Vec<(usize, String, Sparsity)>,
        /// Calibration windows to use, of the first.
        windows: usize,
    }
    /// Lets only these neurons or heads of a block stay in the model.
    "keep" = Keep {
        /// The block, from 0.
        block: usize,
        /// Which part of it.
        part: Part,
        /// Those that stay, in ascending order.
        kept: Vec<usize>,
    }
    /// Removes a block from the model.
    "remove" = Remove {
        /// From 0.
        block: usize,
    }
}

/// The host's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostReply {
    /// Done.
    Done,
    /// A tensor that the method frees.
    Tensor(TensorHandle),
    /// A layer.
    Layer(Box<LayerData>),
    /// A forward pass.
    Tape {
        /// Its number.
        tape: u64,
        /// `[tokens, hidden_size]`, which the method frees.
        output: TensorHandle,
    },
    /// Gradients, which the method frees.
    Gradients {
        /// By each layer's weight.
        weights: Vec<(String, TensorHandle)>,
        /// By the block's input.
        input: TensorHandle,
    },
    /// The gradients of a window's mean cross-entropy per token through a block, which the method frees.
    ModelGradients {
        /// The block.
        block: BlockData,
        /// By each layer's weight.
        weights: Vec<(String, TensorHandle)>,
        /// By the block's input.
        input: TensorHandle,
    },
    /// A block, or none.
    Block(Option<BlockData>),
    /// A number.
    Number(f64),
}

/// The host, as a method calls it while it works.
pub trait HostService: Send + Sync {
    /// Does what is asked.
    ///
    /// # Errors
    /// [`Code::Unsupported`] where the host, or the scope that the method works in, does not have the function.
    fn call(&self, call: HostCall) -> Result<HostReply>;
}

/// A call as it came over the border.
///
/// # Errors
/// The function is not known here, or its arguments are others.
pub fn parse_call(json: &str) -> Result<HostCall> {
    serde_json::from_str(json).map_err(|error| {
        let name = serde_json::from_str::<serde_json::Value>(json).ok();
        let name = name.as_ref().and_then(|value| {
            value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str))
        });
        match name {
            Some(name) if !HostCall::NAMES.contains(&name) => unsupported(name),
            _ => Error::invalid(format!("a call that this host cannot read: {error}")),
        }
    })
}

/// The answer to a call of a function that there is not.
pub fn unsupported(name: &str) -> Error {
    Error::new(Code::Unsupported, format!("this host does not have the function `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_cross_as_json_by_name() {
        let json = serde_json::to_string(&HostCall::Remove { block: 3 }).unwrap();
        assert_eq!(json, r#"{"remove":{"block":3}}"#);
        assert!(matches!(parse_call(&json), Ok(HostCall::Remove { block: 3 })));
        assert!(matches!(parse_call("\"survey\""), Ok(HostCall::Survey)));
        // A field that a later version adds is passed over.
        assert!(matches!(
            parse_call(r#"{"remove":{"block":3,"why":"x"}}"#),
            Ok(HostCall::Remove { block: 3 })
        ));
    }

    #[test]
    fn a_function_that_is_not_there_is_named() {
        for json in [r#"{"rotate":{"block":3}}"#, "\"rotate\""] {
            let error = parse_call(json).unwrap_err();
            assert_eq!(error.code, Code::Unsupported);
            assert_eq!(error.message, "this host does not have the function `rotate`");
        }
        assert_eq!(parse_call(r#"{"remove":{}}"#).unwrap_err().code, Code::InvalidInput);
    }

    #[test]
    fn statistics_have_their_names() {
        assert_eq!(LayerData::key(Statistic::MeanVariance), "mean_variance");
    }
}
