//! A library that ends whoever asks it for its interface.

#[unsafe(no_mangle)]
extern "C" fn espalier_plugin_interface() -> u32 {
    std::process::abort()
}
