//! What commands write to standard output, and how they ask for a password.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::exit::{Exit, Failure};
use crate::users::is_invisible;
use crate::users::password::MAX_BYTES;

/// Writes a line to standard output. A reader that went away (`| head`) is no error: the answer then is `false`, and the command may stop.
///
/// # Errors
/// Any other failure of standard output.
pub fn line(text: &str) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot write to standard output: {error}"))),
    }
}

/// Writes a line to standard error, where somebody may read it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "carillon: {}", plain(text));
}

/// Text for a terminal: control characters become visible, so that no name or header can write escape sequences; so do characters that turn the reading direction.
pub fn plain(text: &str) -> String {
    let visible = |character: char| if character.is_control() || is_invisible(character) { '\u{fffd}' } else { character };
    text.chars().map(visible).collect()
}

/// A value as one line of JSON that a terminal shows as it is.
pub fn json(value: &serde_json::Value) -> String {
    visible_json(&value.to_string())
}

/// Lines of JSON with what serde leaves unescaped in strings: DEL, the control characters of Unicode, and those that turn the reading direction.
pub fn visible_json(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && (character.is_control() || is_invisible(character)) {
            visible.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            visible.push(character);
        }
    }
    visible
}

/// A password: from the first line of standard input, or asked twice on the terminal. Never from the command line, which others can read.
///
/// # Errors
/// No terminal and no `--password-stdin`; two answers that differ; an empty or too long one.
pub fn new_password(from_stdin: bool) -> Result<Vec<u8>, Failure> {
    if from_stdin {
        return read_line(&mut io::stdin().lock());
    }
    if !io::stdin().is_terminal() {
        let text = "standard input is no terminal: give the password on it and say --password-stdin";
        return Err(Failure::new(Exit::Usage, text));
    }
    let first = prompt("Password: ")?;
    if first == prompt("Again: ")? { Ok(first) } else { Err(Failure::new(Exit::Data, "the two passwords differ")) }
}

fn read_line(input: &mut dyn io::BufRead) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(2);
    let read = input.take(limit).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::new(Exit::Failed, format!("cannot read the password: {error}")))?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    let is_sound = !line.is_empty() && line.len() <= MAX_BYTES;
    if is_sound { Ok(line) } else { Err(Failure::new(Exit::Data, format!("a password has 1 to {MAX_BYTES} bytes"))) }
}

/// Asks on the terminal with echo off. Echo comes back whatever happens, short of a signal.
fn prompt(question: &str) -> Result<Vec<u8>, Failure> {
    let broken = |error: rustix::io::Errno| Failure::new(Exit::Failed, format!("the terminal does not answer: {error}"));
    let input = io::stdin();
    let before = tcgetattr(&input).map_err(broken)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    let mut output = io::stderr().lock();
    let _ = output.write_all(question.as_bytes()).and_then(|()| output.flush());
    tcsetattr(&input, OptionalActions::Flush, &silent).map_err(broken)?;
    let line = read_line(&mut input.lock());
    tcsetattr(&input, OptionalActions::Now, &before).map_err(broken)?;
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_the_password() {
        assert_eq!(read_line(&mut b"se cret\r\nnext".as_slice()).unwrap(), b"se cret");
        assert!(read_line(&mut b"\n".as_slice()).is_err());
        assert!(read_line(&mut vec![b'x'; 5000].as_slice()).is_err());
    }

    #[test]
    fn escapes_are_made_visible() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        let value = serde_json::json!({ "a": "\u{1b}\n\u{7f}\u{9b}\u{202e}ä" });
        assert_eq!(json(&value), r#"{"a":"\u001b\n\u007f\u009b\u202eä"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&value)).unwrap(), value);
    }
}
