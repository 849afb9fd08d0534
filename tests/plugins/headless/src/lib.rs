//! A library that claims the interface but lacks the header behind it.

#[unsafe(no_mangle)]
extern "C" fn espalier_plugin_interface() -> u32 {
    // 1.0
    1 << 16
}
