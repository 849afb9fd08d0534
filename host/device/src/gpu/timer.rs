//! How long kernels run, by the GPU's own clock: a pair of timestamps around every one of them.

use crate::Result;

/// How many commands are recorded before they are handed over.
pub(super) const COMMANDS_PER_SUBMIT: u32 = 64;

/// Every command of a submission may be a kernel.
const QUERIES: u32 = 2 * COMMANDS_PER_SUBMIT;
const BYTES: u64 = QUERIES as u64 * wgpu::QUERY_SIZE as u64;

/// The timestamps of the recorded kernels, and the time of those that are done.
///
/// Kernels that do not need one another may run at the same time; each is then counted in full.
#[derive(Debug)]
pub(super) struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    seconds_per_tick: f64,
    /// Queries of the commands that are recorded.
    used: u32,
    /// The time of the kernels that are done.
    seconds: Option<f64>,
}

impl Timer {
    /// Makes the queries; the device must have `TIMESTAMP_QUERY`. `buffer` makes a buffer of so many bytes.
    ///
    /// # Errors
    /// No memory is left.
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        buffer: impl Fn(u64, wgpu::BufferUsages) -> Result<wgpu::Buffer>,
    ) -> Result<Self> {
        use wgpu::BufferUsages as Usage;
        Ok(Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: QUERIES,
            }),
            resolved: buffer(BYTES, Usage::QUERY_RESOLVE | Usage::COPY_SRC)?,
            readable: buffer(BYTES, Usage::MAP_READ | Usage::COPY_DST)?,
            seconds_per_tick: f64::from(queue.get_timestamp_period()) * 1e-9,
            used: 0,
            seconds: None,
        })
    }

    /// Where the pass of the next kernel writes when it began and ended.
    pub(super) fn next(&mut self) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = self.used;
        self.used += 2;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Records, after the kernels, that their timestamps are to be read.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.used > 0 {
            encoder.resolve_query_set(&self.queries, 0..self.used, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, Some(self.bytes()));
        }
    }

    /// Adds up the times of a submission's kernels. `map` waits for them and shows the first bytes of a buffer.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn collect(
        &mut self,
        map: impl FnOnce(&wgpu::Buffer, u64, &mut dyn FnMut(&[u8])) -> Result<()>,
    ) -> Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        let bytes = self.bytes();
        self.used = 0;
        let mut ticks = 0;
        map(&self.readable, bytes, &mut |bytes: &[u8]| {
            let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(bytes);
            // A clock that was set back between two stamps makes no negative time.
            ticks = stamps.chunks_exact(2).map(|pair| pair[1].saturating_sub(pair[0])).sum();
        })?;
        *self.seconds.get_or_insert(0.0) += ticks as f64 * self.seconds_per_tick;
        Ok(())
    }

    /// The time of the kernels that were done since this was last asked.
    pub(super) fn take(&mut self) -> Option<f64> {
        self.seconds.take()
    }

    fn bytes(&self) -> u64 {
        u64::from(self.used) * u64::from(wgpu::QUERY_SIZE)
    }
}
