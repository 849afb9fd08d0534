//! A method that asks the device for one small operation over and over, to time the border.

use espalier_sdk::{
    Device, Layer, MethodInfo, OptionKind, Options, Pruned, PruningMethod, Result, Sparsity, Unary,
    export_plugin,
};

/// Copies the weight so many times.
struct Asks {
    times: i64,
}

impl PruningMethod for Asks {
    fn info() -> MethodInfo {
        MethodInfo::new("asks", "for benchmarks").option("times", OptionKind::Integer, 1, "how often it asks")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { times: options.integer("times")? })
    }

    fn prune(&self, layer: &Layer, _: Sparsity, device: &Device) -> Result<Pruned> {
        for _ in 1..self.times {
            device.map(Unary::Identity, &layer.weight)?;
        }
        Ok(device.map(Unary::Identity, &layer.weight)?.into())
    }
}

export_plugin! { methods: [Asks] }
