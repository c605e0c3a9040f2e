//! Files, environment and flags: from text to options. Knows no option by name.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::options::{Kind, OPTIONS, Opt};
use super::{Config, Loaded, Place, Problem, RemoteMailbox, RemoteUser};

/// What our environment variables begin with.
pub(super) const PREFIX: &str = "CARILLON_";
/// A longer file is no configuration.
const LIMIT_BYTES: u64 = 1 << 20;

pub(super) fn read_file(path: &Path, loaded: &mut Loaded) {
    let place = Place::File { path: path.to_owned(), line: 1, column: 1 };
    let unreadable = |text: String| Problem { place: place.clone(), text, allowed: String::new() };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LIMIT_BYTES => {
            loaded.problems.push(unreadable(format!("longer than {LIMIT_BYTES} bytes")));
            return;
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => File { path, text: &text }.read(loaded),
        Err(error) => loaded.problems.push(unreadable(format!("cannot be read: {error}"))),
    }
}

pub(super) fn read_environment(environment: &[(String, String)], loaded: &mut Loaded) {
    for (name, value) in environment {
        let place = Place::Environment(name.clone());
        match OPTIONS.iter().find(|option| option.variable() == *name) {
            Some(option) => set(option, value, &place, loaded),
            None if name == "CARILLON_CONFIG" || name.starts_with("CARILLON_TEST_") || !name.starts_with(PREFIX) => {}
            // Container platforms set CARILLON_PORT and the like for a service of this name: no error.
            None => {
                let known: Vec<String> = OPTIONS.iter().map(Opt::variable).collect();
                let ends = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
                let near = suggestion(name.strip_prefix(PREFIX).unwrap_or(name), ends, PREFIX);
                let text = format!("no option of this name{near}");
                loaded.warnings.push(Problem { place, text, allowed: String::new() });
            }
        }
    }
}

pub(super) fn read_flags(flags: &[(&'static str, Vec<String>)], loaded: &mut Loaded) {
    for (key, values) in flags {
        if let Some(option) = OPTIONS.iter().find(|option| option.key == *key) {
            let place = Place::Flag(option.flag());
            (option.clear)(&mut loaded.config);
            values.iter().for_each(|value| set_one(option, value, &place, loaded));
        }
    }
}

/// A value that is one text: of the environment.
fn set(option: &Opt, value: &str, place: &Place, loaded: &mut Loaded) {
    if option.kind == Kind::List {
        (option.clear)(&mut loaded.config);
        let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.for_each(|part| set_one(option, part, place, loaded));
    } else {
        set_one(option, value, place, loaded);
    }
}

fn set_one(option: &Opt, value: &str, place: &Place, loaded: &mut Loaded) {
    if (option.set)(&mut loaded.config, value).is_some() {
        loaded.places.insert(option.key, place.clone());
    } else {
        let shown: String = value.chars().take(100).collect();
        let text = format!("{shown:?} is no value of `{}`", option.key);
        loaded.problems.push(Problem { place: place.clone(), text, allowed: option.allowed.to_owned() });
    }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Place::File { path: self.path.to_owned(), line, column }
    }

    fn problem(&self, span: &Range<usize>, text: String, allowed: &str) -> Problem {
        Problem { place: self.place(span), text, allowed: allowed.to_owned() }
    }

    fn read(&self, loaded: &mut Loaded) {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            loaded.problems.push(self.problem(&span, error.message().replace('\n', ", "), ""));
        }
        self.table(root.get_ref(), "", loaded);
        loaded.problems.sort_by_key(|problem| match problem.place {
            Place::File { line, column, .. } => (line, column),
            _ => (usize::MAX, 0),
        });
    }

    fn table(&self, table: &DeTable<'_>, prefix: &str, loaded: &mut Loaded) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            if key == "referral" {
                self.referrals(value, loaded);
            } else if let Some(option) = OPTIONS.iter().find(|option| option.key == key) {
                self.value(option, value, loaded);
            } else if let (true, DeValue::Table(inner)) = (prefix.is_empty() && is_table(&key), value.get_ref()) {
                self.table(inner, &format!("{key}."), loaded);
            } else if is_table(&key) {
                let allowed = format!("a table, [{key}]");
                loaded.problems.push(self.problem(&value.span(), format!("`{key}` is {}", kind_of(value)), &allowed));
            } else {
                let known = OPTIONS.iter().map(|option| option.key).filter(|known| known.starts_with(prefix));
                let text = format!("there is no option `{key}`{}", suggestion(&key, known.chain(["referral"]), ""));
                loaded.problems.push(self.problem(&name.span(), text, ""));
            }
        }
    }

    fn value(&self, option: &Opt, value: &Spanned<DeValue<'_>>, loaded: &mut Loaded) {
        let place = self.place(&value.span());
        match (option.kind, value.get_ref()) {
            (Kind::Text, DeValue::String(text)) => set_one(option, text, &place, loaded),
            (Kind::Number, DeValue::Integer(integer)) if integer.radix() == 10 => {
                set_one(option, integer.as_str(), &place, loaded);
            }
            (Kind::List, DeValue::String(text)) => {
                (option.clear)(&mut loaded.config);
                set_one(option, text, &place, loaded);
            }
            (Kind::List, DeValue::Array(array)) => self.array(option, array, loaded),
            _ => {
                let expected = match option.kind {
                    Kind::Text => "a string",
                    Kind::List => "a string or an array of strings",
                    Kind::Number => "a decimal number",
                };
                let text = format!("`{}` is {}, not {expected}", option.key, kind_of(value));
                loaded.problems.push(self.problem(&value.span(), text, option.allowed));
            }
        }
    }

    fn array(&self, option: &Opt, array: &DeArray<'_>, loaded: &mut Loaded) {
        (option.clear)(&mut loaded.config);
        for element in array.iter() {
            if let DeValue::String(text) = element.get_ref() {
                set_one(option, text, &self.place(&element.span()), loaded);
            } else {
                let text = format!("an element of `{}` is {}, not a string", option.key, kind_of(element));
                loaded.problems.push(self.problem(&element.span(), text, option.allowed));
            }
        }
    }

    fn referrals(&self, value: &Spanned<DeValue<'_>>, loaded: &mut Loaded) {
        let Some(kinds) = value.get_ref().as_table() else {
            let allowed = "[[referral.mailbox]] and [[referral.user]]";
            loaded.problems.push(self.problem(&value.span(), "`referral` is no table".to_owned(), allowed));
            return;
        };
        for (name, entries) in kinds {
            let field = match name.get_ref().as_ref() {
                "mailbox" => "name",
                "user" => "user",
                other => {
                    let text = format!("there is no `referral.{other}`");
                    loaded.problems.push(self.problem(&name.span(), text, "referral.mailbox, referral.user"));
                    continue;
                }
            };
            let Some(entries) = entries.get_ref().as_array() else {
                let text = format!("`referral.{}` is no array of tables", name.get_ref());
                loaded.problems.push(self.problem(&entries.span(), text, "[[referral.mailbox]], [[referral.user]]"));
                continue;
            };
            for entry in entries.iter() {
                match self.referral(entry, field) {
                    Ok((subject, url)) => {
                        if field == "name" {
                            loaded.places.insert("referral.mailbox", self.place(&entry.span()));
                        }
                        add_referral(&mut loaded.config, field, subject, url);
                    }
                    Err(problem) => loaded.problems.push(problem),
                }
            }
        }
    }

    fn referral(&self, entry: &Spanned<DeValue<'_>>, field: &str) -> Result<(String, String), Problem> {
        let allowed = format!("{field} = \"...\" and url = \"imap://host/...\"");
        let wrong = |span: &Range<usize>, text: String| self.problem(span, text, &allowed);
        let table = entry.get_ref().as_table().ok_or_else(|| wrong(&entry.span(), "no table".to_owned()))?;
        for name in table.keys() {
            if name.get_ref() != field && name.get_ref() != "url" {
                return Err(wrong(&name.span(), format!("there is no option `{}` here", name.get_ref())));
            }
        }
        let get = |key: &str| {
            let value = table.get(key).ok_or_else(|| wrong(&entry.span(), format!("`{key}` is missing")))?;
            let text = value.get_ref().as_str().filter(|text| !text.is_empty() && text.len() <= 1000);
            let text = text.filter(|text| !text.contains(char::is_control) && (key != "url" || is_imap_url(text)));
            text.map(str::to_owned).ok_or_else(|| wrong(&value.span(), format!("no value of `{key}`")))
        };
        Ok((get(field)?, get("url")?))
    }
}

fn add_referral(config: &mut Config, field: &str, subject: String, url: String) {
    if field == "user" {
        config.remote_users.push(RemoteUser { user: subject, url });
    } else {
        config.remote_mailboxes.push(RemoteMailbox { name: subject, url });
    }
}

/// It goes to clients between brackets or in a quoted string: printable ASCII without what would end either.
fn is_imap_url(text: &str) -> bool {
    let is_scheme = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("imap://"));
    is_scheme && text.len() > 7 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\]<>".contains(&byte))
}

fn is_table(key: &str) -> bool {
    OPTIONS.iter().any(|option| option.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

fn kind_of(value: &Spanned<DeValue<'_>>) -> String {
    let kind = value.get_ref().type_str();
    format!("{} {kind}", if kind.starts_with(['a', 'i']) { "an" } else { "a" })
}

/// `; did you mean ...?` where a known name is near; `prefix` is what all have in common.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>, prefix: &str) -> String {
    let near = known.map(|known| (distance(name, known), known)).min();
    match near {
        Some((distance, known)) if distance <= known.len().div_ceil(3).min(4) => format!("; did you mean `{prefix}{known}`?"),
        _ => String::new(),
    }
}

/// Levenshtein's distance; of long texts only the start counts.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().take(80).enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        let mut next = vec![previous];
        for (to, above) in right.iter().zip(row.iter().skip(1)) {
            let substituted = diagonal + usize::from(from != *to);
            previous = substituted.min(previous + 1).min(above + 1);
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("data", "data")), (3, 3, 0));
        assert_eq!(suggestion("limits.keyword", ["limits.keywords"].into_iter(), ""), "; did you mean `limits.keywords`?");
        assert_eq!(suggestion("zzz", ["data"].into_iter(), ""), "");
    }

    #[test]
    fn urls() {
        assert!(is_imap_url("imap://bob@home.example.org/"));
        for bad in ["imap://", "http://x/", "imap://a b/", "imap://a]b/"] {
            assert!(!is_imap_url(bad), "{bad}");
        }
    }
}
