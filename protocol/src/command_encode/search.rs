//! Keys of SEARCH, SORT and THREAD as text.

use super::Out;
use crate::command::{DateComparison, SearchKey};
use crate::flag::SystemFlag;
use crate::grammar::search::Charset;

impl Out {
    /// Keys at the end of a command: several of them need no parentheses.
    pub(super) fn search_keys(&mut self, key: &SearchKey, charset: Option<&str>) {
        // What is no charset comes from no parser; its texts go out as they are.
        let charset = charset.and_then(|name| Charset::named(name.as_bytes())).unwrap_or(Charset::Unnamed);
        match key {
            SearchKey::And(keys) if keys.len() > 1 && !is_new(keys) => self.spaced(keys, |out, key| out.search_key(key, charset)),
            key => self.search_key(key, charset),
        }
    }

    fn search_key(&mut self, key: &SearchKey, charset: Charset) {
        match key {
            SearchKey::And(keys) if keys.is_empty() => self.put("ALL"),
            // RECENT and UNSEEN: in its short form too.
            SearchKey::And(keys) if is_new(keys) => self.put("NEW"),
            SearchKey::And(keys) => self.parenthesised(keys, |out, key| out.search_key(key, charset)),
            SearchKey::Or(left, right) => {
                self.put("OR ");
                self.spaced([left, right], |out, key| out.search_key(key, charset));
            }
            SearchKey::Not(key) => self.negated(key, charset),
            SearchKey::All => self.put("ALL"),
            SearchKey::Flag(flag) => self.put(&flag_key(*flag)),
            SearchKey::Keyword(keyword) => self.put(&format!("KEYWORD {keyword}")),
            SearchKey::Recent => self.put("RECENT"),
            SearchKey::Set(numbering, set) => {
                self.put(numbering.of("", "UID "));
                self.set(set);
            }
            SearchKey::Internal(comparison, day) => self.put(&format!("{} {day}", comparison_name(*comparison))),
            SearchKey::Sent(comparison, day) => self.put(&format!("SENT{} {day}", comparison_name(*comparison))),
            SearchKey::Larger(size) => self.put(&format!("LARGER {size}")),
            SearchKey::Smaller(size) => self.put(&format!("SMALLER {size}")),
            SearchKey::Header(field, text) => {
                self.put("HEADER ");
                self.astring(field.as_bytes());
                self.put(" ");
                self.astring(&charset.encode(text));
            }
            SearchKey::Body(text) => {
                self.put("BODY ");
                self.astring(&charset.encode(text));
            }
            SearchKey::Text(text) => {
                self.put("TEXT ");
                self.astring(&charset.encode(text));
            }
        }
    }

    /// NOT, in its short form where there is one: so it stands no deeper than where it was read.
    fn negated(&mut self, key: &SearchKey, charset: Charset) {
        match key {
            SearchKey::Flag(flag) => self.put(&format!("UN{}", flag_key(*flag))),
            SearchKey::Keyword(keyword) => self.put(&format!("UNKEYWORD {keyword}")),
            SearchKey::Recent => self.put("OLD"),
            key => {
                self.put("NOT ");
                self.search_key(key, charset);
            }
        }
    }
}

fn is_new(keys: &[SearchKey]) -> bool {
    matches!(keys, [SearchKey::Recent, SearchKey::Not(seen)] if **seen == SearchKey::Flag(SystemFlag::Seen))
}

fn flag_key(flag: SystemFlag) -> String {
    flag.name().trim_start_matches('\\').to_ascii_uppercase()
}

const fn comparison_name(comparison: DateComparison) -> &'static str {
    match comparison {
        DateComparison::Before => "BEFORE",
        DateComparison::On => "ON",
        DateComparison::Since => "SINCE",
    }
}
