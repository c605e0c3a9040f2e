//! THREAD (RFC 5256 §4 and §5).

use super::string::number;
use crate::response::Thread;

enum Step<'a> {
    Open(&'a Thread),
    Close,
}

/// Writes `THREAD (...)(...)`, without recursion.
///
/// A node without message stands only where a thread begins and has at least two replies (RFC 5256 §4); elsewhere its replies
/// take its place.
pub(super) fn threads(out: &mut Vec<u8>, roots: &[Thread]) {
    out.extend_from_slice(b"THREAD");
    let is_there = |root: &&Thread| root.message.is_some() || !replies(root).is_empty();
    let mut steps: Vec<Step<'_>> = roots.iter().filter(is_there).rev().map(Step::Open).collect();
    if !steps.is_empty() {
        out.push(b' ');
    }
    while let Some(step) = steps.pop() {
        match step {
            Step::Close => out.push(b')'),
            Step::Open(thread) => chain(out, thread, &mut steps),
        }
    }
}

/// Writes one list up to where it forks; what follows is left to `steps`.
fn chain<'a>(out: &mut Vec<u8>, thread: &'a Thread, steps: &mut Vec<Step<'a>>) {
    out.push(b'(');
    let mut node = thread;
    let mut is_first = true;
    loop {
        if let Some(message) = node.message {
            if !is_first {
                out.push(b' ');
            }
            number(out, message.into());
            is_first = false;
        }
        let replies = replies(node);
        match replies.as_slice() {
            [] => return out.push(b')'),
            [only] => node = only,
            several => {
                if !is_first {
                    out.push(b' ');
                }
                steps.push(Step::Close);
                steps.extend(several.iter().rev().map(|reply| Step::Open(reply)));
                return;
            }
        }
    }
}

/// The replies that are messages, those of nodes without message in their place.
fn replies(thread: &Thread) -> Vec<&Thread> {
    let mut found = Vec::with_capacity(thread.replies.len());
    let mut pending: Vec<&Thread> = thread.replies.iter().rev().collect();
    while let Some(node) = pending.pop() {
        if node.message.is_some() {
            found.push(node);
        } else {
            pending.extend(node.replies.iter().rev());
        }
    }
    found
}
