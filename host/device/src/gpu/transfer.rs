//! Bytes to the device and back, in pieces, so that no second copy of a large tensor is ever held.

use super::{context::Context, faults::chain, panels::Panels};
use crate::{DeviceError, Result};
use std::{
    ops::Range,
    sync::{
        PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

/// The most bytes that travel in one piece.
const PIECE: usize = 16 << 20;

/// How many bytes may be on their way to the device before it is waited for.
const IN_FLIGHT: usize = 64 << 20;

/// How long a callback may take after the wait for it, before it is waited for again.
const CALLBACK: Duration = Duration::from_millis(10);

/// The values of guard words, in turn: a NaN, so that reading one shows, and a large number, because a kernel
/// that works in place turns a NaN into the same NaN.
const GUARDS: [u32; 2] = [0x7fc0_dead, 0x5e5e_c0de];

fn guard_words(guards: Range<u64>) -> impl Iterator<Item = u32> {
    (guards.start / 4..guards.end / 4).map(|word| GUARDS[word as usize % 2])
}

impl Context {
    /// Fills panels that were just allocated.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn write(&self, panels: &Panels, bytes: &[u8]) -> Result<()> {
        // Writes run before everything that is recorded, so recorded work must not need the old content.
        if (0..panels.count()).any(|panel| panels.pooled(panel).in_recorded_work()) {
            self.flush("upload")?;
        }
        let mut rest = bytes;
        let mut in_flight = 0;
        for panel in 0..panels.count() {
            let (here, after) = rest.split_at(panels.panel_bytes(panel));
            rest = after;
            for (piece, offset) in here.chunks(PIECE).zip((0_u64..).step_by(PIECE)) {
                let buffer = panels.pooled(panel).buffer();
                let whole = piece.len() / 4 * 4;
                if whole > 0 {
                    self.queue.write_buffer(buffer, offset, &piece[..whole]);
                }
                if whole < piece.len() {
                    // Writes are whole words; a panel's buffer has room for the last one.
                    let mut word = [0; 4];
                    word[..piece.len() - whole].copy_from_slice(&piece[whole..]);
                    self.queue.write_buffer(buffer, offset + whole as u64, &word);
                }
                in_flight += piece.len();
                if in_flight >= IN_FLIGHT {
                    let index = self.flush("upload")?;
                    self.wait("upload", index)?;
                    in_flight = 0;
                }
            }
        }
        Ok(())
    }

    /// Fills the guard words of panels that were just allocated.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn write_guards(&self, panels: &Panels) -> Result<()> {
        if (0..panels.count()).any(|panel| panels.pooled(panel).in_recorded_work()) {
            self.flush("guards")?;
        }
        for panel in 0..panels.count() {
            let guards = panels.guards(panel);
            let words: Vec<_> = guard_words(guards.clone()).collect();
            self.queue.write_buffer(
                panels.pooled(panel).buffer(),
                guards.start,
                bytemuck::cast_slice(&words),
            );
        }
        Ok(())
    }

    /// Whether guard words are as they were written.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn guards_intact(&self, panels: &Panels) -> Result<bool> {
        for panel in 0..panels.count() {
            let guards = panels.guards(panel);
            let length = (guards.end - guards.start) as usize;
            let mut bytes = Vec::with_capacity(length);
            self.fetch_piece(panels.pooled(panel).buffer(), guards.start, length, &mut bytes)?;
            if !bytemuck::pod_collect_to_vec::<u8, u32>(&bytes).into_iter().eq(guard_words(guards)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bytes of panels, after everything recorded before.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn fetch(&self, panels: &Panels) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity((0..panels.count()).map(|panel| panels.panel_bytes(panel)).sum());
        for panel in 0..panels.count() {
            let size = panels.panel_bytes(panel);
            for offset in (0..size).step_by(PIECE) {
                let length = PIECE.min(size - offset);
                self.fetch_piece(panels.pooled(panel).buffer(), offset as u64, length, &mut bytes)?;
            }
        }
        Ok(bytes)
    }

    fn fetch_piece(
        &self,
        source: &wgpu::Buffer,
        offset: u64,
        length: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = length.next_multiple_of(4) as u64;
        let buffer = match staging.take() {
            Some(buffer) if buffer.size() >= copied => buffer,
            _ => self.raw_buffer(
                "reading back",
                copied.next_power_of_two().max(1 << 16),
                wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            )?,
        };
        self.encode("read", |encoder| encoder.copy_buffer_to_buffer(source, offset, &buffer, 0, copied))?;
        let index = self.flush("read")?;
        self.map("read", &buffer, copied, &index, |view| bytes.extend_from_slice(&view[..length]))?;
        *staging = Some(buffer);
        Ok(())
    }
    /// Waits for a submission and shows the first `length` bytes of a mappable buffer.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn map(
        &self,
        operation: &str,
        buffer: &wgpu::Buffer,
        length: u64,
        index: &wgpu::SubmissionIndex,
        see: impl FnOnce(&[u8]),
    ) -> Result<()> {
        let (sender, receiver) = mpsc::channel();
        // The receiver outlives the wait below; without it the result is not needed.
        buffer.map_async(wgpu::MapMode::Read, ..length, move |mapped| drop(sender.send(mapped)));
        let failed = |message| DeviceError::Failed { operation: operation.to_owned(), message };
        let mapped = loop {
            self.wait(operation, index.clone())?;
            // Where another thread hands over work or waits, it may be the one that calls back, somewhat later.
            match receiver.recv_timeout(CALLBACK) {
                Err(RecvTimeoutError::Timeout) => {}
                received => break received,
            }
        };
        mapped.map_err(|error| failed(chain(&error)))?.map_err(|error| failed(chain(&error)))?;
        let view = buffer.get_mapped_range(..length).map_err(|error| failed(chain(&error)))?;
        see(&view);
        drop(view);
        buffer.unmap();
        Ok(())
    }
}
