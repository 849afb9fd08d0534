//! The child's side: opens the library, and does what the host asks of it.

use super::{
    channel::Channel,
    forward::{Forward, Link, gone},
    memory::Mapped,
    message::{ChildAnswer, FromChild, ToChild},
    selection::ForwardWindows,
};
use crate::{Library, load::load_here};
use espalier_base::cause::causes;
use espalier_sdk::{
    Code, DeviceKind, Error, Options, Result, SelectionRequest,
    abi::{LoadedMethod, LoadedSelector},
    service::DeviceService,
};
use rustix::process::{Signal, getpid, getppid, kill_process};
use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Runs the child of a host that is at the other end of standard input, and shares the memory that is standard output.
///
/// # Errors
/// They are nothing of the kind, or their places cannot be taken.
pub fn main(library: &Path, sha256: &str) -> io::Result<()> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    // Plugins that read from standard input find nothing there.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let memory = Mapped::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
    // What they print must not end up in the run's result.
    rustix::stdio::dup2_stdout(io::stderr())?;
    end_with_the_host()?;
    let link = Arc::new(Mutex::new(Link { channel: Channel::new(stream), memory: Some(memory) }));
    let send = |message: &FromChild| {
        let link = link.lock().unwrap_or_else(PoisonError::into_inner);
        link.channel.send(message).unwrap_or_else(|broken| gone(broken));
    };
    let library = match open(library, sha256) {
        Ok((library, outcome)) => {
            send(&FromChild::Done(Ok(outcome)));
            library
        }
        Err(error) => {
            send(&FromChild::Done(Err(error)));
            return Ok(());
        }
    };
    let mut method: Option<LoadedMethod> = None;
    let mut selector: Option<LoadedSelector> = None;
    loop {
        let received = link.lock().unwrap_or_else(PoisonError::into_inner).channel.receive();
        let done = match received {
            Ok(ToChild::Method { name, options }) => {
                make(&options, &mut method, |options| library.method_here(&name, options))
            }
            Ok(ToChild::Selector { name, options }) => {
                make(&options, &mut selector, |options| library.selector_here(&name, options))
            }
            Ok(ToChild::Select(request)) => {
                let device = ("no device".to_owned(), DeviceKind::Cpu);
                select(selector.as_ref(), &request, &Forward { link: Arc::clone(&link), device })
            }
            Ok(ToChild::Call { call, device }) => {
                answer(method.as_ref(), &call, Forward { link: Arc::clone(&link), device })
            }
            // The host is done.
            _ => break,
        };
        send(&FromChild::Done(done));
    }
    if let Some(Err(error)) = method.map(LoadedMethod::close) {
        tracing::warn!("{}: the method failed at its end: {error}", library.path().display());
    }
    Ok(())
}

/// A host that was killed cannot end its child, and a plugin in an endless loop does not look: a thread does.
fn end_with_the_host() -> io::Result<()> {
    let host = getppid();
    let watch = move || {
        while getppid() == host {
            thread::sleep(Duration::from_millis(500));
        }
        // Nothing can be done about a process that cannot end itself.
        let _ = kill_process(getpid(), Signal::KILL);
    };
    thread::Builder::new().name("watch".to_owned()).spawn(watch).map(|_| ())
}

fn open(path: &Path, sha256: &str) -> Result<(Library, ChildAnswer)> {
    let library = load_here(path).map_err(|error| Error::invalid(causes(&error).join(": ")))?;
    if library.sha256() != sha256 {
        let path = path.display();
        return Err(Error::invalid(format!("{path} was replaced while it was opened; try again")));
    }
    let info = serde_json::to_string(library.info()).map_err(|error| Error::invalid(error.to_string()))?;
    let outcome = ChildAnswer::Library { interface: library.interface(), info };
    Ok((library, outcome))
}

fn make<T>(
    options: &str,
    slot: &mut Option<T>,
    made: impl FnOnce(&Options) -> Result<T>,
) -> Result<ChildAnswer> {
    let options = serde_json::from_str(options).map_err(|error| Error::invalid(error.to_string()))?;
    *slot = Some(made(&options)?);
    Ok(ChildAnswer::Made)
}

fn select(
    selector: Option<&LoadedSelector>,
    request: &SelectionRequest,
    forward: &Forward,
) -> Result<ChildAnswer> {
    let Some(selector) = selector else { return Err(Error::new(Code::Other, "there is no selector")) };
    selector.select(forward, forward, request, &mut ForwardWindows(forward))?;
    Ok(ChildAnswer::Selected)
}

fn answer(method: Option<&LoadedMethod>, call: &str, forward: Forward) -> Result<ChildAnswer> {
    let Some(method) = method else { return Err(Error::new(Code::Other, "there is no method")) };
    let json = |error: serde_json::Error| Error::invalid(error.to_string());
    let call = serde_json::from_str(call).map_err(json)?;
    let forward = Arc::new(forward);
    let answer = method.call(&call, &*forward, Arc::clone(&forward) as Arc<dyn DeviceService>)?;
    Ok(ChildAnswer::Answer(serde_json::to_string(&answer).map_err(json)?))
}
