//! A library of an interface that is yet to come.

#[unsafe(no_mangle)]
extern "C" fn espalier_plugin_interface() -> u32 {
    2 << 16
}
