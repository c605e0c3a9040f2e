//! What the fuzz targets share: a peer that sends bytes in pieces.

use carillon_protocol::command::Frame;
use carillon_protocol::frame::{FrameLimits, FrameReader, Step};

/// All frames that come out of the bytes when they arrive in pieces of `chunk`, with their messages. Continuations are granted.
///
/// # Panics
/// If the reader makes steps without progress, or holds more than its limits allow.
pub fn frames(limits: FrameLimits, bytes: &[u8], chunk: usize) -> Vec<(Frame, Vec<Vec<u8>>)> {
    let mut reader = FrameReader::new(limits);
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(chunk.max(1)) {
        reader.push(piece);
        // A byte makes at most three steps: a literal is announced, begins and ends.
        for round in 0.. {
            assert!(round <= 3 * bytes.len() + 10, "steps without progress");
            match reader.step() {
                Step::NeedMore => break,
                Step::MessageStart { .. } => messages.push(Vec::new()),
                Step::MessageChunk(chunk) => messages.last_mut().expect("it has begun").extend_from_slice(&chunk),
                Step::Frame(frame) => {
                    assert!(frame.messages.iter().copied().eq(messages.iter().map(|message| message.len() as u64)));
                    frames.push((frame, std::mem::take(&mut messages)));
                }
                Step::Fatal(_) => return frames,
                Step::TooBig { .. } | Step::SyntaxError(_) => messages.clear(),
                Step::Continue { .. } | Step::MessageEnd | Step::Line(_) => {}
            }
        }
        // Twice for the growth of vectors.
        assert!(reader.held_bytes() <= 2 * (limits.line_bytes + limits.literals_bytes + piece.len()) + 4096, "holds too much");
    }
    frames
}
