//! Plugin libraries: where they are looked for, whether they are what they say, and what they offer.

mod device;
mod error;
mod find;
#[cfg(unix)]
pub mod isolate;
mod load;
mod method;
mod policy;
mod record;
mod safety;
mod scores;
mod selector;
mod trust;
mod twins;

pub use device::{DeviceTensors, Shared};
pub use error::PluginError;
pub use find::{available, find, hidden};
pub use load::{Library, describe, load, offering};
pub use method::{NoHost, PluginMethod};
pub use policy::{Isolate, Policy, set_policy};
pub use record::PluginRecord;
pub use selector::PluginSelector;
pub use trust::{TrustList, Trusted};
