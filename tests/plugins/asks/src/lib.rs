//! A method that asks the device for one small operation over and over, to time the border.

use espalier_sdk::{
    Layer, Method, MethodInfo, OptionKind, Options, Pruned, Result, Run, Unary, export_plugin,
};

/// Copies the weight so many times.
struct Asks {
    times: i64,
}

impl Method for Asks {
    fn info() -> MethodInfo {
        MethodInfo::new("asks", "for benchmarks").option("times", OptionKind::Integer, 1, "how often it asks")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { times: options.integer("times")? })
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let device = run.device();
        for _ in 1..self.times {
            device.map(Unary::Identity, &layer.weight)?;
        }
        Ok(device.map(Unary::Identity, &layer.weight)?.into())
    }
}

export_plugin! { methods: [Asks] }
