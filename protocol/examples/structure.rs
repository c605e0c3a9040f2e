//! Prints what carillon makes of messages, one line of JSON each, so that another implementation can be compared with it
//! (tests/corpus/compare.py). Takes files as arguments, or their names on standard input, one a line.

use std::io::{self, BufRead, Write};

use carillon_protocol::mime::{Summary, summarise};

#[derive(serde::Serialize)]
struct Line<'a> {
    file: &'a str,
    octets: usize,
    summary: Summary,
}

fn print(file: &str, out: &mut impl Write) -> io::Result<()> {
    let message = std::fs::read(file)?;
    serde_json::to_writer(&mut *out, &Line { file, octets: message.len(), summary: summarise(&message) })?;
    out.write_all(b"\n")
}

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let files: Vec<String> = std::env::args().skip(1).collect();
    for file in &files {
        print(file, &mut out)?;
    }
    if files.is_empty() {
        for file in io::stdin().lock().lines() {
            print(&file?, &mut out)?;
        }
    }
    out.flush()
}
