//! The stable ABI under the plain traits. Nothing here needs to be known to write a plugin.
//!
//! A plugin library exports two symbols: the C function [`INTERFACE_SYMBOL`], which answers the
//! interface version and can be asked of any library safely, and abi_stable's library header, which
//! leads to [`Library`] once layouts have been compared. Both directions of every call go through
//! `guard`, which turns panics into errors before they reach an `extern "C"` frame, where they would
//! abort.

#![allow(non_local_definitions, reason = "`#[sabi_trait]` writes impls inside function bodies")]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "what abi_stable's derives generate has no docs and must be `pub`"
)]

mod device;
mod documents;
mod error;
mod guard;
mod host;
mod json;
mod kernel;
mod library;
mod method;
mod model;
mod selector;
mod types;
mod windows;

pub use abi_stable::library::LibHeader;
pub use library::{Library, LibraryRef, LoadedLibrary, OpenError, Plugin, header, open};
pub use method::LoadedMethod;
pub use selector::LoadedSelector;

use abi_stable::std_types::RResult;
use error::ErrorAbi;
use guard::guard;

/// The C symbol that tells a library's interface version, as [`interface_word`] packs it:
/// `extern "C" fn() -> u32`.
pub const INTERFACE_SYMBOL: &str = "espalier_plugin_interface";

/// An interface version in one word: major in the upper half, minor in the lower.
pub const fn interface_word((major, minor): (u16, u16)) -> u32 {
    ((major as u32) << 16) | minor as u32
}

/// The interface version in a word.
pub const fn interface_version(word: u32) -> (u16, u16) {
    ((word >> 16) as u16, word as u16)
}

type AbiResult<T> = RResult<T, ErrorAbi>;

/// The answer to a function that the other side does not have, because it is older.
fn missing<T>(name: &str) -> AbiResult<T> {
    abi_stable::std_types::RErr(crate::message::unsupported(name).into())
}

/// A result from over the border.
fn plain<T>(result: AbiResult<T>) -> crate::Result<T> {
    result.into_result().map_err(crate::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_exported_under_the_name_that_abi_stable_looks_up() {
        assert_eq!(abi_stable::library::ROOT_MODULE_LOADER_NAME, "_1as_0lib_1header_0root_bmodule_bloader");
    }

    #[test]
    fn versions_survive_packing() {
        assert_eq!(interface_version(interface_word((1, 7))), (1, 7));
    }

    #[test]
    fn panics_of_other_threads_keep_their_message() {
        let elsewhere = || {
            let panicked = std::thread::scope(|scope| scope.spawn(|| panic!("lost {}", 7)).join());
            panicked.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
        };
        let result: crate::Result<()> = guard(elsewhere).into_result().map_err(Into::into);
        assert_eq!(result.unwrap_err().message, "panicked: lost 7 (on another thread)");
    }

    #[test]
    fn panics_become_errors() {
        let result: crate::Result<()> = guard(|| panic!("lost {}", "it")).into_result().map_err(Into::into);
        let error = result.unwrap_err();
        assert_eq!(error.code, crate::Code::Panic);
        assert!(error.message.contains("lost it") && error.message.contains("mod.rs:"), "{error}");
    }
}
