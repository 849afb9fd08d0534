//! Linear algebra and ranks on the CPU and on a GPU, whole and in panels, against references in f64: odd
//! shapes, ties, outputs and guard words that hold NaN before.

mod factors;
mod products;
mod ranks;
mod rectangles;
mod run;

use espalier_host::device::{DType, Device, Tensor, cpu::Cpu};
use espalier_tests::gpu::TestGpu;

/// A device under test.
struct Under {
    cpu: Cpu,
    gpu: Option<TestGpu>,
    what: String,
}

impl Under {
    fn device(&self) -> &dyn Device {
        match &self.gpu {
            Some(gpu) => &**gpu,
            None => &self.cpu,
        }
    }

    fn f32(&self, rows: usize, cols: usize, elements: &[f32]) -> Tensor {
        self.device().from_f32(rows, cols, elements.to_vec()).expect("it is uploaded")
    }

    /// A tensor of NaNs, or of set bits: an output that nothing has written yet.
    fn unwritten(&self, dtype: DType, rows: usize, cols: usize) -> Tensor {
        let bytes = vec![0xff; rows * cols * dtype.size()];
        self.device().upload(dtype, rows, cols, bytes.into()).expect("it is uploaded")
    }

    /// The elements of an output; nothing was written past its end.
    fn output(&self, x: &Tensor) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&self.bytes(x))
    }

    fn words(&self, x: &Tensor) -> Vec<u32> {
        bytemuck::pod_collect_to_vec(&self.bytes(x))
    }

    fn bytes(&self, x: &Tensor) -> Vec<u8> {
        if let Some(gpu) = &self.gpu {
            assert!(gpu.guards_intact(x).expect("they are read"), "{}: written past its end", self.what);
        }
        self.device().read(x).expect("it is read")
    }
}

/// Runs a test on the CPU, on the GPU, and on the GPU with panels of at most so many bytes.
fn on_every_device(panel_limit: u64, test: impl Fn(&Under)) {
    let under = |gpu, what: &str| Under { cpu: Cpu::new(), gpu, what: what.to_owned() };
    test(&under(None, "cpu"));
    test(&under(Some(TestGpu::open(None)), "gpu"));
    test(&under(Some(TestGpu::open(Some(panel_limit))), "gpu in panels"));
}
