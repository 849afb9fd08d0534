//! Where the time goes: spans of work, as a table and as a file for Chrome's trace viewer (`chrome://tracing`,
//! Perfetto).
//!
//! Nothing is recorded until [`start`]; until then a span costs one load of an atomic.

mod chrome;

use espalier_ops::Work;
use serde::Serialize;
use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt, io,
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
    events: Vec<TraceEvent>,
}

/// The kind of a span, which is its category in the table.
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
    /// A plugin's method, which contains the operations that it asks for.
    Method,
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
struct TraceEvent {
    track: Option<&'static str>,
    kind: Kind,
    name: String,
    /// Seconds since the recording began.
    start: f64,
    /// By the host's clock.
    seconds: f64,
    /// By the device's clock, if it was asked.
    measured: Option<f64>,
    work: Work,
}

impl TraceEvent {
    /// How long it lasted by the clock that tells it best, in seconds, and which one that is.
    fn lasted(&self) -> (f64, Clock) {
        self.measured.map_or((self.seconds, Clock::Host), |seconds| (seconds, Clock::Device))
    }
}

/// A piece of work that lasts until this is dropped.
#[must_use = "a span lasts until it is dropped"]
pub struct Span(Option<Open>);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Span").finish_non_exhaustive()
    }
}

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

/// [Waiting](Kind::Wait) from here on.
pub fn wait(name: &'static str) -> Span {
    span(Kind::Wait, Work::default(), || name.to_owned())
}

/// Puts the spans of this thread on a track of their own: what it does, the run does not wait for.
pub fn background(track: &'static str) {
    TRACK.set(Some(track));
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
        let seconds = began.elapsed().as_secs_f64();
        if let Some(recording) = EVENTS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let start = began.duration_since(recording.began).as_secs_f64();
            recording.events.push(TraceEvent {
                track: TRACK.get(),
                kind,
                name,
                start,
                seconds,
                measured,
                work,
            });
        }
    }
}

/// The recorded spans.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<TraceEvent>,
    seconds: f64,
}

/// All spans of one name and one clock, summed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total {
    /// The background's track that they are on; none where the run itself did this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<&'static str>,
    /// Their kind.
    pub kind: Kind,
    /// Their name.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Their time.
    pub seconds: f64,
    /// Who measured it.
    pub clock: Clock,
    /// Their cost.
    pub work: Work,
}

/// Ends the recording.
pub fn finish() -> Trace {
    RECORDING.store(false, Ordering::Relaxed);
    let recording = EVENTS.lock().unwrap_or_else(PoisonError::into_inner).take();
    recording.map_or_else(Trace::default, |Recording { began, events }| Trace {
        events,
        seconds: began.elapsed().as_secs_f64(),
    })
}

impl Trace {
    /// How long was recorded.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The time of kernels, transfers, files and waits by name, the longest first; the run's own before what went on
    /// in the background, which took none of the run's. Of a method that is what its operations leave: its own work and
    /// the border to its plugin, both ways; it counts as one call, and each of its operations as another.
    pub fn totals(&self) -> Vec<Total> {
        let mut totals: BTreeMap<(Option<&str>, Kind, &str, Clock), Total> = BTreeMap::new();
        for (at, event) in self.events.iter().enumerate().filter(|(_, event)| event.kind != Kind::Stage) {
            let (lasted, clock) = event.lasted();
            let key = (event.track, event.kind, event.name.as_str(), clock);
            let total = totals.entry(key).or_insert_with(|| Total {
                track: event.track,
                kind: event.kind,
                name: event.name.clone(),
                count: 0,
                seconds: 0.0,
                clock,
                work: Work::default(),
            });
            let (operations, seconds) = if event.kind == Kind::Method { self.within(at) } else { (0, 0.0) };
            total.count += 1 + operations;
            total.seconds += lasted - seconds;
            total.work.flops += event.work.flops;
            total.work.bytes += event.work.bytes;
        }
        let mut totals: Vec<_> = totals.into_values().collect();
        totals.sort_by(|a, b| a.track.cmp(&b.track).then(b.seconds.total_cmp(&a.seconds)));
        totals
    }

    /// How many operations and transfers a span contains, and their time by the host's clock, which is the span's.
    fn within(&self, at: usize) -> (usize, f64) {
        let event = &self.events[at];
        // The spans of a track are in the order of their ends.
        let before = self.events[..at].iter().rev().filter(|inner| inner.track == event.track);
        let inside = before.take_while(|inner| inner.start >= event.start);
        let inside = inside.filter(|inner| matches!(inner.kind, Kind::Kernel | Kind::Transfer));
        inside.fold((0, 0.0), |(count, seconds), inner| (count + 1, seconds + inner.seconds))
    }

    /// Writes the spans in Chrome's trace event format (complete events, microseconds).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        chrome::write(&self.events, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(track: Option<&'static str>, kind: Kind, name: &str, start: f64, end: f64) -> TraceEvent {
        let work = Work { flops: 2.0, bytes: 8.0 };
        TraceEvent { track, kind, name: name.to_owned(), start, seconds: end - start, measured: None, work }
    }

    /// A layer that a method prunes with two operations, while another one is written.
    fn trace() -> Trace {
        let events = vec![
            event(None, Kind::Kernel, "select", 0.0, 0.5),
            event(None, Kind::Kernel, "select", 1.5, 2.0),
            event(Some("writer"), Kind::Disk, "write shard", 0.0, 3.0),
            event(None, Kind::Transfer, "read", 2.0, 4.0),
            event(None, Kind::Method, "method", 1.0, 4.5),
            event(None, Kind::Wait, "wait", 5.0, 6.0),
            event(None, Kind::Stage, "layer", 0.0, 7.0),
        ];
        Trace { events, seconds: 8.0 }
    }

    #[test]
    fn totals_are_of_the_run_and_then_of_the_background() {
        let totals = trace().totals();
        let seen: Vec<_> =
            totals.iter().map(|total| (total.name.as_str(), total.count, total.seconds)).collect();
        // Stages contain the others and are not summed; of the method is left what is its own.
        let run = [("read", 1, 2.0), ("select", 2, 1.0), ("wait", 1, 1.0), ("method", 3, 1.0)];
        assert_eq!(seen, [&run[..], &[("write shard", 1, 3.0)]].concat());
        assert_eq!((totals[0].track, totals[4].track), (None, Some("writer")));
        assert_eq!(totals[1].work, Work { flops: 4.0, bytes: 16.0 });
    }

    #[test]
    fn what_the_device_measured_is_told_and_methods_are_left_what_the_host_measured() {
        let mut trace = trace();
        trace.events[1].measured = Some(0.125);
        let totals = trace.totals();
        let of = |name, clock| {
            let found = totals.iter().find(|total| total.name == name && total.clock == clock);
            found.map(|total| (total.count, total.seconds))
        };
        assert_eq!(of("select", Clock::Host), Some((1, 0.5)));
        assert_eq!(of("select", Clock::Device), Some((1, 0.125)));
        assert_eq!(of("method", Clock::Host), Some((3, 1.0)));
    }

    #[test]
    fn the_file_has_a_track_for_each_kind_and_for_the_background() {
        let mut trace = trace();
        trace.events[0].measured = Some(0.25);
        let mut written = Vec::new();
        trace.write(&mut written).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let (names, spans): (Vec<_>, Vec<_>) =
            written["traceEvents"].as_array().unwrap().iter().partition(|event| event["ph"] == "M");
        assert_eq!(spans.len(), 7);
        assert!(spans.iter().all(|event| event["ph"] == "X" && event["dur"].as_f64().unwrap() > 0.0));
        assert_eq!((&spans[0]["dur"], &spans[0]["args"]["clock"]), (&25e4.into(), &"device".into()));
        assert_eq!((&spans[1]["dur"], &spans[1]["args"]["clock"]), (&5e5.into(), &"host".into()));
        for (track, count) in [("stages", 1), ("operations", 2), ("waits", 1), ("methods", 1), ("writer", 1)]
        {
            let name = names.iter().find(|event| event["args"]["name"] == track).unwrap();
            assert_eq!(spans.iter().filter(|event| event["tid"] == name["tid"]).count(), count, "{track}");
        }
    }

    // One test, because the recording is the process's; other tests' spans may be in it.
    #[test]
    fn spans_are_recorded_from_start_to_finish() {
        drop(span(Kind::Kernel, Work::default(), || unreachable!("nothing records")));
        start();
        drop(wait("this test"));
        let write = || {
            background("a test's");
            drop(disk("this test", 5));
        };
        std::thread::spawn(write).join().unwrap();
        let trace = finish();
        let ours: Vec<_> = trace.events.iter().filter(|event| event.name == "this test").collect();
        let seen: Vec<_> = ours.iter().map(|event| (event.kind, event.track, event.work.bytes)).collect();
        assert_eq!(seen, [(Kind::Wait, None, 0.0), (Kind::Disk, Some("a test's"), 5.0)]);
        assert!(trace.seconds() > 0.0 && ours.iter().all(|event| event.seconds >= 0.0));
    }
}
