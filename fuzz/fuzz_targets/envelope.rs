//! Whatever bytes a message is made of, parsing it answers and does not panic; only what is no JSON object costs the
//! connection; and a request's answer carries the request's id as it was written.
#![no_main]

use std::collections::HashMap;

use jackfield::codec::{Framing, Message, parse, put_answer};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

type Object<'a> = HashMap<String, &'a RawValue>;

fuzz_target!(|message: &[u8]| {
    let Ok(text) = std::str::from_utf8(message) else { return };
    let object = serde_json::from_str::<Object>(text);
    match parse(text) {
        Ok(Message::Request(request)) => {
            let sent = object.expect("a request is an object");
            let mut out = Vec::new();
            put_answer(&mut out, Framing::Line, &request.tid, &request.data.to_json());
            let line = out.strip_suffix(b"\n").expect("a line has an end");
            assert!(!line.contains(&b'\n'), "the answer broke its line");
            let answer: Object = serde_json::from_slice(line).expect("an answer is an object");
            assert_eq!(answer["tid"].get(), sent["tid"].get(), "the id changed");
        }
        Ok(Message::Reply(_) | Message::Ack(_)) => assert!(object.is_ok()),
        Err(malformed) => assert_eq!(malformed.fatal, object.is_err(), "{:?}", malformed.error),
    }
});
