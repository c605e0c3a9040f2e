//! What we ask of our own server alone: that every response is one of the grammar.

use carillon_protocol::decode::decode;
use carillon_protocol::mailbox_name::NameFormat;
use carillon_protocol::response::{Response, ResponseCode, Untagged};

/// Whether a response is one of the grammar, read by the decoder of carillon-protocol; and pure ASCII outside its literals.
pub fn well_formed(response: &[u8]) -> Result<(), String> {
    let decoded = decode(response, NameFormat::default()).map_err(|error| error.to_string())?;
    let code = match &decoded {
        Response::Untagged(Untagged::Other(_)) => return Err("not understood by the decoder".to_owned()),
        Response::Untagged(Untagged::Status(status)) | Response::Tagged(_, status) => status.code.clone(),
        _ => None,
    };
    if let Some(ResponseCode::Other(code)) = code {
        return Err(format!("unknown response code {code}"));
    }
    let mut rest = response;
    while let Some(end) = rest.windows(3).position(|three| three == b"}\r\n") {
        let line = &rest[..end];
        let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let length: usize =
            std::str::from_utf8(&line[end - digits..]).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        ascii(line)?;
        rest = rest.get(end + 3 + length..).unwrap_or_default();
    }
    ascii(rest)
}

fn ascii(line: &[u8]) -> Result<(), String> {
    match line.iter().find(|byte| !(0x20..0x7f).contains(*byte)) {
        Some(byte) => Err(format!("byte {byte:#04x} outside a literal")),
        None => Ok(()),
    }
}
