//! Where the time goes: spans of work, as a table and as a file for Chrome's trace viewer (`chrome://tracing`,
//! Perfetto).
//!
//! Nothing is recorded until [`start`]; until then a span costs one load of an atomic.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

static RECORDING: AtomicBool = AtomicBool::new(false);
static EVENTS: Mutex<Option<Recording>> = Mutex::new(None);

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
}

/// What a span worked on, for rates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Work {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

/// Who measured how long a span lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The host's clock, from the call to the end of waiting for it.
    Host,
    /// The device's own timestamps, around its kernels alone.
    Device,
}

#[derive(Debug, Clone)]
struct Event {
    kind: Kind,
    name: String,
    /// Seconds since the recording began.
    start: f64,
    seconds: f64,
    clock: Clock,
    work: Work,
}

/// A piece of work that lasts until this is dropped.
#[must_use = "a span lasts until it is dropped"]
pub struct Span(Option<Open>);

struct Open {
    kind: Kind,
    name: String,
    began: Instant,
    work: Work,
    /// Seconds by the device's clock.
    measured: Option<f64>,
}

/// Begins to record.
pub fn start() {
    let recording = Recording { began: Instant::now(), events: Vec::new() };
    *EVENTS.lock().unwrap_or_else(PoisonError::into_inner) = Some(recording);
    RECORDING.store(true, Ordering::Relaxed);
}

/// A span of work from here on; `name` is only made where something records.
pub fn span(kind: Kind, work: Work, name: impl FnOnce() -> String) -> Span {
    let open = || Open { kind, name: name(), began: Instant::now(), work, measured: None };
    Span(RECORDING.load(Ordering::Relaxed).then(open))
}

/// A [stage](Kind::Stage) of the run from here on.
pub fn stage(name: impl FnOnce() -> String) -> Span {
    span(Kind::Stage, Work::default(), name)
}

/// `bytes` read from or written to [files](Kind::Disk) from here on.
pub fn disk(name: &'static str, bytes: usize) -> Span {
    span(Kind::Disk, Work { flops: 0.0, bytes: bytes as f64 }, || name.to_owned())
}

impl Span {
    /// The span lasted so many seconds by the [device's clock](Clock::Device), whatever the host's says.
    pub fn measured(&mut self, seconds: f64) {
        if let Some(open) = &mut self.0 {
            open.measured = Some(seconds);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(Open { kind, name, began, work, measured }) = self.0.take() else { return };
        let elapsed = began.elapsed().as_secs_f64();
        let (seconds, clock) = measured.map_or((elapsed, Clock::Host), |seconds| (seconds, Clock::Device));
        if let Some(recording) = EVENTS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let start = began.duration_since(recording.began).as_secs_f64();
            recording.events.push(Event { kind, name, start, seconds, clock, work });
        }
    }
}

/// What was recorded.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
}

/// All spans of one name and one clock, summed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total {
    /// What they are about.
    pub kind: Kind,
    /// Their name.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Their time.
    pub seconds: f64,
    /// Who measured it.
    pub clock: Clock,
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
    /// The time of kernels, transfers and files by name, the longest first.
    pub fn totals(&self) -> Vec<Total> {
        let mut totals: BTreeMap<(Kind, &str, Clock), Total> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.kind != Kind::Stage) {
            let key = (event.kind, event.name.as_str(), event.clock);
            let total = totals.entry(key).or_insert_with(|| Total {
                kind: event.kind,
                name: event.name.clone(),
                count: 0,
                seconds: 0.0,
                clock: event.clock,
                work: Work::default(),
            });
            total.count += 1;
            total.seconds += event.seconds;
            total.work.flops += event.work.flops;
            total.work.bytes += event.work.bytes;
        }
        let mut totals: Vec<_> = totals.into_values().collect();
        totals.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        totals
    }

    /// Writes the spans in Chrome's trace event format (complete events, microseconds).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        #[derive(Serialize)]
        struct Args {
            #[serde(flatten)]
            work: Work,
            clock: Clock,
        }
        #[derive(Serialize)]
        struct Complete<'a> {
            ph: &'static str,
            pid: u32,
            tid: u32,
            cat: Kind,
            name: &'a str,
            ts: f64,
            dur: f64,
            args: Args,
        }
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n")?;
        for (at, event) in self.events.iter().enumerate() {
            if at > 0 {
                file.write_all(b",\n")?;
            }
            let complete = Complete {
                ph: "X",
                pid: 1,
                // Stages above, what they consist of below.
                tid: event.kind as u32,
                cat: event.kind,
                name: &event.name,
                ts: event.start * 1e6,
                dur: event.seconds * 1e6,
                args: Args { work: event.work, clock: event.clock },
            };
            serde_json::to_writer(&mut file, &complete)?;
        }
        file.write_all(b"\n]}\n")?;
        file.flush()
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
        span(Kind::Kernel, Work::default(), || "gram".to_owned()).measured(5.0);
        let trace = finish();
        let mut totals = trace.totals();
        assert_eq!(totals.len(), 2, "stages contain the others and are not summed");
        let measured = totals.remove(0);
        assert_eq!((measured.name.as_str(), measured.seconds, measured.clock), ("gram", 5.0, Clock::Device));
        assert_eq!(totals[0].clock, Clock::Host);
        assert_eq!((totals[0].name.as_str(), totals[0].count), ("linear", 3));
        assert_eq!(totals[0].work, Work { flops: 6.0, bytes: 24.0 });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        trace.write(&path).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let events = written["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 7);
        assert_eq!((&events[6]["dur"], &events[6]["args"]["clock"]), (&5e6.into(), &"device".into()));
        assert!(events.iter().all(|event| event["ph"] == "X" && event["dur"].as_f64().unwrap() >= 0.0));
    }
}
