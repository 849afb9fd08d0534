use crate::{Under, on_every_device};
use espalier_host::device::{Binding, DeviceError, KernelCall, Tensor};
use espalier_sdk::{Access, Buffer, Error, Result};

const WGSL: &str = "
struct Params { count: u32, factor: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (id.x + id.y * count.x) * 64u + local;
    if i < p.count {
        y[i] += p.factor * x[i];
    }
}";

fn twin(buffers: &mut [Buffer<'_>], params: &[u8]) -> Result<()> {
    let [x, y] = buffers else { return Err(Error::invalid("two bindings")) };
    let factor = f32::from_le_bytes(params[4..8].try_into().expect("four bytes"));
    for (y, x) in y.f32_mut()?.iter_mut().zip(x.f32()) {
        *y += factor * x;
    }
    Ok(())
}

fn call(under: &Under, twin: Option<Twin<'_>>, x: &Tensor, y: &mut Tensor) -> Result<(), DeviceError> {
    let kernel = KernelCall { name: "axpy", wgsl: WGSL, bindings: &[Access::Read, Access::Write], cpu: twin };
    let params = [(x.elements() as u32).to_le_bytes(), 2.5f32.to_le_bytes()].concat();
    let workgroups = x.elements().div_ceil(64) as u32;
    under.device().run(&kernel, &mut [Binding::Read(x), Binding::Write(y)], &params, workgroups)
}

type Twin<'a> = &'a dyn Fn(&mut [Buffer<'_>], &[u8]) -> Result<()>;

#[test]
fn a_plugins_kernel_runs_on_its_tensors() {
    on_every_device(65536, |under| {
        for (rows, cols) in [(1, 1), (7, 33), (100, 130)] {
            let x: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let mut y = under.f32(rows, cols, &vec![1.0; rows * cols]);
            call(under, Some(&twin), &under.f32(rows, cols, &x), &mut y).expect("it runs");
            assert!(under.output(&y).iter().zip(x).all(|(y, x)| *y == 1.0 + 2.5 * x), "{}", under.what);
        }
    });
}

#[test]
fn what_cannot_run_is_said() {
    on_every_device(4096, |under| {
        let (x, mut y) = (under.f32(2, 3, &[1.0; 6]), under.f32(2, 3, &[1.0; 6]));
        match (call(under, None, &x, &mut y), &under.gpu) {
            (Err(DeviceError::Unsupported(message)), None) => assert!(message.contains("axpy"), "{message}"),
            (Ok(()), Some(_)) => {}
            (result, _) => panic!("{}: {result:?}", under.what),
        }
        if under.what.contains("panels") {
            let (x, mut y) = (under.f32(100, 30, &[1.0; 3000]), under.f32(100, 30, &[1.0; 3000]));
            let error = call(under, None, &x, &mut y).expect_err("it has three panels");
            assert!(
                matches!(&error, DeviceError::Unsupported(message) if message.contains("axpy")),
                "{error}"
            );
        }
        let broken = KernelCall { name: "broken", wgsl: "fn main(", bindings: &[], cpu: None };
        let error = under.device().run(&broken, &mut [], &[], 1).expect_err("it does not compile");
        assert!(error.to_string().contains("broken"), "{error}");
    });
}
