//! The rules of the house that no compiler checks (docs/style.md). Tests in source files are not looked at: what stands below `#[cfg(test)]`, and files
//! that hold only tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may be longer than the rest, and why.
const LONG: &[(&str, &str)] = &[];

/// More lines than this are a file that does too much.
const LINES: usize = 600;

/// A source file: its path from the root, and its lines with comments and tests left out.
struct Source {
    path: String,
    all: Vec<String>,
    code: Vec<String>,
}

#[test]
fn files_are_short() {
    let too_long = sources(&["src", "protocol/src", "storage/src", "actors/src", "tests"])
        .into_iter()
        .filter(|source| source.all.len() > LINES && !LONG.iter().any(|(path, _)| *path == source.path))
        .map(|source| format!("{}: {} lines", source.path, source.all.len()));
    report("files of more than 600 lines (split them, or say in tests/tidy.rs why not)", too_long.collect());
}

#[test]
fn wire_text_is_written_in_protocol_alone() {
    let marks = ["\"* ", "b\"* ", "\"+ ", "b\"+ ", "\" OK ", "\" NO ", "\" BAD ", "\"* BYE", "\"* OK"];
    let found = find(&["src", "actors/src"], |source, line| {
        let format = source.path.contains("/lmtp") || source.path.contains("admin");
        !format && marks.iter().any(|mark| line.contains(mark))
    });
    report("wire text outside protocol/", found);
}

#[test]
fn one_file_knows_modified_utf_7() {
    let found = find(&["src", "protocol/src", "storage/src", "actors/src"], |source, line| {
        let line = line.to_ascii_lowercase();
        source.path != "protocol/src/mailbox_name.rs"
            && (line.contains("imap_mutf7") || line.contains("utf7") || line.contains("utf_7"))
    });
    report("modified UTF-7 outside protocol/src/mailbox_name.rs", found);
}

#[test]
fn sequence_numbers_stay_at_the_edge() {
    // Whatever else holds a sequence number holds it for longer than a command, and then it is wrong.
    let allowed = [
        "view", "reader", "resolve", "changes", "fetch", "search", "sort", "thread", "store", "copy", "message", "reply",
        "expunge", "testing",
    ];
    let found = find(&["src", "storage/src", "actors/src"], |source, line| {
        let at_the_edge = source.path.starts_with("actors/src/session/") && allowed.iter().any(|name| source.path.contains(name));
        !at_the_edge && line.contains("SeqNum")
    });
    report("SeqNum outside protocol/, the view and the replies to messages' commands", found);
}

#[test]
fn actix_is_named_where_actors_are() {
    let found = find(&["src", "protocol/src", "storage/src", "actors/src"], |source, line| {
        let allowed = source.path.ends_with("/actor.rs")
            || source.path.contains("/actor/")
            || ["/hold.rs", "/doorbell.rs", "/placement.rs", "/testing.rs"].iter().any(|end| source.path.ends_with(end))
            || ["src/cli/serve.rs", "src/serve.rs", "src/main.rs", "actors/src/server.rs"].contains(&source.path.as_str());
        !allowed && (line.contains("actix::") || line.contains("actix_rt::") || line.contains("use actix"))
    });
    report("actix outside the actors' own files", found);
}

#[test]
fn protocol_and_storage_know_nobody() {
    let mut found = Vec::new();
    for manifest in ["protocol/Cargo.toml", "storage/Cargo.toml"] {
        let text = fs::read_to_string(manifest).unwrap();
        found.extend(
            text.lines()
                .filter(|line| line.contains("path =") || line.starts_with("carillon-"))
                .map(|line| format!("{manifest}: {line}")),
        );
    }
    report("dependencies of protocol/ and storage/ on other crates of this project", found);
}

#[test]
fn no_clock_but_clock() {
    let found = find(&["src", "protocol/src", "storage/src", "actors/src"], |source, line| {
        source.path != "actors/src/clock.rs" && line.contains("SystemTime::now")
    });
    report("wall time that the simulation doesn't own", found);
}

#[test]
fn panics_unwind() {
    let mut found = Vec::new();
    for manifest in ["Cargo.toml", "protocol/Cargo.toml", "storage/Cargo.toml", "actors/Cargo.toml"] {
        let text = fs::read_to_string(manifest).unwrap();
        let aborts = text.lines().filter(|line| line.replace(' ', "").contains("panic=\"abort\""));
        found.extend(aborts.map(|line| format!("{manifest}: {line}")));
    }
    report("profiles in which a panic ends the whole server", found);
}

#[test]
fn rfc_references_are_well_formed() {
    let mut found = Vec::new();
    for source in sources(&["src", "protocol/src", "storage/src", "actors/src"]) {
        for (index, line) in source.all.iter().enumerate() {
            found.extend(wrong_references(line).map(|what| format!("{}:{}: {what}", source.path, index + 1)));
        }
    }
    report("references that nobody can look up (`RFC 9051 §6.3.6`)", found);
}

/// `RFC` must be followed by a number of three to five digits, and `§` by a section.
fn wrong_references(line: &str) -> impl Iterator<Item = String> + '_ {
    let numbers = line.match_indices("RFC ").filter_map(|(at, _)| {
        let rest = &line[at + 4..];
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let starts_a_word = at == 0 || !line[..at].ends_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        let wrong = starts_a_word && rest.starts_with(|letter: char| letter.is_ascii_digit()) && !(3..=5).contains(&digits);
        wrong.then(|| format!("`RFC {}`", rest.chars().take(8).collect::<String>()))
    });
    let sections = line.match_indices('§').filter_map(|(at, sign)| {
        let rest = line[at + sign.len()..].trim_start();
        let wrong = !rest.starts_with(|letter: char| letter.is_ascii_digit() || letter.is_ascii_uppercase());
        wrong.then(|| format!("`§{}`", rest.chars().take(8).collect::<String>()))
    });
    numbers.chain(sections)
}

#[test]
fn nothing_names_a_machine() {
    let found = find(&["src", "protocol/src", "storage/src", "actors/src", "tests", "docs"], |source, line| {
        source.path != "tests/tidy.rs"
            && ["/home/", "/root/", "/work/"]
                .iter()
                .any(|folder| line.contains(&format!("\"{folder}")) || line.contains(&format!(" {folder}")))
    });
    report("paths of one machine", found);
}

fn report(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn find(folders: &[&str], wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(folders) {
        for (index, line) in source.code.iter().enumerate() {
            if wrong(&source, line) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    found
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        collect(Path::new(folder), &mut files);
    }
    files.sort();
    assert!(!files.is_empty(), "no sources under {folders:?}");
    files.iter().map(|path| read(path)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let all: Vec<String> = text.lines().map(str::to_owned).collect();
    let name = path.display().to_string();
    let only_tests = ["/tests.rs", "/testing.rs", "_tests.rs"].iter().any(|end| name.ends_with(end)) || name.contains("/tests/");
    let mut code = Vec::new();
    if !only_tests || name.starts_with("tests/") {
        for (index, line) in all.iter().enumerate() {
            // A `#[cfg(test)] mod tests;` that is followed by further code names another file; an inline module is the file's end.
            let inline = line.trim() == "#[cfg(test)]" && all.get(index + 1).is_some_and(|next| next.trim_end().ends_with('{'));
            if inline && line.starts_with('#') {
                break;
            }
            let comment = line.trim_start().starts_with("//");
            code.push(if comment { String::new() } else { line.clone() });
        }
    }
    Source { path: name, all, code }
}

#[test]
fn hash_tables_are_keyed_at_random() {
    let others =
        ["FxHash", "rustc_hash", "ahash", "hashbrown", "BuildHasher", "DefaultHasher", "SipHasher", "fnv::", "with_hasher"];
    let found =
        find(&["src", "protocol/src", "storage/src", "actors/src"], |_, line| others.iter().any(|other| line.contains(other)));
    report("hash tables whose buckets a peer could choose", found);
}

#[test]
fn secrets_are_compared_in_one_place() {
    // `expose()` is how a secret's bytes are got: whoever compares them must do it in constant time, which `password.rs` does.
    let found = find(&["src", "protocol/src", "actors/src"], |_, line| {
        line.contains(".expose()") && (line.contains("==") || line.contains("!="))
    });
    report("secrets that are compared byte by byte", found);
    let password = fs::read_to_string("src/users/password.rs").unwrap();
    assert!(password.contains("ct_eq"), "passwords are no longer compared in constant time");
}

/// Each row of docs/security.md: its number, and the cell that says what holds it.
fn held_by(page: &str) -> Vec<(usize, String)> {
    let rows = page.lines().filter(|line| line.starts_with("| ")).filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        Some((cells.first()?.trim().parse().ok()?, cells.last()?.trim().to_owned()))
    });
    rows.collect()
}

#[test]
fn the_security_page_names_tests_that_exist() {
    let page = fs::read_to_string("docs/security.md").unwrap();
    let rows = held_by(&page);
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=7).chain(1..=60).collect::<Vec<_>>(), "the seven promises, then the sixty reports");
    let mut found = Vec::new();
    for (number, cell) in &rows {
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).filter(|name| names_a_test(name)).collect();
        if named.is_empty() && !cell.starts_with("does not apply") {
            found.push(format!("{number}: nothing holds it"));
        }
        found.extend(named.iter().filter(|name| !test_exists(name)).map(|name| format!("{number}: {name}")));
    }
    report("docs/security.md names tests that aren't there", found);
}

fn names_a_test(name: &str) -> bool {
    name.contains("::") || name.ends_with(".imap") || name.starts_with("fuzz:")
}

fn test_exists(name: &str) -> bool {
    if let Some(target) = name.strip_prefix("fuzz:") {
        return Path::new("tests/fuzz/fuzz_targets").join(target).with_extension("rs").exists();
    }
    if name.ends_with(".imap") {
        return Path::new("tests/transcripts").join(name).exists();
    }
    let Some((file, test)) = name.rsplit_once("::") else { return false };
    let file = file.strip_prefix("hostile::").map_or_else(|| file.to_owned(), |module| format!("tests/hostile/{module}.rs"));
    let Ok(text) = fs::read_to_string(file) else { return false };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(place) =
        lines.iter().position(|line| line.split("fn ").nth(1).is_some_and(|rest| rest.starts_with(&format!("{test}("))))
    else {
        return false;
    };
    // The attributes directly above it, of which one says that it is a test, and none that it is left out.
    let above: Vec<&str> =
        lines[..place].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("//")).copied().collect();
    above.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        && !above.iter().any(|line| line.contains("ignore"))
}
