//! See `fuzz_properties::artifact`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_properties::artifact(data));
