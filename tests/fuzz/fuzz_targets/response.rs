//! Any bytes from a server are cut into responses and read, or are none; what was read is written and read again as the same.
#![no_main]

use carillon_protocol::decode::{ResponseFramer, decode};
use carillon_protocol::encode::encode;
use carillon_protocol::mailbox_name::NameFormat;
use carillon_protocol::response::{Response, Untagged};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (dotted, utf8, bytes) = input;
    let format = NameFormat { separator: if dotted { '.' } else { '/' }, utf8 };
    let mut framer = ResponseFramer::new(1 << 20);
    framer.push(bytes);
    while let Ok(Some(response)) = framer.next_response() {
        let Ok(read) = decode(&response, format) else { continue };
        let first = written(&read, format);
        // Writing puts blanks and ? where no character may be.
        let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
        if is_understood(&read, format) && response.trim_ascii_end().iter().all(is_printable) {
            let again = written_again(&first, format);
            assert!(first == again, "{}\n{}", first.escape_ascii(), again.escape_ascii());
        }
    }
});

fn written(response: &Response, format: NameFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(response, format, &mut bytes);
    bytes
}

fn written_again(bytes: &[u8], format: NameFormat) -> Vec<u8> {
    let read = decode(bytes, format).unwrap_or_else(|error| panic!("{} is not read: {error}", bytes.escape_ascii()));
    written(&read, format)
}

/// What is not understood is kept as a text, and written as one it may be understood; a foreign server's separator is read as it says and written as ours.
fn is_understood(response: &Response, format: NameFormat) -> bool {
    match response {
        Response::Untagged(Untagged::Other(_)) => false,
        Response::Untagged(Untagged::List(entry)) => entry.separator.is_none_or(|separator| separator == format.separator),
        _ => true,
    }
}
