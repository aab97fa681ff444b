//! Whatever bytes a message is made of, parsing it answers and does not panic.
#![no_main]

use jackfield::codec::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let _ = Envelope::parse(message);
});
