//! Where the time goes: spans of work, as a table and as a file for Chrome's trace viewer (`chrome://tracing`,
//! Perfetto).
//!
//! Nothing is recorded until [`start`]; until then a span costs one load of an atomic.

mod chrome;

use serde::Serialize;
use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

static RECORDING: AtomicBool = AtomicBool::new(false);
static EVENTS: Mutex<Option<Recording>> = Mutex::new(None);

thread_local! {
    /// The track of this thread's spans; none for the run itself.
    static TRACK: Cell<Option<&'static str>> = const { Cell::new(None) };
}

struct Recording {
    began: Instant,
    events: Vec<Event>,
}

/// What a span is about; the categories of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A part of the run, which contains the others: a block, a pass over it, a layer.
    Stage,
    /// An operation of the device.
    Kernel,
    /// Bytes on their way to the device or back.
    Transfer,
    /// Reading or writing files.
    Disk,
    /// Waiting for a thread in the background.
    Wait,
}

/// What a span worked on, for rates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Work {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

#[derive(Debug, Clone)]
struct Event {
    track: Option<&'static str>,
    kind: Kind,
    name: String,
    /// Seconds since the recording began.
    start: f64,
    seconds: f64,
    work: Work,
}

/// A piece of work that lasts until this is dropped.
#[must_use = "a span lasts until it is dropped"]
pub struct Span(Option<(Kind, String, Instant, Work)>);

/// Begins to record.
pub fn start() {
    let recording = Recording { began: Instant::now(), events: Vec::new() };
    *EVENTS.lock().unwrap_or_else(PoisonError::into_inner) = Some(recording);
    RECORDING.store(true, Ordering::Relaxed);
}

/// A span of work from here on; `name` is only made where something records.
pub fn span(kind: Kind, work: Work, name: impl FnOnce() -> String) -> Span {
    Span(RECORDING.load(Ordering::Relaxed).then(|| (kind, name(), Instant::now(), work)))
}

/// A [stage](Kind::Stage) of the run from here on.
pub fn stage(name: impl FnOnce() -> String) -> Span {
    span(Kind::Stage, Work::default(), name)
}

/// `bytes` read from or written to [files](Kind::Disk) from here on.
pub fn disk(name: &'static str, bytes: usize) -> Span {
    span(Kind::Disk, Work { flops: 0.0, bytes: bytes as f64 }, || name.to_owned())
}

/// [Waiting](Kind::Wait) from here on.
pub fn wait(name: &'static str) -> Span {
    span(Kind::Wait, Work::default(), || name.to_owned())
}

/// Puts the spans of this thread on a track of their own: what it does, the run does not wait for.
pub fn background(track: &'static str) {
    TRACK.set(Some(track));
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some((kind, name, began, work)) = self.0.take() else { return };
        let seconds = began.elapsed().as_secs_f64();
        if let Some(recording) = EVENTS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let start = began.duration_since(recording.began).as_secs_f64();
            recording.events.push(Event { track: TRACK.get(), kind, name, start, seconds, work });
        }
    }
}

/// What was recorded.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
}

/// All spans of one name, summed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total {
    /// The background's track that they are on; none where the run itself did this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<&'static str>,
    /// What they are about.
    pub kind: Kind,
    /// Their name.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Their time.
    pub seconds: f64,
    /// What they worked on.
    pub work: Work,
}

/// Ends the recording.
pub fn finish() -> Trace {
    RECORDING.store(false, Ordering::Relaxed);
    let recording = EVENTS.lock().unwrap_or_else(PoisonError::into_inner).take();
    Trace { events: recording.map(|recording| recording.events).unwrap_or_default() }
}

impl Trace {
    /// The time of kernels, transfers, files and waits by name, the longest first; the run's own before what went on
    /// in the background, which took none of the run's.
    pub fn totals(&self) -> Vec<Total> {
        let mut totals: BTreeMap<(Option<&str>, Kind, &str), Total> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.kind != Kind::Stage) {
            let total = totals.entry((event.track, event.kind, &event.name)).or_insert_with(|| Total {
                track: event.track,
                kind: event.kind,
                name: event.name.clone(),
                count: 0,
                seconds: 0.0,
                work: Work::default(),
            });
            total.count += 1;
            total.seconds += event.seconds;
            total.work.flops += event.work.flops;
            total.work.bytes += event.work.bytes;
        }
        let mut totals: Vec<_> = totals.into_values().collect();
        totals.sort_by(|a, b| a.track.cmp(&b.track).then(b.seconds.total_cmp(&a.seconds)));
        totals
    }

    /// Writes the spans in Chrome's trace event format (complete events, microseconds).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        chrome::write(&self.events, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, because the recording is the process's.
    #[test]
    fn spans_are_recorded_summed_and_written() {
        drop(span(Kind::Kernel, Work::default(), || unreachable!("nothing records")));
        start();
        for _ in 0..3 {
            let _stage = span(Kind::Stage, Work::default(), || "block 0".to_owned());
            drop(span(Kind::Kernel, Work { flops: 2.0, bytes: 8.0 }, || "linear".to_owned()));
        }
        let write = || {
            background("writer");
            drop(disk("write shard", 5));
        };
        std::thread::spawn(write).join().unwrap();
        drop(wait("for the writer"));
        let trace = finish();
        let totals = trace.totals();
        assert_eq!(totals.len(), 3, "stages contain the others and are not summed");
        let linear = totals.iter().find(|total| total.name == "linear").unwrap();
        assert_eq!((linear.count, linear.track), (3, None));
        assert_eq!(linear.work, Work { flops: 6.0, bytes: 24.0 });
        assert_eq!((totals[2].name.as_str(), totals[2].track), ("write shard", Some("writer")));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        trace.write(&path).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let events = written["traceEvents"].as_array().unwrap();
        let spans: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!(spans.len(), 8);
        assert!(spans.iter().all(|event| event["dur"].as_f64().unwrap() >= 0.0));
        let named = |name: &str| {
            let is_name = |event: &&serde_json::Value| event["args"]["name"] == name;
            events.iter().find(is_name).unwrap()["tid"].clone()
        };
        let on = |track| spans.iter().filter(|event| event["tid"] == named(track)).count();
        assert_eq!((on("stages"), on("operations"), on("waits"), on("writer")), (3, 3, 1, 1));
    }
}
