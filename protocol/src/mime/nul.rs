//! NUL in a message that came as a literal8 (RFC 3516 §4.4): parts that hold it are re-encoded as base64 at arrival, so that every item of FETCH
//! speaks of the same bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header::fields;
use super::structure::summarise;
use super::{BodyPart, PartContent};

/// Octets of a part that make one line of base64 (RFC 2045 §6.8: at most 76 characters).
const LINE_OCTETS: usize = 57;

/// The message with base64 in place of every leaf whose body holds a NUL; `None` where a NUL stands elsewhere, in a header or between parts.
pub fn without_nul(message: &[u8]) -> Option<Vec<u8>> {
    let structure = summarise(message).structure;
    let mut leaves = Vec::new();
    collect_leaves(&structure, &mut leaves);
    leaves.sort_by_key(|part| part.header_start);
    let mut rewritten = Vec::with_capacity(message.len() + message.len() / 2);
    let mut done = 0;
    for part in leaves {
        let (header_start, body_start, body_end) = (index(part.header_start)?, index(part.body_start)?, index(part.body_end)?);
        let body = message.get(body_start..body_end)?;
        if !body.contains(&0) {
            continue;
        }
        rewritten.extend_from_slice(message.get(done..header_start)?);
        recode_header(&mut rewritten, message.get(header_start..body_start)?);
        for line in body.chunks(LINE_OCTETS) {
            rewritten.extend_from_slice(STANDARD.encode(line).as_bytes());
            rewritten.extend_from_slice(b"\r\n");
        }
        done = body_end;
    }
    rewritten.extend_from_slice(message.get(done..)?);
    (!rewritten.contains(&0)).then_some(rewritten)
}

fn index(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok()
}

/// The header with another Content-Transfer-Encoding; the field is the only thing that changes.
fn recode_header(rewritten: &mut Vec<u8>, header: &[u8]) {
    for field in fields(header).filter(|field| !field.is("Content-Transfer-Encoding")) {
        rewritten.extend_from_slice(field.raw);
    }
    rewritten.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
}

/// All leaves, without recursion: the parser bounds how many there are.
fn collect_leaves<'a>(structure: &'a BodyPart, leaves: &mut Vec<&'a BodyPart>) {
    let mut open = vec![structure];
    while let Some(part) = open.pop() {
        match &part.content {
            PartContent::Single => leaves.push(part),
            PartContent::Multipart(parts) => open.extend(parts),
            PartContent::Message(_, inner) => open.push(inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::decode_part;

    #[test]
    fn a_binary_part_becomes_base64_and_the_rest_stays() {
        let message = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n\
            --b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\x01\x02\x00\r\n--b--\r\n";
        let recoded = without_nul(message).unwrap();
        assert!(!recoded.contains(&0));
        let structure = summarise(&recoded).structure;
        let PartContent::Multipart(parts) = &structure.content else { panic!("no multipart") };
        assert_eq!((parts[0].encoding.as_str(), parts[1].encoding.to_ascii_lowercase().as_str()), ("7BIT", "base64"));
        let body = &recoded[parts[1].body_start as usize..parts[1].body_end as usize];
        assert_eq!(decode_part(body, "base64").unwrap().as_ref(), b"\x00\x01\x02\x00");
        assert!(recoded.windows(5).any(|window| window == b"hello"));
    }

    #[test]
    fn a_message_that_is_one_part_is_recoded_whole() {
        let recoded = without_nul(b"Subject: x\r\n\r\na\x00b").unwrap();
        assert!(recoded.starts_with(b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\nYQBi"));
    }

    #[test]
    fn a_nul_in_a_header_cannot_be_encoded() {
        assert_eq!(without_nul(b"Subject: \x00\r\n\r\nx"), None);
    }
}
