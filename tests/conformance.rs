//! Every MUST of tests/conformance/ has a transcript, every `# rfc:` header names a MUST, and docs/conformance.md says so.
//! `UPDATE=1 cargo test --test conformance` writes the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

#[path = "support/mod.rs"]
mod support;
mod transcript;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use transcript::script::Script;

/// A row of a table: a MUST in our words.
struct Must {
    text: String,
    /// `~`: not shown by a transcript; the text says by what, or why not.
    elsewhere: bool,
    transcripts: Vec<(String, bool)>,
}

/// An RFC: its title and its rows, in the order of the file.
struct Table {
    title: String,
    keys: Vec<String>,
    musts: BTreeMap<String, Must>,
}

#[test]
fn every_must_has_its_transcript() {
    let mut problems = Vec::new();
    let mut tables = read_tables(&mut problems);
    for path in transcripts() {
        let script = match Script::read(&path) {
            Ok(script) => script,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let name = path.strip_prefix("tests/transcripts").unwrap().display().to_string();
        if script.rfc.is_empty() {
            problems.push(format!("{}: no `# rfc:` header", path.display()));
        }
        let text = fs::read_to_string(&path).unwrap();
        for (reference, deviation) in &script.rfc {
            if let Some(code) = reference.strip_prefix("5530#3/").filter(|code| !text.contains(&format!("[{code}]"))) {
                problems.push(format!("{}: [{code}] is claimed and does not come", path.display()));
            }
            let must = reference
                .split_once('#')
                .and_then(|(number, key)| tables.get_mut(number).and_then(|table| table.musts.get_mut(key)));
            match must {
                Some(must) => must.transcripts.push((name.clone(), *deviation)),
                None => problems.push(format!("{}: `{reference}` is not in tests/conformance", path.display())),
            }
        }
    }
    for (number, table) in &tables {
        let missing = table.musts.iter().filter(|(_, must)| must.transcripts.is_empty() && !must.elsewhere);
        problems
            .extend(missing.map(|(key, must)| format!("tests/conformance/{number}.txt: {key} has no transcript: {}", must.text)));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    compare(&page(&tables));
}

/// Codes that no client can bring about: what shows them stands in tests/conformance/5530.txt.
const CODES_ELSEWHERE: [&str; 1] = ["SERVERBUG"];

#[test]
fn every_code_that_is_sent_has_a_transcript() {
    let played: String = transcripts().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut missing = Vec::new();
    for path in files(Path::new("actors/src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("ResponseCode::").map(|(at, mark)| text.split_at(at + mark.len())) {
            let variant: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            let code = match variant.as_str() {
                "ReadOnly" => "READ-ONLY".to_owned(),
                "ReadWrite" => "READ-WRITE".to_owned(),
                "UnknownCte" => "UNKNOWN-CTE".to_owned(),
                other => other.to_ascii_uppercase(),
            };
            let shown = [format!("[{code}]"), format!("[{code} ")].iter().any(|form| played.contains(form));
            if !shown && !CODES_ELSEWHERE.contains(&code.as_str()) && code != "OTHER" {
                missing.push(format!("{}: [{code}]", path.display()));
            }
        }
    }
    missing.dedup();
    assert!(missing.is_empty(), "response codes without a transcript:\n{}", missing.join("\n"));
}

fn compare(page: &str) {
    let path = Path::new("docs/conformance.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, page).unwrap();
    }
    let current = fs::read_to_string(path).unwrap_or_default();
    assert!(current == page, "docs/conformance.md is stale: UPDATE=1 cargo test --test conformance");
}

fn read_tables(problems: &mut Vec<String>) -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    for path in files(Path::new("tests/conformance"), "txt") {
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().enumerate();
        let title = lines.next().map(|(_, line)| line.to_owned()).unwrap_or_default();
        let mut table = Table { title, keys: Vec::new(), musts: BTreeMap::new() };
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let elsewhere = line.starts_with('~');
            let row = line.trim_start_matches('~').split_once(' ').filter(|(key, _)| is_key(key));
            let Some((key, must)) = row else {
                problems.push(format!("{}:{}: a row is `section/key text`", path.display(), index + 1));
                continue;
            };
            let must = Must { text: must.trim().to_owned(), elsewhere, transcripts: Vec::new() };
            if table.musts.insert(key.to_owned(), must).is_some() {
                problems.push(format!("{}:{}: {key} stands there twice", path.display(), index + 1));
            }
            table.keys.push(key.to_owned());
        }
        tables.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), table);
    }
    tables
}

fn is_key(key: &str) -> bool {
    let Some((section, name)) = key.split_once('/') else { return false };
    section.split('.').all(|part| part.parse::<u32>().is_ok())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
}

fn page(tables: &BTreeMap<String, Table>) -> String {
    let mut page = String::from(
        "# Conformance\n\nGenerated from the `# rfc:` headers of tests/transcripts/ and the tables of tests/conformance/ by `UPDATE=1 cargo test --test conformance`: what each\n\
         standard demands of a server, in our words, and the transcripts that show it. *Deviation*: we do otherwise on purpose; docs/adr/ says why.\n",
    );
    let (mut rows, mut shown) = (0, 0);
    for table in tables.values() {
        rows += table.keys.len();
        shown += table.musts.values().filter(|must| !must.transcripts.is_empty()).count();
    }
    let standards = tables.len();
    writeln!(page, "\n{standards} standards, {rows} demands, {shown} of them shown by transcripts; the others say where.")
        .unwrap();
    for (number, table) in tables {
        writeln!(page, "\n## RFC {number}: {}\n\n| section | demand | shown by |\n|---|---|---|", table.title).unwrap();
        for key in &table.keys {
            let must = &table.musts[key];
            let section = key.split('/').next().unwrap_or_default();
            let mut by: Vec<String> = must
                .transcripts
                .iter()
                .map(|(name, deviation)| {
                    let mark = if *deviation { " *deviation*" } else { "" };
                    format!("[{}](../tests/transcripts/{name}){mark}", name.trim_end_matches(".imap"))
                })
                .collect();
            by.sort();
            by.dedup();
            let shown = if by.is_empty() { "–".to_owned() } else { by.join(", ") };
            writeln!(page, "| {section} | {} | {shown} |", must.text).unwrap();
        }
    }
    page
}

fn transcripts() -> Vec<PathBuf> {
    files(Path::new("tests/transcripts"), "imap")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
