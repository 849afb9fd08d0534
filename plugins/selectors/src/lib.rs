//! Ways of choosing calibration data, as a family of selectors.
//!
//! | selector | what it prefers |
//! |---|---|
//! | `first` | documents as they come |
//! | `length` | the longest, the shortest, or those nearest to a length |
//! | `perplexity` | what the model finds easy, middling or hard |
//! | `diverse` | documents with tokens that none had before |
//! | `zipf` | documents with the rarest words |
//! | `balanced` | as much of each source, with few repeated n-grams and perplexity evened over sources |
//! | `clusters` | one document for each region of the model's hidden states |
//! | `language` | documents in one language or script |
//! | `mix` | sources in proportion |
//! | `self` | text that the model writes itself |
//! | `traces` | answers that the model writes itself to the prompts of rows |
//! | `difficulty` | rows by the share of the model's answers that are right |

mod balanced;
mod clusters;
mod difficulty;
mod diverse;
mod first;
mod kmeans;
mod language;
mod length;
mod mix;
mod perplexity;
mod pool;
mod sampled;
mod self_generated;
mod traces;
mod zipf;

use espalier_sdk::export_plugin;

export_plugin! {
    selectors: [
        first::First,
        length::Length,
        perplexity::Perplexity,
        diverse::Diverse,
        clusters::ClusterSelector,
        language::Language,
        mix::Mix,
        self_generated::SelfGenerated,
        traces::Traces,
        difficulty::Difficulty,
        zipf::Zipf,
        balanced::Balanced,
    ],
}
