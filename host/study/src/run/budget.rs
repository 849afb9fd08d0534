//! A bound on the time of a run: cells are begun as long as they are expected to end within it.

use crate::{Cell, Estimate, Plan, Result, report::CellState, results::gather};
use espalier_device::Device;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The time that is left for cells, and how long each is expected to take.
#[derive(Debug)]
pub(super) struct Budget {
    end: Instant,
    /// Seconds by the hash of a cell, as they are estimated.
    estimates: BTreeMap<String, f64>,
    /// Seconds that cells took, and that they had been estimated to take.
    took: f64,
    estimated: f64,
}

impl Budget {
    /// A budget that began at `started`, with the pace of cells that are done already.
    pub(super) fn new(
        plan: &Plan,
        device: &Arc<dyn Device>,
        started: Instant,
        limit: Duration,
    ) -> Result<Self> {
        let estimates = plan.estimates(device)?;
        let hashes = plan.chosen().iter().map(|cell| cell.hash.clone());
        let estimates = hashes.zip(estimates.iter().map(Estimate::seconds)).collect();
        let mut budget = Self { end: started + limit, estimates, took: 0.0, estimated: 0.0 };
        for cell in gather(plan, "")?.cells.iter().filter(|cell| cell.state == CellState::Done) {
            if let Some(seconds) = cell.seconds {
                budget.learn(&cell.hash, seconds);
            }
        }
        Ok(budget)
    }

    /// Takes note of how long a cell took.
    pub(super) fn learn(&mut self, hash: &str, seconds: f64) {
        if let Some(estimate) = self.estimates.get(hash) {
            self.took += seconds;
            self.estimated += estimate;
        }
    }

    /// The time that a cell is expected to take: its estimate, at the pace of those that are done.
    pub(super) fn expected(&self, cell: &Cell) -> Duration {
        let pace = if self.estimated > 0.0 { self.took / self.estimated } else { 1.0 };
        let seconds = pace * self.estimates.get(&cell.hash).copied().unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Whether a cell that begins now is expected to end in time.
    pub(super) fn fits(&self, cell: &Cell) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        !left.is_zero() && self.expected(cell) <= left
    }
}
