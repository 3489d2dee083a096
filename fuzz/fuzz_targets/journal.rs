//! See `fuzz_properties::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_properties::journal(data));
