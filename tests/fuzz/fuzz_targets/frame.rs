//! Frames are the same however the bytes are cut.
#![no_main]

use carillon_fuzz::frames;
use carillon_protocol::frame::FrameLimits;
use libfuzzer_sys::fuzz_target;

const LIMITS: FrameLimits =
    FrameLimits { line_bytes: 200, literals_bytes: 100, literal_count: 5, message_bytes: 300, messages: 3, swallow_bytes: 1000 };

fuzz_target!(|input: (u8, &[u8])| {
    let (chunk, bytes) = input;
    // A client that doesn't wait for a refused literal is found out only if it is quicker than the answer: the pieces decide.
    let texts =
        |chunk| frames(LIMITS, bytes, chunk).into_iter().map(|(frame, messages)| (frame.text, messages)).collect::<Vec<_>>();
    let (whole, cut) = (texts(usize::MAX), texts(usize::from(chunk)));
    assert!(cut.starts_with(&whole), "{whole:?} {cut:?}");
});
