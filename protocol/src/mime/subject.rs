//! The base subject (RFC 5256 §2.1). The algorithm is followed step by step, each of them linear.

/// A subject without what replies, forwards and mailing lists add to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseSubject {
    /// The base; may be empty.
    pub text: String,
    /// Whether a `Re:`, `Fwd:`, `(fwd)` or `[fwd: ]` was taken off.
    pub is_reply: bool,
}

/// The base of a subject whose encoded words are decoded already.
pub fn base_subject(subject: &str) -> BaseSubject {
    // Step 1: tabs and line ends are blanks, several blanks are one.
    let mut collapsed = String::with_capacity(subject.len());
    let mut before = ' ';
    for character in subject.chars() {
        let character = if matches!(character, '\t' | '\r' | '\n') { ' ' } else { character };
        if character != ' ' || before != ' ' {
            collapsed.push(character);
        }
        before = character;
    }
    let mut text = collapsed.as_str();
    let mut is_reply = false;
    loop {
        text = without_trailers(text, &mut is_reply);
        text = without_leaders(text, &mut is_reply);
        // Step 6.
        match strip_prefix(text, "[fwd:").and_then(|inside| inside.strip_suffix(']')) {
            Some(inside) => {
                is_reply = true;
                text = inside;
            }
            None => return BaseSubject { text: text.to_owned(), is_reply },
        }
    }
}

/// Step 2.
fn without_trailers<'a>(mut text: &'a str, is_reply: &mut bool) -> &'a str {
    loop {
        text = text.trim_end_matches(' ');
        let Some(start) = text.len().checked_sub("(fwd)".len()) else { return text };
        match text.split_at_checked(start) {
            Some((rest, trailer)) if trailer.eq_ignore_ascii_case("(fwd)") => {
                *is_reply = true;
                text = rest;
            }
            _ => return text,
        }
    }
}

/// Steps 3 to 5.
fn without_leaders<'a>(mut text: &'a str, is_reply: &mut bool) -> &'a str {
    loop {
        text = text.trim_start_matches(' ');
        // subj-leader: any number of blobs, then the `Re:`. That these blobs are not followed by one needs to be seen only once,
        // for then it holds for the rest of them as well.
        let behind_blobs = without_blobs(text, false);
        if let Some(rest) = without_refwd(behind_blobs) {
            *is_reply = true;
            text = rest;
            continue;
        }
        // Step 4: a blob goes if it leaves something; so do those behind it.
        return without_blobs(text, true);
    }
}

/// Takes blobs off the front; where `keeps_base`, none that leaves nothing.
fn without_blobs(mut text: &str, keeps_base: bool) -> &str {
    while let Some(rest) = without_blob(text) {
        if keeps_base && rest.is_empty() {
            break;
        }
        text = rest;
    }
    text
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn without_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    let rest = inside.get(end..)?.strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

/// `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`
fn without_refwd(text: &str) -> Option<&str> {
    let rest = strip_prefix(text, "re").or_else(|| strip_prefix(text, "fwd")).or_else(|| strip_prefix(text, "fw"))?;
    let rest = rest.trim_start_matches(' ');
    without_blob(rest).unwrap_or(rest).strip_prefix(':')
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(subject: &str, base: &str, is_reply: bool) {
        assert_eq!(base_subject(subject), BaseSubject { text: base.to_owned(), is_reply }, "{subject:?}");
    }

    #[test]
    fn bases() {
        is("hello", "hello", false);
        is("  a \t b\r\n c ", "a b c", false);
        is("Re: hello", "hello", true);
        is("RE : hello", "hello", true);
        is("Fwd: Re: FW: hello", "hello", true);
        is("Re[2]: hello", "hello", true);
        is("re [x] : hello", "hello", true);
        is("re [x]: hello", "hello", true);
        is("[list] Re: [other] hello", "hello", true);
        is("[list] hello", "hello", false);
        is("[a] [b] hello", "hello", false);
        is("[only]", "[only]", false);
        is("[a] [only]", "[only]", false);
        is("hello (fwd)", "hello", true);
        is("hello (FWD) (fwd)  ", "hello", true);
        is("[fwd: hello]", "hello", true);
        is("[Fwd: Re: [list] hello (fwd)]", "hello", true);
        is("Re: [fwd: [fwd: hello]]", "hello", true);
        is("[fwd: hello", "[fwd: hello", false);
        is("Re:", "", true);
        is("", "", false);
        is("(fwd)", "", true);
        is("Reply: hello", "Reply: hello", false);
        is("re [a[b]: hello", "re [a[b]: hello", false);
        is("Ré: é", "Ré: é", false);
    }

    /// The blob step by its letter: one blob at a time, then all from step 3 again.
    fn by_the_letter(text: &str) -> String {
        let mut text = text.to_owned();
        loop {
            let before = text.clone();
            text = text.trim_start_matches(' ').to_owned();
            let mut rest = text.as_str();
            let leader = loop {
                if let Some(found) = without_refwd(rest) {
                    break Some(found.to_owned());
                }
                match without_blob(rest) {
                    Some(shorter) => rest = shorter,
                    None => break None,
                }
            };
            if let Some(found) = leader {
                text = found;
            } else if let Some(found) = without_blob(&text).filter(|found| !found.is_empty()).map(str::to_owned) {
                text = found;
            }
            if text == before {
                return text;
            }
        }
    }

    proptest! {
        #[test]
        fn the_short_cut_is_the_letter(text in "(\\[|\\]|re|fwd|:| |a|\\[x\\]){0,12}") {
            prop_assert_eq!(without_leaders(&text, &mut false), by_the_letter(&text));
        }

        #[test]
        fn a_base_is_its_own_base(text in "(\\[|\\]|re|fwd|:| |a|\\[x\\]|\\(fwd\\)|\\[fwd:){0,12}") {
            let base = base_subject(&text).text;
            prop_assert_eq!(base_subject(&base), BaseSubject { text: base.clone(), is_reply: false });
        }
    }

    #[test]
    fn hostile_subjects_cost_little() {
        let started = std::time::Instant::now();
        for piece in ["[a]", "re:", "[", "[fwd:", "re[", "[a]re:", "(fwd)", " ", "re [a] ", "]"] {
            base_subject(&piece.repeat(200_000));
        }
        base_subject(&format!("{}{}", "[fwd:".repeat(100_000), "]".repeat(100_000)));
        assert!(started.elapsed().as_secs() < 10);
    }
}
