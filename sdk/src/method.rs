//! Pruning methods.

use crate::options::option_builders;
use crate::{
    Allowed, Block, Code, Error, Layer, Model, OptionKind, OptionSpec, Options, Pruned, Result, Run,
    Statistic,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A stage of a run: `--method owl,wanda,dsnot` is three, and each finds what the one before left.
///
/// A method works on a layer, a block or the model, as [`MethodInfo::scope`] says, and implements the function of that
/// scope. The host makes one instance for a run and walks through the model.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// /// Drops the smallest weights of every row.
/// struct Smallest;
///
/// impl Method for Smallest {
///     fn info() -> MethodInfo {
///         MethodInfo::new("smallest", "drops the smallest weights of every row")
///     }
///
///     fn new(_: &Options) -> Result<Self> {
///         Ok(Self)
///     }
///
///     fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
///         let magnitudes = Scores::of(Unary::Abs, &layer.weight);
///         Ok(layer.smallest_per_row(run.device(), magnitudes)?.into())
///     }
/// }
/// # fn main() -> Result<()> {
/// # let device = testing::device();
/// # let weight = testing::tensor(&device, &[[1.0, -4.0], [2.0, 3.0]])?;
/// # let inputs = testing::random(&device, 16, 2, 0)?;
/// # let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5))?;
/// # let pruned = testing::prune(&Smallest, &layer, &device)?;
/// # assert_eq!(testing::rows(&pruned.weight)?, [[0.0, -4.0], [0.0, 3.0]]);
/// # Ok(())
/// # }
/// ```
pub trait Method: Send + Sync + 'static {
    /// The method's name, what it does, its scope, its options, and the statistics it needs.
    fn info() -> MethodInfo
    where
        Self: Sized;

    /// An instance with these options, which the host has checked against [`MethodInfo::options`].
    ///
    /// # Errors
    /// A value the method cannot work with.
    fn new(options: &Options) -> Result<Self>
    where
        Self: Sized;

    /// When a layer's statistics are taken.
    fn order(&self) -> Order {
        Order::Block
    }

    /// Prunes one linear layer; called for every layer, block by block in the order of the forward pass.
    ///
    /// # Errors
    /// Whatever stops the run; the host adds the layer's name. So for every scope.
    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let _ = (layer, run);
        Err(lacking(Scope::Layer))
    }

    /// Works on one block. By default, each of its layers is pruned for itself.
    ///
    /// # Errors
    /// As [`Method::layer`].
    fn block(&self, block: &mut Block, run: &Run) -> Result<()> {
        for projection in block.layers().to_vec() {
            let pruned = self.layer(&block.layer(&projection)?, run)?;
            block.set(&projection, pruned)?;
        }
        Ok(())
    }

    /// Decides for the whole model, before the stages that follow prune it.
    ///
    /// # Errors
    /// As [`Method::layer`].
    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let _ = (model, run);
        Err(lacking(Scope::Model))
    }
}

fn lacking(scope: Scope) -> Error {
    Error::new(
        Code::Unsupported,
        format!("the method declares {scope:?} as its scope, but does not implement it"),
    )
}

/// The part of the model that a method sees at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// One linear layer: [`Method::layer`].
    #[default]
    Layer,
    /// One block: [`Method::block`].
    Block,
    /// The model: [`Method::model`].
    Model,
}

/// When the statistics of a block's layers are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Once, with the whole block still dense.
    Block,
    /// Before each group of layers that share an input (q, k, v → o → gate, up → down), through what is
    /// already pruned of the block.
    TrueSequential,
}

/// The description of a method.
///
/// ```
/// use espalier_sdk::*;
///
/// let info = MethodInfo::new("mine", "scores weights by their inputs")
///     .paper("Doe et al., 2501.00001")
///     .option("alpha", OptionKind::Float, 0.5, "the power of the inputs' norms")
///     .range(0.0..=2.0)
///     .needs(Statistic::ColumnNorms)
///     .without_patterns();
/// assert_eq!(info.scope, Scope::Layer);
/// assert!(!info.patterns);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodInfo {
    /// Its name, as in `--method NAME`.
    pub name: String,
    /// A summary in one line.
    pub summary: String,
    /// The part of the model that it sees at once.
    #[serde(default)]
    pub scope: Scope,
    /// Where it was published, such as an arXiv number.
    #[serde(default)]
    pub paper: String,
    /// Whether it can prune to patterns such as 2:4.
    #[serde(default = "yes")]
    pub patterns: bool,
    /// The options it takes.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// The statistics it needs; nothing else is measured.
    #[serde(default)]
    pub statistics: Vec<Statistic>,
    /// Functions of the host and operations of the device without which it cannot work.
    #[serde(default)]
    pub requires: Vec<String>,
}

fn yes() -> bool {
    true
}

impl MethodInfo {
    /// A method that works on layers, without options, that needs no statistics.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            scope: Scope::Layer,
            paper: String::new(),
            patterns: true,
            options: Vec::new(),
            statistics: Vec::new(),
            requires: Vec::new(),
        }
    }

    option_builders!();

    /// Sets the part of the model that it sees at once.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Says where the method was published, such as an arXiv number.
    #[must_use]
    pub fn paper(mut self, paper: impl Into<String>) -> Self {
        self.paper = paper.into();
        self
    }

    /// Says that the method cannot prune to patterns such as 2:4: the host refuses them before anything runs.
    #[must_use]
    pub fn without_patterns(mut self) -> Self {
        self.patterns = false;
        self
    }

    /// Asks for a statistic of every layer's input.
    #[must_use]
    pub fn needs(mut self, statistic: Statistic) -> Self {
        self.statistics.push(statistic);
        self
    }

    /// Names a function of the host ([`HostCall::NAMES`](crate::message::HostCall::NAMES)) or an operation of the device
    /// ([`Op::NAMES`](crate::service::Op)) without which the method cannot work: a host that does not have it refuses the
    /// method before anything runs. What is not named may be tried, and fails with
    /// [`Code::Unsupported`] where it is missing.
    #[must_use]
    pub fn requires(mut self, function: impl Into<String>) -> Self {
        self.requires.push(function.into());
        self
    }
}
