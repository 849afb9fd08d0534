//! Helpers shared by Espalier's end-to-end tests.
