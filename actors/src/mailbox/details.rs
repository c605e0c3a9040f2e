//! What is fixed about a message at its arrival, with its stable ids (RFC 8474 §5).

use std::sync::Arc;

use carillon_protocol::date::InternalDate;
use carillon_storage::BodyHash;

use super::event::Details;

/// The message ids of a header from which THREADID comes, as they stand there, without angle brackets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageIds<'a> {
    /// The first of References.
    pub references: Option<&'a str>,
    /// The first of In-Reply-To.
    pub in_reply_to: Option<&'a str>,
    /// Message-ID.
    pub message_id: Option<&'a str>,
}

/// The details of a message that arrives. `size` counts prefix and body; `save_date` is in seconds since 1970.
pub fn new(
    prefix: Option<Arc<[u8]>>,
    body: BodyHash,
    size: u64,
    internal_date: InternalDate,
    save_date: u64,
    ids: MessageIds<'_>,
) -> Details {
    let email_id = email_id(prefix.as_deref().unwrap_or_default(), body, internal_date);
    let thread_id = thread_id(ids, email_id);
    Details { prefix, body, size, internal_date, save_date, email_id, thread_id }
}

/// The same message, saved at another time: in another mailbox, or anew in this one (RFC 8514 §2).
pub fn saved_at(details: &Arc<Details>, save_date: u64) -> Arc<Details> {
    if details.save_date == save_date {
        return Arc::clone(details);
    }
    Arc::new(Details { save_date, ..Details::clone(details) })
}

/// The same message for another recipient, who gets `prefix` before the body; `details` has none. It stays in its thread.
pub fn with_prefix(details: &Details, prefix: Arc<[u8]>) -> Details {
    let email_id = email_id(&prefix, details.body, details.internal_date);
    let is_lone = details.thread_id == thread_id(MessageIds::default(), details.email_id);
    let thread_id = if is_lone { thread_id(MessageIds::default(), email_id) } else { details.thread_id };
    let size = details.size + prefix.len() as u64;
    Details { prefix: Some(prefix), size, email_id, thread_id, ..*details }
}

/// EMAILID: the same for every copy of a message, another for another INTERNALDATE.
fn email_id(prefix: &[u8], body: BodyHash, internal_date: InternalDate) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    // The prefix goes last: all before it has a fixed length.
    hasher.update(b"EMAILID\0").update(&body.0);
    hasher.update(&internal_date.unix_seconds.to_le_bytes()).update(&internal_date.offset_minutes.to_le_bytes());
    truncate(hasher.update(prefix).finalize())
}

/// THREADID: of the id that is nearest to the thread's root; of a message without ids its own.
fn thread_id(ids: MessageIds<'_>, email_id: [u8; 16]) -> [u8; 16] {
    let id = [ids.references, ids.in_reply_to, ids.message_id].into_iter().flatten().find(|id| !id.is_empty());
    let mut hasher = blake3::Hasher::new();
    match id {
        Some(id) => hasher.update(b"THREADID\0id\0").update(id.as_bytes()),
        None => hasher.update(b"THREADID\0email\0").update(&email_id),
    };
    truncate(hasher.finalize())
}

fn truncate(hash: blake3::Hash) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: InternalDate = InternalDate { unix_seconds: 1_000_000_000, offset_minutes: 60 };

    fn details(prefix: &str, body: &str, date: InternalDate, ids: MessageIds<'_>) -> Details {
        let prefix = (!prefix.is_empty()).then(|| prefix.as_bytes().into());
        new(prefix, BodyHash::of(body.as_bytes()), 1, date, 5, ids)
    }

    #[test]
    fn the_email_id_is_of_prefix_body_and_date() {
        let none = MessageIds::default();
        let one = details("X: 1\r\n", "body", DATE, none);
        assert_eq!(one.email_id, details("X: 1\r\n", "body", DATE, none).email_id);
        assert_eq!(one.email_id, saved_at(&Arc::new(one.clone()), 99).email_id);
        let later = InternalDate { unix_seconds: DATE.unix_seconds + 1, ..DATE };
        let others =
            [details("", "body", DATE, none), details("X: 1\r\n", "b", DATE, none), details("X: 1\r\n", "body", later, none)];
        assert!(others.iter().all(|other| other.email_id != one.email_id));
    }

    #[test]
    fn the_thread_id_is_of_the_nearest_id_to_the_root() {
        let with = |references, in_reply_to, message_id| MessageIds { references, in_reply_to, message_id };
        let root = details("", "a", DATE, with(None, None, Some("1@a")));
        let reply = details("", "b", DATE, with(None, Some("1@a"), Some("2@a")));
        let second = details("", "c", DATE, with(Some("1@a"), Some("2@a"), Some("3@a")));
        assert!(root.thread_id == reply.thread_id && reply.thread_id == second.thread_id);
        let (lone, other) = (details("", "d", DATE, with(None, Some(""), None)), details("", "e", DATE, MessageIds::default()));
        assert!(lone.thread_id != other.thread_id && lone.thread_id != root.thread_id);
        assert_eq!(lone.thread_id, details("", "d", DATE, MessageIds::default()).thread_id);
    }

    #[test]
    fn another_prefix_makes_another_message_of_the_same_thread() {
        let ids = MessageIds { message_id: Some("1@a"), ..MessageIds::default() };
        for ids in [ids, MessageIds::default()] {
            let made = with_prefix(&details("", "a", DATE, ids), b"X: 1\r\n".as_slice().into());
            assert_eq!(made, Details { size: 7, ..details("X: 1\r\n", "a", DATE, ids) });
        }
    }
}
