//! Reading a transcript: headers, lines of sessions, stage directions.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::pattern::Pattern;

/// A scenario: one file.
#[derive(Debug)]
pub struct Script {
    /// The file.
    pub path: PathBuf,
    /// `# what:`
    pub what: String,
    /// `# rfc:`, each `number#section[/must]` and whether it is marked as a deviation.
    pub rfc: Vec<(String, bool)>,
    /// `# server:`: settings of a server of its own; empty for the one that all share.
    pub server: Vec<String>,
    /// `# login: no`: sessions start at the greeting, which the script expects itself.
    pub login: bool,
    /// `# only: carillon`: makes no sense for another server.
    pub ours_only: bool,
    /// What happens.
    pub steps: Vec<Step>,
}

/// A step and the line where it stands.
#[derive(Debug)]
pub struct Step {
    /// Counted from 1.
    pub line: usize,
    /// What to do.
    pub action: Action,
}

/// What happens in a step.
#[derive(Debug)]
pub enum Action {
    /// `Cn:` a line, `Cn|` bytes without CRLF.
    Client { session: u32, pieces: Vec<Piece> },
    /// `Sn:`, `Sn~`, `Sn!`, `Sn?`
    Server { session: u32, kind: Expect, pattern: Pattern, text: String },
    /// `-- word arguments`
    Stage { words: Vec<String>, block: Option<Vec<u8>> },
}

/// A part of what a client sends.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Text in which `<v>` is replaced.
    Text(Vec<u8>),
    /// Bytes as they stand.
    Bytes(Vec<u8>),
    /// A literal; a synchronising one waits for the `+`.
    Literal { bytes: Vec<u8>, synchronising: bool },
}

/// How a server's line is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `S1:` in this order.
    InOrder,
    /// `S1~` anywhere before the next tagged line.
    AnyOrder,
    /// `S1!` must not come.
    Never,
    /// `S1?` may come.
    Maybe,
}

impl Script {
    /// Reads a file of tests/transcripts.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let mut script = Self {
            path: path.to_owned(),
            what: String::new(),
            rfc: Vec::new(),
            server: Vec::new(),
            login: true,
            ours_only: false,
            steps: Vec::new(),
        };
        let mut lines: VecDeque<(usize, &str)> = text.lines().enumerate().map(|(index, line)| (index + 1, line)).collect();
        while let Some((number, line)) = lines.pop_front() {
            script.read_line(number, line, &mut lines).map_err(|problem| format!("{}:{number}: {problem}", path.display()))?;
        }
        if script.what.is_empty() {
            return Err(format!("{}:1: no `# what:` header", path.display()));
        }
        Ok(script)
    }

    fn read_line(&mut self, number: usize, line: &str, lines: &mut VecDeque<(usize, &str)>) -> Result<(), String> {
        if line.trim().is_empty() {
            return Ok(());
        }
        if let Some(comment) = line.strip_prefix('#') {
            let late = ["what:", "rfc:", "server:", "login:", "only:"].iter().any(|key| comment.trim().starts_with(key));
            return match (self.steps.is_empty(), late) {
                (true, _) => self.read_header(comment.trim()),
                (false, true) => Err("a header after the first step".to_owned()),
                (false, false) => Ok(()),
            };
        }
        let action = if let Some(direction) = line.strip_prefix("-- ") {
            read_stage(direction, lines)?
        } else {
            read_session_line(line, lines)?
        };
        self.steps.push(Step { line: number, action });
        Ok(())
    }

    fn read_header(&mut self, header: &str) -> Result<(), String> {
        let Some((key, value)) = header.split_once(':') else { return Ok(()) };
        let value = value.trim();
        match key {
            "what" => {
                let gap = if self.what.is_empty() { "" } else { " " };
                self.what.push_str(gap);
                self.what.push_str(value);
            }
            "rfc" => {
                for reference in value.split(',') {
                    let mut words = reference.split_whitespace();
                    let name = words.next().ok_or("an empty `# rfc:`")?.to_owned();
                    let deviation = match words.next() {
                        None => false,
                        Some("deviation") => true,
                        Some(other) => return Err(format!("`{other}` behind {name}: only `deviation` may stand there")),
                    };
                    self.rfc.push((name, deviation));
                }
            }
            "server" => self.server.extend(value.split_whitespace().map(str::to_owned)),
            "login" if value == "no" => self.login = false,
            "only" if value == "carillon" => self.ours_only = true,
            _ => return Err(format!("unknown header `{key}: {value}`")),
        }
        Ok(())
    }

    /// Whether it takes the server down, so that it needs one of its own with a data directory.
    pub fn kills(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::Stage { words, .. } => {
                words.first().is_some_and(|word| ["crash", "restart", "terminate"].contains(&word.as_str()))
            }
            _ => false,
        })
    }

    /// Whether it needs simulated time.
    pub fn needs_clock(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.action, Action::Stage { words, .. } if words.first().is_some_and(|word| word == "clock")))
    }
}

fn read_stage(direction: &str, lines: &mut VecDeque<(usize, &str)>) -> Result<Action, String> {
    let mut words: Vec<String> = direction.split_whitespace().map(str::to_owned).collect();
    let mut block = None;
    if let Some(last) = words.last().cloned() {
        if let Some(end) = last.strip_prefix("<<") {
            block = Some(here_document(end, lines)?);
            words.pop();
        } else if let Some(name) = last.strip_prefix('@') {
            block = Some(mail(name)?);
            words.pop();
        }
    }
    Ok(Action::Stage { words, block })
}

fn read_session_line(line: &str, lines: &mut VecDeque<(usize, &str)>) -> Result<Action, String> {
    let wrong = || "a line starts with C1: C1| S1: S1~ S1! S1? -- or #".to_owned();
    let digits = line.get(1..).unwrap_or_default().bytes().take_while(u8::is_ascii_digit).count();
    let session: u32 = line.get(1..=digits).unwrap_or_default().parse().map_err(|_| wrong())?;
    let mark = line.as_bytes().get(1 + digits).copied().unwrap_or_default();
    let text = line.get(2 + digits..).unwrap_or_default();
    let text = text.strip_prefix(' ').unwrap_or(text);
    let mut pieces = read_pieces(text, lines)?;
    match (line.as_bytes().first(), mark) {
        (Some(b'C'), b':' | b'|') => {
            if mark == b':' {
                pieces.push(Piece::Bytes(b"\r\n".to_vec()));
            }
            Ok(Action::Client { session, pieces })
        }
        (Some(b'S'), mark) => {
            let kind = match mark {
                b':' => Expect::InOrder,
                b'~' => Expect::AnyOrder,
                b'!' => Expect::Never,
                b'?' => Expect::Maybe,
                _ => return Err(wrong()),
            };
            Ok(Action::Server { session, kind, pattern: Pattern::parse(&flat(pieces))?, text: text.to_owned() })
        }
        _ => Err(wrong()),
    }
}

/// A server's line as one run of bytes.
fn flat(pieces: Vec<Piece>) -> Vec<u8> {
    let mut line = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(bytes) | Piece::Bytes(bytes) => line.extend(bytes),
            Piece::Literal { bytes, .. } => {
                line.extend(format!("{{{}}}\r\n", bytes.len()).bytes());
                line.extend(bytes);
            }
        }
    }
    line
}

fn read_pieces(text: &str, lines: &mut VecDeque<(usize, &str)>) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((piece, after)) = special(rest, lines)? {
            pieces.push(Piece::Text(unescape(&plain)));
            plain.clear();
            pieces.push(piece);
            rest = after;
        } else {
            plain.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    pieces.push(Piece::Text(unescape(&plain)));
    Ok(pieces)
}

/// `{<<END}`, `{"text"}`, `{@file}`, `{repeat n x}`, each with a + before the brace for a literal that does not wait; `<repeat n x>`.
fn special<'a>(text: &'a str, lines: &mut VecDeque<(usize, &str)>) -> Result<Option<(Piece, &'a str)>, String> {
    if let Some(inner) = text.strip_prefix("<repeat ") {
        let (inner, after) = inner.split_once('>').ok_or("<repeat without >")?;
        return Ok(Some((Piece::Bytes(repeat(inner)?), after)));
    }
    let Some(inner) = text.strip_prefix('{') else { return Ok(None) };
    if let Some(quoted) = inner.strip_prefix('"') {
        let end = quoted.find("\"}").into_iter().chain(quoted.find("\"+}")).min().ok_or("{\" without \"}")?;
        let after = &quoted[end + 1..];
        let synchronising = !after.starts_with('+');
        let after = after.trim_start_matches('+').trim_start_matches('}');
        let bytes = unescape(&quoted[..end].replace("\\r", "\\x0d").replace("\\n", "\\x0a"));
        return Ok(Some((Piece::Literal { bytes, synchronising }, after)));
    }
    let is_special = ["<<", "@", "repeat "].iter().any(|start| inner.starts_with(start));
    if !is_special {
        return Ok(None);
    }
    let (inner, after) = inner.split_once('}').ok_or("{ without }")?;
    let synchronising = !inner.ends_with('+');
    let inner = inner.trim_end_matches('+');
    let bytes = if let Some(end) = inner.strip_prefix("<<") {
        here_document(end, lines)?
    } else if let Some(name) = inner.strip_prefix('@') {
        mail(name)?
    } else {
        repeat(inner.trim_start_matches("repeat "))?
    };
    Ok(Some((Piece::Literal { bytes, synchronising }, after)))
}

/// `70000 x`: the rest of the text so many times.
fn repeat(text: &str) -> Result<Vec<u8>, String> {
    let (count, what) = text.split_once(' ').ok_or("repeat needs a number and a text")?;
    let count: usize = count.parse().map_err(|_| format!("`{count}` is no number"))?;
    Ok(unescape(what).repeat(count))
}

/// The lines up to the end mark, each with CRLF.
fn here_document(end: &str, lines: &mut VecDeque<(usize, &str)>) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some((_, line)) = lines.pop_front() {
        if line == end {
            return Ok(body);
        }
        body.extend(unescape(line));
        body.extend(b"\r\n");
    }
    Err(format!("no line `{end}` ends the block"))
}

/// A message of tests/transcripts/mail, with CRLF.
fn mail(name: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/mail").join(name);
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut crlf = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for (index, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (index == 0 || bytes[index - 1] != b'\r') {
            crlf.push(b'\r');
        }
        crlf.push(*byte);
    }
    Ok(crlf)
}

/// `\xHH` is a byte; every other backslash stands for itself.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = rest.strip_prefix(b"\\x").and_then(|code| code.get(..2)).and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = &rest[4..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_escapes() {
        let mut lines = VecDeque::from([(2, "a: \\x00"), (3, ""), (4, "EOF")]);
        let pieces = read_pieces("x {<<EOF+} {\"a\\r\\n\"} <repeat 3 ab> \\x01", &mut lines).unwrap();
        let literals: Vec<(usize, bool)> = pieces
            .iter()
            .filter_map(|piece| {
                if let Piece::Literal { bytes, synchronising } = piece { Some((bytes.len(), *synchronising)) } else { None }
            })
            .collect();
        assert_eq!(literals, [(8, false), (3, true)]);
        assert_eq!(flat(pieces), b"x {8}\r\na: \0\r\n\r\n {3}\r\na\r\n ababab \x01");
        assert!(read_session_line("X1: a", &mut VecDeque::new()).is_err());
        assert!(read_session_line("S1: * LIST (", &mut VecDeque::new()).is_err());
    }
}
