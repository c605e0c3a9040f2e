//! A delivery by LMTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use super::wire::PATIENCE;

/// Delivers one message to one recipient (RFC 2033).
pub fn deliver(address: std::net::SocketAddr, recipient: &str, body: &[u8]) -> Result<(), String> {
    let text = |error: std::io::Error| format!("LMTP: {error}");
    let mut stream = TcpStream::connect(address).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let mut reader = BufReader::new(stream.try_clone().map_err(text)?);
    let mut reply = |wanted: char| -> Result<(), String> {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).map_err(text)?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return if line.starts_with(wanted) { Ok(()) } else { Err(format!("LMTP: {line}")) };
        }
    };
    reply('2')?;
    for (command, wanted) in
        [("LHLO test", '2'), ("MAIL FROM:<sender@example.org>", '2'), (&format!("RCPT TO:<{recipient}>"), '2'), ("DATA", '3')]
    {
        stream.write_all(format!("{command}\r\n").as_bytes()).map_err(text)?;
        reply(wanted)?;
    }
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let stuffing: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
        stream.write_all(&[stuffing, line].concat()).map_err(text)?;
    }
    stream.write_all(b".\r\n").map_err(text)?;
    reply('2')?;
    stream.write_all(b"QUIT\r\n").map_err(text)
}
