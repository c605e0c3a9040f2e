//! Patterns of LIST, LSUB and SCAN (RFC 3501 §6.3.8): `*` matches everything, `%` everything but a separator.

use std::collections::BTreeMap;

use crate::mailbox_name::{MailboxName, NameFormat};

/// A reference and a pattern, ready to be matched. One match costs O(length of the name times length of the pattern / 64), whatever
/// the wildcards: all places in the pattern that a prefix of the name can stand for are kept at once, as bits; nothing is tried again.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// How many tokens there are: characters and wildcards, no two wildcards beside each other.
    tokens: usize,
    /// How many of them are characters: a shorter name cannot match.
    characters: usize,
    /// The tokens that are a given character.
    places: BTreeMap<char, Bits>,
    /// The tokens that are `*`.
    stars: Bits,
    /// The tokens that are `%`.
    percents: Bits,
}

type Bits = Vec<u64>;

impl Pattern {
    /// Joins the two arguments of LIST, both decoded by [`decode_text`](crate::mailbox_name::decode_text): the pattern follows the
    /// reference as it stands (RFC 3501 §6.3.8, the first three of its examples); a pattern that begins with the separator stands
    /// alone (its fourth example) and matches nothing here, as no name begins so.
    pub fn new(reference: &str, pattern: &str, format: NameFormat) -> Self {
        use unicode_normalization::UnicodeNormalization as _;
        let reference = if pattern.starts_with(format.separator) { "" } else { reference };
        let mut tokens: Vec<char> = Vec::new();
        for character in reference.chars().chain(pattern.chars()).nfc().map(|character| format.swap_char(character)) {
            match (tokens.last_mut(), character) {
                // Wildcards beside each other match what the stronger of them matches.
                (Some('*'), '*' | '%') | (Some('%'), '%') => {}
                (Some(last @ '%'), '*') => *last = '*',
                _ => tokens.push(character),
            }
        }
        let mut built = Self {
            tokens: tokens.len(),
            characters: tokens.iter().filter(|token| !matches!(token, '*' | '%')).count(),
            places: BTreeMap::new(),
            stars: empty_bits(tokens.len()),
            percents: empty_bits(tokens.len()),
        };
        if built.may_match() {
            built.place(&tokens);
        }
        built
    }

    /// Whether the pattern matches the name. The first level INBOX is compared without case.
    pub fn matches(&self, name: &MailboxName) -> bool {
        self.run(name, |_| {})
    }

    /// The proper superiors of the name that the pattern matches, the top first: `%` matches `a` of `a/b`. LSUB answers with those
    /// that are not subscribed themselves as \Noselect (RFC 3501 §6.3.9).
    pub fn matching_superiors(&self, name: &MailboxName) -> Vec<MailboxName> {
        let mut levels = Vec::new();
        self.run(name, |level| levels.push(level));
        levels.into_iter().filter_map(|level| name.superiors().nth(level - 1)).collect()
    }

    /// A pattern with more characters than the longest name has is not even laid out.
    fn may_match(&self) -> bool {
        self.characters <= MailboxName::MAX_BYTES + MailboxName::MAX_LEVELS
    }

    fn place(&mut self, tokens: &[char]) {
        for (place, token) in tokens.iter().enumerate() {
            let bits = match token {
                '*' => &mut self.stars,
                '%' => &mut self.percents,
                other => self.places.entry(*other).or_insert_with(|| empty_bits(tokens.len())),
            };
            set(bits, place);
        }
    }

    /// Runs the name through the pattern; `superior` is called with the number of levels of each proper superior that matches.
    fn run(&self, name: &MailboxName, mut superior: impl FnMut(usize)) -> bool {
        if !self.may_match() {
            return false;
        }
        // Bit i: what was read of the name can stand for the first i tokens.
        let mut state = empty_bits(self.tokens);
        set(&mut state, 0);
        self.step_over_wildcards(&mut state);
        for (level, segment) in name.segments().iter().enumerate() {
            if level > 0 {
                if get(&state, self.tokens) {
                    superior(level);
                }
                self.read(&mut state, '/', false);
            }
            let is_inbox = level == 0 && segment == "INBOX";
            for character in segment.chars() {
                self.read(&mut state, character, is_inbox);
                if state.iter().all(|word| *word == 0) {
                    return false;
                }
            }
        }
        get(&state, self.tokens)
    }

    fn read(&self, state: &mut Bits, character: char, without_case: bool) {
        let same = self.places.get(&character);
        let other = without_case.then(|| self.places.get(&character.to_ascii_lowercase())).flatten();
        let mut carry = 0;
        for (index, word) in state.iter_mut().enumerate() {
            let at = |bits: &Bits| bits.get(index).copied().unwrap_or(0);
            let equal = same.map_or(0, at) | other.map_or(0, at);
            let stay = at(&self.stars) | if character == '/' { 0 } else { at(&self.percents) };
            let advanced = *word & equal;
            *word = (advanced << 1) | carry | (*word & stay);
            carry = advanced >> 63;
        }
        self.step_over_wildcards(state);
    }

    /// A wildcard may stand for nothing. One step is enough: no two are beside each other.
    fn step_over_wildcards(&self, state: &mut Bits) {
        let mut carry = 0;
        for (word, (stars, percents)) in state.iter_mut().zip(self.stars.iter().zip(&self.percents)) {
            let skipped = *word & (stars | percents);
            *word |= (skipped << 1) | carry;
            carry = skipped >> 63;
        }
    }
}

/// One bit for each token and one for the end.
fn empty_bits(tokens: usize) -> Bits {
    vec![0; tokens / 64 + 1]
}

fn set(bits: &mut Bits, place: usize) {
    if let Some(word) = bits.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

fn get(bits: &Bits, place: usize) -> bool {
    bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::parse(text.as_bytes(), NameFormat { separator: '/', utf8: true }).unwrap()
    }

    fn matches(reference: &str, pattern: &str, text: &str) -> bool {
        Pattern::new(reference, pattern, NameFormat::default()).matches(&name(text))
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("%/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a*", "a", true),
            ("a/*", "a", false),
            ("*c", "a/b/c", true),
            ("%b*d", "ab/c/d", true),
            ("a%%*%b", "a/x/b", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("\u{e4}%", "\u{e4}\u{f6}", true),
            ("u\u{308}", "\u{fc}", true),
        ] {
            assert_eq!(matches("", pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn the_reference_goes_before_the_pattern() {
        assert!(matches("archive/", "%", "archive/a"));
        assert!(matches("~smith/Mail/", "foo.*", "~smith/Mail/foo.bar"));
        assert!(!matches("archive/", "%", "a"));
        assert!(!matches("archive/", "/a", "archive/a"));
        assert!(!matches("", "/a", "a"));
    }

    #[test]
    fn inbox_matches_without_case() {
        assert!(matches("", "inbox", "INBOX") && matches("", "iNb%", "INBOX") && matches("in", "BOX/*", "INBOX/a"));
        assert!(!matches("", "INBOX/a", "INBOX/A") && !matches("", "inboxes", "INBOX") && !matches("", "A/inbox", "A/INBOX"));
    }

    #[test]
    fn another_separator() {
        let dotted = NameFormat { separator: '.', utf8: false };
        assert!(Pattern::new("", "Work.%", dotted).matches(&name("Work/v1.2")));
        assert!(Pattern::new("", "Work.v1/2", dotted).matches(&name("Work/v1.2")));
        assert!(!Pattern::new("", "Work.%", dotted).matches(&name("Work/a/b")));
    }

    #[test]
    fn superiors() {
        let found = |pattern: &str, text: &str| {
            let superiors = Pattern::new("", pattern, NameFormat::default()).matching_superiors(&name(text));
            superiors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("%", "a/b/c"), ["a"]);
        assert_eq!(found("%/%", "a/b/c"), ["a/b"]);
        assert_eq!(found("*", "a/b/c"), ["a", "a/b"]);
        assert!(found("%", "a").is_empty() && found("x%", "a/b").is_empty());
    }

    /// Reports 25 and 26 of the reliability page: patterns that make a backtracking matcher run for ever.
    #[test]
    fn hostile_patterns_cost_no_more_than_others() {
        let long = name(&"a".repeat(MailboxName::MAX_BYTES));
        for pattern in
            ["%a".repeat(30_000), "*a".repeat(500) + "b", "*a%".repeat(400) + "b", "%*".repeat(30_000), "a".repeat(60_000)]
        {
            let expected = pattern.bytes().all(|byte| byte != b'a');
            assert_eq!(matches("", &pattern, &long.to_string()), expected);
        }
        assert!(matches("", &"*a%".repeat(500), &long.to_string()));
    }

    /// The definition, as slow as it may be.
    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) if oracle(rest, text) => true,
            (Some(('*', _)), Some((_, after))) => oracle(pattern, after),
            (Some(('%', rest)), _) if oracle(rest, text) => true,
            (Some(('%', _)), Some((character, after))) => *character != '/' && oracle(pattern, after),
            (Some((token, rest)), Some((character, after))) => token == character && oracle(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab/%*]{0,9}", text in "[ab]{1,3}(/[ab]{1,3}){0,3}") {
            prop_assume!(!pattern.starts_with('/'));
            let (tokens, characters): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches("", &pattern, &text), oracle(&tokens, &characters));
        }

        #[test]
        fn long_patterns_cross_words(head in 50..80usize, tail in 50..80usize) {
            let pattern = format!("{}%{}", "a".repeat(head), "b".repeat(tail));
            let text = format!("{}x{}", "a".repeat(head), "b".repeat(tail));
            prop_assert!(matches("", &pattern, &text));
            prop_assert!(!matches("", &pattern, &text.replace('x', "/")));
        }
    }
}
