//! Published methods of every scope, each as small as it can be: the proof that the interface is wide enough for them. They
//! are compared with PyTorch in `tests/published.rs`.

mod dsnot;
mod evopress;
mod gblm;
mod matching;
mod oats;
mod owl;
mod ria;
mod ria_permuted;
mod shortened;
mod shortgpt;
mod wanda_sp;

use espalier_sdk::export_plugin;

export_plugin! {
    methods: [
        ria::Ria, oats::Oats, dsnot::DsNoT, owl::Owl, matching::BlockMatching, shortgpt::ShortGpt,
        evopress::EvoPress, gblm::Gblm, shortened::Shortened,
        wanda_sp::WandaSp, ria_permuted::RiaPermuted,
    ]
}
