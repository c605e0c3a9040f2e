//! What two texts that are "the same" have in common, and looking for many texts in one at once.

use std::borrow::Cow;
use std::iter::once;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc, is_nfc_quick};

use super::search::collapsed;

/// The text without differences of case and of composed characters: what two texts that are "the same" have in common.
/// To capitals, then to small letters, so that ß and SS, ς and σ meet; then NFC.
pub fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let mut small = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            small.push(character.to_ascii_lowercase());
        } else {
            small.extend(character.to_uppercase().flat_map(char::to_lowercase));
        }
    }
    Cow::Owned(if is_nfc(&small) { small } else { small.nfc().collect() })
}

/// A text to look for, folded once.
#[derive(Clone, Debug)]
pub struct Needle(Box<memchr::memmem::Finder<'static>>);

impl Needle {
    /// A text as it stands, for bodies.
    pub fn new(text: &str) -> Self {
        Self(Box::new(memchr::memmem::Finder::new(folded(text).as_bytes()).into_owned()))
    }

    /// A text for headers, where a blank stands for any number of them ([`super::Text`]).
    pub fn in_header(text: &str) -> Self {
        Self::new(&collapsed(text))
    }

    /// Its length in octets, folded.
    pub fn length(&self) -> usize {
        self.0.needle().len()
    }

    /// Whether it stands in the part of the text that the window shows. The empty needle is in every text.
    pub fn is_in(&self, window: &Window) -> bool {
        self.0.find(&window.folded).is_some()
    }
}

const WINDOW: usize = 32 << 10;

/// A view on a folded text that moves from its beginning to its end, so that a large text costs no copy of itself, and looking through it can be
/// left and taken up again: it holds all that is needed for that but the text.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// How much of the text it has moved over.
    offset: usize,
    /// The end of what was shown before, then what is new.
    folded: Vec<u8>,
}

impl Window {
    /// Octets of text that come into view at a time, about: little enough to stay in the processor's cache while all needles are looked for.
    pub const OCTETS: u64 = WINDOW as u64;

    /// Moves on over the text, the same at each call; `false` once it has shown the end. The last `overlap` octets of what was shown stay in view:
    /// with one less than the longest needle none is missed.
    pub fn advance(&mut self, text: &str, overlap: usize) -> bool {
        let rest = text.get(self.offset..).unwrap_or_default();
        let length = cut(rest, WINDOW.max(overlap));
        let new = rest.get(..length).unwrap_or(rest);
        self.folded.drain(..self.folded.len().saturating_sub(overlap));
        if new.is_ascii() {
            let start = self.folded.len();
            self.folded.extend_from_slice(new.as_bytes());
            self.folded.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
        } else {
            self.folded.extend_from_slice(folded(new).as_bytes());
        }
        self.offset += new.len();
        self.offset < text.len()
    }

    /// Goes to the beginning, for another text.
    pub fn rewind(&mut self) {
        self.offset = 0;
        self.folded.clear();
    }
}

/// Where to cut a text, behind at least so many octets, such that both sides are folded as they are together: before a character that composes
/// with nothing before it.
fn cut(text: &str, at_least: usize) -> usize {
    let stands_alone = |character: char| {
        character.is_ascii() || canonical_combining_class(character) == 0 && is_nfc_quick(once(character)) == IsNormalized::Yes
    };
    let start = (at_least..text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(text.len());
    let mut behind = text.get(start..).unwrap_or_default().char_indices();
    behind.find(|(_, character)| stands_alone(*character)).map_or(text.len(), |(place, _)| start + place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_found(needle: &Needle, text: &str) -> bool {
        let mut window = Window::default();
        loop {
            let is_more = window.advance(text, needle.length().saturating_sub(1));
            if needle.is_in(&window) || !is_more {
                return needle.is_in(&window);
            }
        }
    }

    #[test]
    fn needles() {
        for (needle, text) in [
            ("", ""),
            ("HELLO", "say hello"),
            ("GRÜSSE", "viele Grüße"),
            ("k", "\u{212a}elvin"),
            ("σας", "ΣΑΣ"),
            ("e\u{301}", "É"),
        ] {
            assert!(is_found(&Needle::new(needle), text), "{needle} in {text}");
        }
        for (needle, text) in [("a", ""), ("hello", "hell o"), ("ü", "u"), ("long needle", "short"), ("a  b", "a b")] {
            assert!(!is_found(&Needle::new(needle), text), "{needle} in {text}");
        }
        assert!(is_found(&Needle::in_header("a \t b"), "a b"));
    }

    #[test]
    fn windows_hide_nothing() {
        for character in ["x", "ü", "e\u{301}", "\u{1112}\u{1161}\u{11ab}", "漢"] {
            for before in (WINDOW - 12..WINDOW + 3).step_by(2) {
                let text = format!("{}{}NeedLe{}", "-".repeat(before), character.repeat(3), character.repeat(12_000));
                for needle in ["needle", &format!("{character}NEEDLE"), &text[before - 9..]] {
                    assert!(is_found(&Needle::new(needle), &text), "{before} {character}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_needle_is_found_wherever_it_stands(before in "[a-zA-Z]{0,40}", needle in "[a-zA-Zäöü]{0,8}", after in "\\PC{0,20}") {
            let text = format!("{before}{}{after}", needle.to_uppercase());
            prop_assert!(is_found(&Needle::new(&needle), &text));
        }

        /// Cut anywhere, the pieces are folded as the whole is.
        #[test]
        fn a_cut_changes_nothing(text in "([a-zA-Zäß\u{301}\u{328}\u{345}\u{1100}-\u{1200}\u{ac00}\u{ac01}\u{212a}\u{3b1}\u{1f82}]|\\PC){0,40}", place in 0usize..100) {
            let place = cut(&text, place);
            let (one, other) = text.split_at(place);
            prop_assert_eq!(format!("{}{}", folded(one), folded(other)), folded(&text));
        }
    }
}
