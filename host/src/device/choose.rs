//! Which device to take.
