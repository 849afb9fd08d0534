//! GPUs for tests: one is always found or the test fails, and the drivers' complaints fail it too.
//!
//! `ESPALIER_TEST_ADAPTER` chooses an adapter by a part of its name and backend, such as `llvmpipe` or `gl`;
//! otherwise it is the first one.
//! `WGPU_VALIDATION=1` turns the driver's validation layer on, which then must have nothing to say.

use espalier_host::device::{
    Compute, DType, Device, Tensor,
    gpu::{Adapter, AdapterReport, Backend, Gpu, GpuOptions, enumerate, tune::Tuning},
};
use std::{
    ops::Deref,
    sync::{Mutex, Once, OnceLock, PoisonError},
};

/// Bytes past the end of every tensor that no kernel may touch.
const GUARD_BYTES: u64 = 256;

/// A GPU for a test. At its end the test fails if the driver complained.
#[derive(Debug)]
pub struct TestGpu(Gpu);

impl TestGpu {
    /// The adapter that tests use, with guard words after every tensor, and panels of at most this many
    /// bytes.
    ///
    /// # Panics
    /// There is no such adapter: a test of kernels that runs none is no test.
    pub fn open(panel_limit: Option<u64>) -> Self {
        let options = GpuOptions { panel_limit, guard_bytes: GUARD_BYTES, ..GpuOptions::default() };
        Self(Gpu::open(adapter(), options).expect("the adapter opens"))
    }

    /// The same, with whole tensors and products whose operands are rounded to a type.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn computing(compute: Compute) -> Self {
        Self::tuned(compute, Tuning::default())
    }

    /// The same, with kernels tuned like this.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn tuned(compute: Compute, tuning: Tuning) -> Self {
        let options = GpuOptions { compute, guard_bytes: GUARD_BYTES, tuning, ..GpuOptions::default() };
        Self(Gpu::open(adapter(), options).expect("the adapter opens"))
    }

    /// The same without guard words, so that buffers are reused.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn unguarded(panel_limit: Option<u64>) -> Self {
        let options = GpuOptions { panel_limit, ..GpuOptions::default() };
        Self(Gpu::open(adapter(), options).expect("the adapter opens"))
    }

    /// The adapter's description.
    pub fn report() -> &'static AdapterReport {
        adapter().report()
    }

    /// An f32 tensor of NaNs: an output that no kernel has written yet.
    ///
    /// # Panics
    /// The device failed.
    pub fn unwritten(&self, rows: usize, cols: usize) -> Tensor {
        self.device().from_f32(rows, cols, vec![f32::NAN; rows * cols]).expect("it is uploaded")
    }

    /// An f32 tensor.
    ///
    /// # Panics
    /// The device failed.
    pub fn f32(&self, rows: usize, cols: usize, elements: &[f32]) -> Tensor {
        self.device().from_f32(rows, cols, elements.to_vec()).expect("it is uploaded")
    }

    /// Elements converted to this type, and as it holds them.
    ///
    /// # Panics
    /// The type is no floating-point type, or the device failed.
    pub fn floats(&self, dtype: DType, rows: usize, cols: usize, elements: &[f32]) -> (Tensor, Vec<f32>) {
        let (bytes, held) = narrow(dtype, elements);
        (self.0.upload(dtype, rows, cols, bytes.into()).expect("it is uploaded"), held)
    }

    /// The elements of an f32 output, whose guard words must be untouched.
    ///
    /// # Panics
    /// They are not, or the device failed.
    pub fn output(&self, tensor: &Tensor) -> Vec<f32> {
        assert!(self.0.guards_intact(tensor).expect("they are read"), "a kernel wrote past its tensor");
        self.device().to_f32(tensor).expect("it is read")
    }

    fn device(&self) -> &dyn Device {
        &self.0
    }
}

impl Deref for TestGpu {
    type Target = Gpu;

    fn deref(&self) -> &Gpu {
        &self.0
    }
}

impl Drop for TestGpu {
    fn drop(&mut self) {
        let complaints = complaints();
        if !complaints.is_empty() && !std::thread::panicking() {
            panic!("the driver complained:\n{}", complaints.join("\n"));
        }
    }
}

/// The elements as bytes of this type, and as it holds them.
///
/// # Panics
/// The type is no floating-point type.
pub fn narrow(dtype: DType, elements: &[f32]) -> (Vec<u8>, Vec<f32>) {
    match dtype {
        DType::F32 => (bytemuck::cast_slice(elements).to_vec(), elements.to_vec()),
        DType::F16 => {
            let halves: Vec<_> = elements.iter().map(|&x| half::f16::from_f32(x)).collect();
            (bytemuck::cast_slice(&halves).to_vec(), halves.iter().map(|x| x.to_f32()).collect())
        }
        DType::BF16 => {
            let halves: Vec<_> = elements.iter().map(|&x| half::bf16::from_f32(x)).collect();
            (bytemuck::cast_slice(&halves).to_vec(), halves.iter().map(|x| x.to_f32()).collect())
        }
        DType::U32 => panic!("no floating-point type"),
    }
}

fn adapter() -> &'static Adapter {
    static ADAPTER: OnceLock<Adapter> = OnceLock::new();
    ADAPTER.get_or_init(|| {
        listen();
        let wanted = std::env::var("ESPALIER_TEST_ADAPTER").unwrap_or_default().to_lowercase();
        // OpenGL last, and only looked for where it is asked for.
        let backends = if wanted.is_empty() { &Backend::ALL[..3] } else { &Backend::ALL };
        let adapters = enumerate(backends);
        let name = |adapter: &Adapter| format!("{} {}", adapter.report().name, adapter.report().backend);
        let names: Vec<_> = adapters.iter().map(name).collect();
        let adapter = adapters
            .into_iter()
            .find(|adapter| name(adapter).to_lowercase().contains(&wanted))
            .unwrap_or_else(|| {
                panic!("no adapter `{wanted}` to run kernels on, only {names:?}; see the README's software drivers")
            });
        let report = adapter.report();
        eprintln!("kernels run on {} ({}, {} {})", report.name, report.backend, report.driver, report.driver_info);
        adapter
    })
}

static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn complaints() -> Vec<String> {
    COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Collects what wgpu's Vulkan backend logs: the validation layer's messages, and that there is no such layer.
fn listen() {
    struct Listener;

    impl log::Log for Listener {
        fn enabled(&self, metadata: &log::Metadata) -> bool {
            metadata.target().starts_with("wgpu_hal::vulkan")
        }

        fn log(&self, record: &log::Record) {
            if !self.enabled(record.metadata()) {
                return;
            }
            let message = record.args().to_string();
            if record.level() <= log::Level::Warn || message.contains("unable to find layer") {
                eprintln!("{}: {message}", record.level());
                COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
        }

        fn flush(&self) {}
    }

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("WGPU_VALIDATION").is_none_or(|value| value == "0") {
            return;
        }
        log::set_logger(&Listener).expect("there is no other logger in tests");
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// Numbers in [-1, 1), always the same ones for a seed.
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
