//! The file for Chrome's trace viewer.

use super::{Clock, Kind, TraceEvent, Work};
use serde::Serialize;
use std::io::{self, Write};

/// A track for each kind of work of the run itself, in the order of [`Kind`]; those of the background follow.
const TRACKS: [&str; 6] = ["stages", "operations", "transfers", "files", "waits", "methods"];

#[derive(Serialize)]
struct Complete<'a> {
    ph: &'static str,
    pid: u32,
    tid: usize,
    cat: Kind,
    name: &'a str,
    ts: f64,
    dur: f64,
    args: EventArgs,
}

#[derive(Serialize)]
struct EventArgs {
    #[serde(flatten)]
    work: Work,
    clock: Clock,
}

#[derive(Serialize)]
struct TrackName<'a> {
    ph: &'static str,
    pid: u32,
    tid: usize,
    name: &'static str,
    args: NamedTrack<'a>,
}

#[derive(Serialize)]
struct NamedTrack<'a> {
    name: &'a str,
}

/// Writes complete events, in microseconds, and the names of their tracks.
pub(super) fn write(events: &[TraceEvent], mut file: &mut dyn Write) -> io::Result<()> {
    let mut tracks = TRACKS.to_vec();
    for track in events.iter().filter_map(|event| event.track) {
        if !tracks.contains(&track) {
            tracks.push(track);
        }
    }
    file.write_all(b"{\"displayTimeUnit\": \"ms\", \"traceEvents\": [")?;
    for (tid, name) in tracks.iter().enumerate() {
        file.write_all(if tid == 0 { b"\n" } else { b",\n" })?;
        let named = TrackName { ph: "M", pid: 1, tid, name: "thread_name", args: NamedTrack { name } };
        serde_json::to_writer(&mut file, &named)?;
    }
    for event in events {
        file.write_all(b",\n")?;
        let track = event.track.and_then(|name| tracks.iter().position(|track| *track == name));
        let (seconds, clock) = event.lasted();
        let complete = Complete {
            ph: "X",
            pid: 1,
            tid: track.unwrap_or(event.kind as usize),
            cat: event.kind,
            name: &event.name,
            ts: event.start * 1e6,
            dur: seconds * 1e6,
            args: EventArgs { work: event.work, clock },
        };
        serde_json::to_writer(&mut file, &complete)?;
    }
    file.write_all(b"\n]}\n")
}
