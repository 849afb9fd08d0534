//! A dynamic library that is no plugin.

#[unsafe(no_mangle)]
extern "C" fn an_unrelated_function() -> u32 {
    7
}
