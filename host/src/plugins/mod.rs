//! Plugin libraries: where they are looked for, whether they are what they say, and what they offer.

mod device;
mod error;
mod find;
mod load;
mod record;

pub use device::{DeviceTensors, Shared};
pub use error::PluginError;
pub use find::{available, find};
pub use load::{Library, load};
pub use record::PluginRecord;
