//! Panics at the border.
//!
//! A library has a standard library of its own, and so a panic hook of its own that would write to standard
//! error on the host's behalf. Inside the border the hook only notes what was said and where.

use super::{AbiResult, error::ErrorAbi};
use crate::{Code, Error, Result};
use abi_stable::std_types::RResult;
use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs one side's code for the other: a panic becomes an error.
pub(super) fn guard<T>(call: impl FnOnce() -> Result<T>) -> AbiResult<T> {
    install_hook();
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    DEPTH.with(|depth| depth.set(depth.get() - 1));
    match result {
        Ok(result) => result.map_err(ErrorAbi::from).into(),
        Err(payload) => RResult::RErr(Error::new(Code::Panic, said(&*payload)).into()),
    }
}

/// The message of a panic. The hook has noted it, with its place, where the panic began on this thread; where another thread's
/// was passed on, as thread pools do, only its message came along.
fn said(payload: &(dyn Any + Send)) -> String {
    let noted = SAID.with(RefCell::take);
    if !noted.is_empty() {
        return noted;
    }
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text.or_else(|| payload.downcast_ref::<&str>().copied());
    format!("panicked: {} (on another thread)", message.unwrap_or("without a message"))
}

/// Makes panics inside the border quiet; those outside go on as before.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.with(Cell::get) == 0 {
                return before(info);
            }
            let message = info.payload_as_str().unwrap_or("without a message");
            let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
            SAID.with(|said| {
                *said.borrow_mut() = format!("panicked: {message}{}", place.unwrap_or_default())
            });
        }));
    });
}
