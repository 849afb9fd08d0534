//! An open device: its queue, its memory and the work recorded for it.

use super::{
    adapter::{Adapter, COOPERATIVE_FEATURES},
    faults::{Faults, chain, guarded},
    options::{GpuOptions, matrix_side},
    pipelines::Pipelines,
    pool::{Pool, PooledBuffer, size_class},
    timer::{COMMANDS_PER_SUBMIT, Timer},
    watchdog::{self, LOSE_DEVICE, OUT_OF_MEMORY, PATIENCE, Watchdog},
};
use crate::{DeviceError, Result};
use espalier_base::interrupt;
use espalier_shaders::Kernel;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The most bytes of a panel, whatever the adapter allows: element numbers stay far from the end of u32.
const PANEL_CEILING: u64 = 1 << 31;

/// One run of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Dispatch<'a> {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its override constants.
    pub constants: &'a [(&'static str, f64)],
    /// Its buffers, in the order of its bindings.
    pub bindings: &'a [wgpu::BufferBinding<'a>],
    /// The bytes of its parameters.
    pub params: &'a [u8],
    /// How many workgroups. They are folded into two dimensions; the kernel takes
    /// `workgroup.x + workgroup.y * workgroups.x` for its number and ends when it is past the last.
    pub workgroups: u64,
}

/// An open device.
#[derive(Debug)]
pub struct Context {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    limits: wgpu::Limits,
    panel_limit: u64,
    guard_bytes: u64,
    faults: Arc<Faults>,
    pool: Arc<Pool>,
    pipelines: Pipelines,
    recorder: Mutex<Recorder>,
    watchdog: Watchdog,
    pub(super) staging: Mutex<Option<wgpu::Buffer>>,
}

/// Commands that are recorded and not handed over.
#[derive(Debug, Default)]
struct Recorder {
    // Dropped, and so ended, before its encoder.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    commands: u32,
    timer: Option<Timer>,
}

/// Features that are enabled where the adapter has them.
const OPTIONAL_FEATURES: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::SUBGROUP);

impl Context {
    /// Opens an adapter.
    ///
    /// # Errors
    /// The adapter lacks something that every kernel needs, or does not open.
    pub(super) fn open(adapter: &Adapter, options: &GpuOptions) -> Result<Self> {
        let watchdog = Watchdog::from_environment()?;
        let report = adapter.report();
        let limits = adapter.inner().limits();
        if !adapter.inner().features().contains(wgpu::Features::IMMEDIATES) || limits.max_immediate_size == 0
        {
            return Err(DeviceError::NoAdapter(format!(
                "the adapter `{}` ({}) has no 64 bytes of immediate data (push constants), which kernels take \
                 their parameters from; choose another with --backend or --adapter, or use --device cpu",
                report.name, report.backend
            )));
        }
        let mut required_features =
            wgpu::Features::IMMEDIATES | adapter.inner().features().intersection(OPTIONAL_FEATURES);
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if matrix_side(adapter, options).is_some() {
            required_features |= COOPERATIVE_FEATURES;
            // SAFETY: wgpu's small matrices may still have bugs that are undefined behaviour. They are asked for
            // where products in f16 are, by one kernel whose accesses to memory are all inside its arrays, and whose
            // result is compared with the plain kernel's before it is used.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let (device, queue) = pollster::block_on(adapter.inner().request_device(&wgpu::DeviceDescriptor {
            label: Some("espalier"),
            required_features,
            // All that the adapter has, so that large tensors need few panels.
            required_limits: limits.clone(),
            experimental_features,
            // Large tensors get allocations of their own either way; small ones share small blocks.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        }))
        .map_err(|source| DeviceError::Open { adapter: report.name.clone(), source: Box::new(source) })?;
        let faults = Faults::watch(&device);
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(PANEL_CEILING);
        let guard_bytes = options.guard_bytes.next_multiple_of(16);
        let most = most.saturating_sub(guard_bytes);
        let panel_limit = options.panel_limit.map_or(most, |limit| limit.min(most)) / 16 * 16;
        Ok(Self {
            device,
            queue,
            limits,
            panel_limit: panel_limit.max(16),
            guard_bytes,
            faults,
            pool: Arc::default(),
            pipelines: Pipelines::default(),
            recorder: Mutex::default(),
            watchdog,
            staging: Mutex::default(),
        })
    }

    /// The device's limits.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    /// The most bytes of a panel, a multiple of 16.
    pub fn panel_limit(&self) -> u64 {
        self.panel_limit
    }

    /// Bytes past the end of every panel that no kernel may touch, for tests.
    pub(super) fn guard_bytes(&self) -> u64 {
        self.guard_bytes
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Records a run of a kernel, and hands over what was recorded when it is enough.
    ///
    /// # Errors
    /// The kernel does not compile, or an earlier command failed.
    pub fn dispatch(&self, dispatch: &Dispatch) -> Result<()> {
        let Dispatch { kernel, constants, bindings, params, workgroups } = *dispatch;
        if workgroups == 0 {
            return Ok(());
        }
        debug_assert_eq!(params.len(), kernel.params as usize, "parameters of `{}`", kernel.name);
        debug_assert_eq!(bindings.len(), kernel.bindings.len(), "bindings of `{}`", kernel.name);
        let [x, y] = fold(workgroups, self.limits.max_compute_workgroups_per_dimension).ok_or_else(|| {
            DeviceError::Failed {
                operation: format!("the kernel `{}`", kernel.name),
                message: format!("{workgroups} workgroups are more than the device starts at once"),
            }
        })?;
        let pipeline = self.pipelines.get(&self.device, kernel, constants)?;
        let entries: Vec<_> = bindings
            .iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(buffer.clone()),
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &pipeline.layout,
            entries: &entries,
        });
        let mut recorder = self.recorder();
        let pass = recorder.pass(&self.device);
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.set_immediates(0, params);
        pass.dispatch_workgroups(x, y, 1);
        self.recorded(&mut recorder, kernel.name)
    }

    /// Records copies between buffers, clears and the like.
    ///
    /// # Errors
    /// An earlier command failed.
    pub(super) fn encode(
        &self,
        operation: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<()> {
        let mut recorder = self.recorder();
        record(recorder.encoder(&self.device));
        self.recorded(&mut recorder, operation)
    }

    fn recorded(&self, recorder: &mut Recorder, operation: &str) -> Result<()> {
        recorder.commands += 1;
        self.watchdog.note(operation);
        if recorder.commands >= COMMANDS_PER_SUBMIT {
            self.submit(operation, recorder)?;
        }
        self.check(operation)
    }

    /// Whether the device still works.
    fn check(&self, operation: &str) -> Result<()> {
        self.watchdog.check_answers(operation)?;
        self.faults.check(operation)
    }

    /// Hands over what was recorded, and every write to a buffer that was asked for.
    ///
    /// # Errors
    /// A command failed.
    pub(super) fn flush(&self, operation: &str) -> Result<wgpu::SubmissionIndex> {
        let index = self.submit(operation, &mut self.recorder())?;
        self.check(operation)?;
        Ok(index)
    }

    fn submit(&self, operation: &str, recorder: &mut Recorder) -> Result<wgpu::SubmissionIndex> {
        recorder.pass = None;
        recorder.commands = 0;
        let Recorder { encoder, timer, .. } = recorder;
        if let (Some(timer), Some(encoder)) = (&timer, encoder.as_mut()) {
            timer.resolve(encoder);
        }
        let commands = encoder.take().map(wgpu::CommandEncoder::finish);
        self.watchdog.check_answers(operation)?;
        let index = self.queue.submit(commands);
        if LOSE_DEVICE.next() {
            self.faults.lose("ESPALIER_TEST_LOSE_DEVICE asked for it");
            self.device.destroy();
        }
        self.pool.next_epoch();
        if let Some(timer) = timer {
            timer.collect(|buffer, bytes, see| self.map(operation, buffer, bytes, &index, see))?;
        }
        Ok(index)
    }

    /// Times every kernel from here on, or no longer. Returns whether it does: not every adapter can.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn time_kernels(&self, timed: bool) -> Result<bool> {
        let mut recorder = self.recorder();
        let timed = timed && self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if timed != recorder.timer.is_some() {
            self.submit("timing", &mut recorder)?;
            recorder.timer = match timed {
                true => {
                    let buffer = |bytes, usage| self.raw_buffer("timestamps", bytes, usage);
                    Some(Timer::new(&self.device, &self.queue, buffer)?)
                }
                false => None,
            };
        }
        Ok(timed)
    }

    /// Whether kernels are timed.
    pub(super) fn times_kernels(&self) -> bool {
        self.recorder().timer.is_some()
    }

    /// As [`Device::kernel_seconds`](crate::Device::kernel_seconds).
    pub(super) fn kernel_seconds(&self) -> Option<f64> {
        self.recorder().timer.as_mut()?.take()
    }

    /// Waits until a submission is done.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub(super) fn wait(&self, operation: &str, index: wgpu::SubmissionIndex) -> Result<()> {
        let started = Instant::now();
        loop {
            let poll =
                wgpu::PollType::Wait { submission_index: Some(index.clone()), timeout: Some(PATIENCE) };
            let waited = self.device.poll(poll);
            self.faults.check(operation)?;
            match waited {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) => {
                    let stop = interrupt::check().map_err(DeviceError::from);
                    if let Err(why) = stop.and_then(|()| self.watchdog.check(operation, started.elapsed())) {
                        self.abandon();
                        return Err(why);
                    }
                }
                Err(error) => {
                    return Err(DeviceError::Failed {
                        operation: operation.to_owned(),
                        message: chain(&error),
                    });
                }
            }
        }
    }

    /// Leaves a device that does not answer as it is, since giving it back would wait for it.
    fn abandon(&self) {
        std::mem::forget((self.device.clone(), self.queue.clone()));
        watchdog::abandon();
    }

    /// Whether the device is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.faults.is_lost()
    }

    /// Whether a wait for the device was given up.
    pub(super) fn is_stuck(&self) -> bool {
        self.watchdog.has_given_up()
    }

    /// Hands over what was recorded and waits until it is done.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn finish(&self, operation: &str) -> Result<()> {
        let index = self.flush(operation)?;
        self.wait(operation, index)
    }

    /// A buffer of at least `bytes` bytes, whose content is undefined if it is a recycled one and zero
    /// otherwise. A device without memory left is first rid of its free buffers.
    ///
    /// # Errors
    /// No memory is left.
    pub(super) fn buffer(&self, what: &str, bytes: u64) -> Result<PooledBuffer> {
        let size = size_class(bytes, self.panel_limit + self.guard_bytes);
        if let Some(buffer) = self.pool.reuse(size) {
            return Ok(buffer);
        }
        self.pool.check_budget(what, size)?;
        self.pool.make_room(size);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = match self.raw_buffer(what, size, usage) {
            Err(DeviceError::OutOfMemory { .. }) => {
                self.pool.clear();
                let index = self.flush(what)?;
                self.wait(what, index)?;
                self.raw_buffer(what, size, usage)?
            }
            other => other?,
        };
        Ok(self.pool.adopt(buffer, size))
    }

    /// A new buffer, of all zeros, outside of the pool.
    ///
    /// # Errors
    /// No memory is left.
    pub(super) fn raw_buffer(
        &self,
        what: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer> {
        self.check(what)?;
        if OUT_OF_MEMORY.next() {
            return Err(DeviceError::OutOfMemory { what: what.to_owned(), bytes: size });
        }
        guarded(&self.device, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size,
                usage,
                mapped_at_creation: false,
            })
        })
        .map_err(|error| match error {
            wgpu::Error::OutOfMemory { .. } => {
                DeviceError::OutOfMemory { what: what.to_owned(), bytes: size }
            }
            error => DeviceError::Failed { operation: what.to_owned(), message: chain(&error) },
        })
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // A pass must not outlive its encoder, and an encoder that is dropped unfinished is fine.
        self.recorder().pass = None;
    }
}

impl Recorder {
    /// The open compute pass. Its dispatches run in order: wgpu puts barriers where one reads what
    /// another wrote. Where kernels are timed, each gets a pass of its own.
    fn pass(&mut self, device: &wgpu::Device) -> &mut wgpu::ComputePass<'static> {
        let Self { pass, encoder, timer, .. } = self;
        if timer.is_some() {
            *pass = None;
        }
        pass.get_or_insert_with(|| {
            let encoder = encoder.get_or_insert_with(|| new_encoder(device));
            let timestamp_writes = timer.as_mut().map(Timer::next);
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            encoder.begin_compute_pass(&descriptor).forget_lifetime()
        })
    }

    /// The open encoder, outside of any pass.
    fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.encoder.get_or_insert_with(|| new_encoder(device))
    }
}

fn new_encoder(device: &wgpu::Device) -> wgpu::CommandEncoder {
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("espalier") })
}

/// Folds a number of workgroups into two dimensions of at most `most` each.
fn fold(workgroups: u64, most: u32) -> Option<[u32; 2]> {
    let y = workgroups.div_ceil(u64::from(most));
    let x = workgroups.div_ceil(y);
    let y = u32::try_from(y).ok().filter(|&y| y <= most)?;
    Some([u32::try_from(x).ok()?, y])
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn workgroups_fold_into_two_dimensions() {
        for workgroups in [1_u64, 2, 65_535, 65_536, 65_537, 131_071, 1 << 30] {
            let [x, y] = fold(workgroups, 65_535).expect("few enough");
            let all = u64::from(x) * u64::from(y);
            assert!(x <= 65_535 && y <= 65_535, "{workgroups}: {x} x {y}");
            assert!((workgroups..workgroups + u64::from(y)).contains(&all), "{workgroups}: {x} x {y}");
        }
        assert_eq!(fold(1 << 40, 65_535), None);
    }
}
