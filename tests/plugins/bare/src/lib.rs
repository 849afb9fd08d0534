//! A dynamic library that is not a plugin.

#[unsafe(no_mangle)]
extern "C" fn an_unrelated_function() -> u32 {
    7
}
