//! Flags of the device.

use espalier_device::{
    Compute,
    choose::{DeviceChoice, DeviceRequest},
    gpu::Backend,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct Device {
    /// Where to compute; `auto` is the best GPU, or the CPU where there is none
    #[arg(long, default_value = "auto", value_name = "auto|gpu|cpu")]
    device: DeviceChoice,
    /// Graphics interface to reach a GPU through
    #[arg(long, value_name = "BACKEND")]
    backend: Option<Backend>,
    /// GPU to take: part of its name, or its number in `host devices`
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Type that the operands of products with weights are rounded to; sums are always f32
    #[arg(long, default_value_t, value_name = "f32|f16|bf16")]
    compute: Compute,
}

impl Device {
    pub(crate) fn request(&self) -> DeviceRequest {
        DeviceRequest {
            choice: self.device,
            backend: self.backend,
            adapter: self.adapter.clone(),
            compute: self.compute,
        }
    }
}
