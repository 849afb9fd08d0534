//! Methods with faults that no error of Rust's holds: most end a process that they run in.

use espalier_sdk::{
    Access, Buffer, Device, Error, Kernel, Layer, Method, MethodInfo, Options, Pruned, Result, Run, Unary,
};
use std::{
    hint::{black_box, spin_loop},
    sync::{Mutex, PoisonError},
};

method!(Segfaults, "segfaults", |layer, device| {
    touch_what_is_not_there();
    Ok(device.map(Unary::Identity, &layer.weight)?.into())
});
method!(Aborts, "aborts", |_layer, _device| std::process::abort());
method!(Overflows, "overflows", |layer, _device| Err(Error::invalid(format!(
    "{}",
    deep(layer.block as u64)
))));
method!(Exits, "exits", |_layer, _device| std::process::exit(0));
method!(Loops, "loops", |_layer, _device| loop {
    spin_loop();
});
method!(Asks, "asks_for_ever", |layer, device| loop {
    device.map(Unary::Identity, &layer.weight)?;
});
method!(Babbles, "babbles", |_layer, _device| {
    Err(Error::invalid("\u{1b}[2J\u{7}\u{202e} nonsense ".repeat(9000)))
});
method!(Prints, "prints", |layer, device| {
    println!("a plugin's own words");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(device.map(Unary::Identity, &layer.weight)?.into())
});
method!(Reenters, "reenters", |layer, device| launch(layer, device, reenter));
method!(TwinSegfaults, "twin_segfaults", |layer, device| {
    launch(layer, device, |_, _| {
        touch_what_is_not_there();
        Ok(())
    })
});
method!(TwinLoops, "twin_loops", |layer, device| launch(layer, device, |_, _| loop {
    spin_loop();
}));
method!(TwinPanics, "twin_panics", |layer, device| launch(layer, device, |_, _| panic!("the twin fell")));
method!(TwinNegates, "twin_negates", |layer, device| {
    launch(layer, device, |buffers, _| {
        let [from, to] = buffers else { return Err(Error::invalid("two bindings are due")) };
        to.f32_mut()?.iter_mut().zip(from.f32()).for_each(|(to, from)| *to = -from);
        Ok(())
    })
});

/// Copies the weight, and panics when it is dropped.
pub(crate) struct DropPanics;

impl Method for DropPanics {
    fn info() -> MethodInfo {
        MethodInfo::new("drop_panics", "for tests")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let device = run.device();
        Ok(device.map(Unary::Identity, &layer.weight)?.into())
    }
}

impl Drop for DropPanics {
    fn drop(&mut self) {
        panic!("not without a fight");
    }
}

/// The device, for a twin, which is given none.
static DEVICE: Mutex<Option<Device>> = Mutex::new(None);

type Twin = fn(&mut [Buffer<'_>], &[u8]) -> Result<()>;

/// Runs a kernel with this twin from the weight to a new one.
fn launch(layer: &Layer, device: &Device, twin: Twin) -> Result<Pruned> {
    *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(device.clone());
    let mut out = device.map(Unary::Identity, &layer.weight)?;
    let kernel = Kernel {
        name: "odd",
        wgsl: "@compute @workgroup_size(1) fn main() {}",
        bindings: &[Access::Read, Access::Write],
        cpu: Some(twin),
    };
    device.run(&kernel, &[&layer.weight], &mut [&mut out], &[], 1)?;
    Ok(out.into())
}

fn reenter(_: &mut [Buffer<'_>], _: &[u8]) -> Result<()> {
    let device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    device.map_or(Ok(()), |device| device.from_slice(1, 1, &[0.0]).map(|_| ()))
}

pub(crate) fn touch_what_is_not_there() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(16);
    // SAFETY: none; this is the fault.
    unsafe { nowhere.write_volatile(1) };
}

#[expect(unconditional_recursion, reason = "this is the fault")]
fn deep(level: u64) -> u64 {
    let room = black_box([level; 512]);
    deep(level + 1) + room[level as usize % 512]
}
