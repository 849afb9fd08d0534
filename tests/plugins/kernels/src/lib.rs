//! Kernels and tensors that no device should be given: the host has to refuse each by name, or to give it up.

use espalier_sdk::{
    Access, DType, Kernel, Layer, Method, MethodInfo, Options, Pruned, Result, Run, export_plugin,
};

/// So many that what is not refused takes for ever, even on drivers that bound the iterations of a loop.
const WORKGROUPS: usize = 4_000_000;

/// A method that runs one kernel over one small tensor.
macro_rules! method {
    ($type:ident, $name:literal, $wgsl:expr) => {
        struct $type;

        impl Method for $type {
            fn info() -> MethodInfo {
                MethodInfo::new($name, "for tests")
            }

            fn new(_: &Options) -> Result<Self> {
                Ok(Self)
            }

            fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
                let device = run.device();
                const KERNEL: Kernel =
                    Kernel { name: $name, wgsl: $wgsl, bindings: &[Access::Write], cpu: None };
                let mut out = device.zeros(DType::F32, 1, 64)?;
                device.run(&KERNEL, &[], &mut [&mut out], &[], WORKGROUPS)?;
                out.to_vec()?;
                Ok(device.map(espalier_sdk::Unary::Identity, &layer.weight)?.into())
            }
        }
    };
}

method!(
    HugeWorkgroup,
    "huge_workgroup",
    "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
     var<workgroup> scratch: array<f32, 100000000>;
     @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
         scratch[i] = f32(i);
         workgroupBarrier();
         out[i] = scratch[63u - i];
     }"
);
method!(
    ManyInvocations,
    "many_invocations",
    "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
     @compute @workgroup_size(1024, 1024, 64) fn main(@builtin(local_invocation_index) i: u32) { out[i] = 1.0; }"
);
method!(Garbage, "garbage", "this is not WGSL");
method!(
    NoParameters,
    "no_parameters",
    "struct Params { rows: u32, cols: u32 }
     var<immediate> params: Params;
     @group(0) @binding(0) var<storage, read_write> out: array<f32>;
     @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { out[i] = f32(params.rows); }"
);
method!(
    LargeVariable,
    "large_variable",
    "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
     @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
         var own: array<f32, 10000000>;
         for (var j = i; j < 10000000u; j++) { own[j] = f32(j); }
         out[i] = own[9999999u - i];
     }"
);
method!(
    Undeclared,
    "undeclared",
    "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
     @group(0) @binding(5) var<storage> more: array<f32>;
     @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { out[i] = more[i]; }"
);

/// Counts in both loops as far as u32 goes, as far as a driver lets it.
const ENDLESS: &str = "
     @group(0) @binding(0) var<storage, read_write> out: array<f32>;
     @compute @workgroup_size(1) fn main() {
         for (var i = 0u; i < 4294967295u; i++) {
             for (var j = 0u; j < 4294967295u; j++) { out[j % 64u] += sin(f32(i ^ j)); }
         }
     }";
method!(Endless, "endless", ENDLESS);

/// Goes on after the device was given up, as if nothing had happened.
struct Stubborn;

impl Method for Stubborn {
    fn info() -> MethodInfo {
        MethodInfo::new("stubborn", "for tests")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let device = run.device();
        const KERNEL: Kernel =
            Kernel { name: "stubborn", wgsl: ENDLESS, bindings: &[Access::Write], cpu: None };
        let mut out = device.zeros(DType::F32, 1, 64)?;
        for _ in 0..1000 {
            // Whatever it says.
            let _ = device.run(&KERNEL, &[], &mut [&mut out], &[], WORKGROUPS);
            let _ = out.to_vec();
        }
        Ok(device.map(espalier_sdk::Unary::Identity, &layer.weight)?.into())
    }
}

/// Asks for more memory than any machine has.
struct HugeTensor;

impl Method for HugeTensor {
    fn info() -> MethodInfo {
        MethodInfo::new("huge_tensor", "for tests")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn layer(&self, _: &Layer, run: &Run) -> Result<Pruned> {
        let device = run.device();
        Ok(device.zeros(DType::F32, 1 << 20, 1 << 18)?.into())
    }
}

export_plugin! {
    methods: [
        HugeWorkgroup, ManyInvocations, Garbage, NoParameters, LargeVariable, Undeclared, Endless, Stubborn, HugeTensor
    ]
}
