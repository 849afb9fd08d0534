//! Wanda.
