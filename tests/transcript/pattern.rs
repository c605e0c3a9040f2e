//! Does a response fit the line of a transcript? `...`, `<v>`, and the orders that the standards leave open.

use std::collections::BTreeMap;

use super::token::{Token, tokens};

/// What `<v>` stands for so far.
pub type Variables = BTreeMap<String, Vec<u8>>;

/// A line of a transcript that a response is held against.
#[derive(Clone, Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    /// Reads the line behind `S1:`; literals stand in it as `{n}` CRLF and bytes.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        Ok(Self { tokens: tokens(line)? })
    }

    /// Whether the response fits; binds variables where it does.
    pub fn matches(&self, response: &[u8], variables: &mut Variables) -> bool {
        if let [Token::Atom(first), rest] = self.tokens.as_slice()
            && is_rest(rest)
        {
            return response.split(|byte| *byte == b' ').next() == Some(first.as_slice());
        }
        let Ok(got) = tokens(response) else { return false };
        let mut bound = variables.clone();
        let fits = match_response(&self.tokens, &got, &mut bound);
        if fits {
            *variables = bound;
        }
        fits
    }
}

fn is_rest(token: &Token) -> bool {
    matches!(token, Token::Atom(bytes) if bytes == b"...")
}

/// How a list is compared.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// As it stands.
    Kept,
    /// As it stands, texts without case (BODYSTRUCTURE).
    Structure,
    /// A set.
    Free,
    /// A set of name and value.
    Pairs,
}

fn match_response(pattern: &[Token], got: &[Token], bound: &mut Variables) -> bool {
    let word = |tokens: &[Token], at: usize| tokens.get(at).map(Token::keyword).unwrap_or_default();
    if got.iter().any(|token| matches!(token, Token::Code(_) | Token::Text(_))) {
        return match_status(pattern, got, bound);
    }
    match word(pattern, 1).as_str() {
        "CAPABILITY" | "ENABLED" => {
            head(pattern, got, 2, bound) && match_free(&upper(tail(pattern, 2)), &upper(tail(got, 2)), bound)
        }
        "SEARCH" => head(pattern, got, 2, bound) && match_free(&each(tail(pattern, 2)), &each(tail(got, 2)), bound),
        "FLAGS" => head(pattern, got, 2, bound) && match_each(tail(pattern, 2), tail(got, 2), Order::Free, bound),
        "LIST" | "LSUB" => {
            head(pattern, got, 2, bound)
                && match_each(&pattern[2..pattern.len().min(3)], &got[2..got.len().min(3)], Order::Free, bound)
                && match_sequence(tail(pattern, 3), tail(got, 3), bound)
        }
        "STATUS" | "ID" if pattern.len() > 2 => {
            let place = pattern.len() - 1;
            head(pattern, got, place, bound) && match_each(tail(pattern, place), tail(got, place), Order::Pairs, bound)
        }
        _ if word(pattern, 2) == "FETCH" => {
            head(pattern, got, 3, bound) && match_each(tail(pattern, 3), tail(got, 3), Order::Pairs, bound)
        }
        _ => match_sequence(pattern, got, bound),
    }
}

fn head(pattern: &[Token], got: &[Token], count: usize, bound: &mut Variables) -> bool {
    pattern.len() >= count && got.len() >= count && match_sequence(&pattern[..count], &got[..count], bound)
}

/// The numbers of SEARCH, sets one by one.
fn each(tokens: &[Token]) -> Vec<Token> {
    let split = |token: &Token| match token {
        Token::Atom(bytes) => {
            numbers(bytes).map(|found| found.iter().map(|number| Token::Atom(number.to_string().into_bytes())).collect())
        }
        _ => None,
    };
    tokens.iter().flat_map(|token| split(token).unwrap_or_else(|| vec![token.clone()])).collect()
}

/// Capabilities have no case.
fn upper(tokens: &[Token]) -> Vec<Token> {
    tokens.iter().map(|token| Token::Atom(token.keyword().into_bytes())).collect()
}

fn tail(tokens: &[Token], from: usize) -> &[Token] {
    tokens.get(from..).unwrap_or_default()
}

/// A status response: a code that the pattern doesn't name is a difference, `[...]` stands for any or none.
fn match_status(pattern: &[Token], got: &[Token], bound: &mut Variables) -> bool {
    let parts = |tokens: &[Token]| {
        let code = tokens.iter().find_map(|token| if let Token::Code(code) = token { Some(code.clone()) } else { None });
        let text = tokens.iter().find_map(|token| if let Token::Text(text) = token { Some(text.clone()) } else { None });
        let head: Vec<Token> = tokens.iter().filter(|token| matches!(token, Token::Atom(_))).cloned().collect();
        (head, code, text.unwrap_or_default())
    };
    let ((wanted_head, wanted_code, wanted_text), (head, code, text)) = (parts(pattern), parts(got));
    if !match_sequence(&wanted_head, &head, bound) || !match_text(&wanted_text, &text, bound) {
        return false;
    }
    match (wanted_code, code) {
        (None, None) => true,
        (Some(wanted), None) => wanted.len() == 1 && is_rest(&wanted[0]),
        (None, Some(_)) => false,
        (Some(wanted), Some(code)) => match_code(&wanted, &code, bound),
    }
}

fn match_code(wanted: &[Token], code: &[Token], bound: &mut Variables) -> bool {
    if wanted.len() == 1 && is_rest(&wanted[0]) {
        return true;
    }
    match wanted.first().map(Token::keyword).as_deref() {
        Some("CAPABILITY") => head(wanted, code, 1, bound) && match_free(&upper(tail(wanted, 1)), &upper(tail(code, 1)), bound),
        Some("PERMANENTFLAGS" | "BADCHARSET") => {
            head(wanted, code, 1, bound) && match_each(tail(wanted, 1), tail(code, 1), Order::Free, bound)
        }
        _ => match_sequence(wanted, code, bound),
    }
}

/// Token by token, lists in the given order.
fn match_each(pattern: &[Token], got: &[Token], order: Order, bound: &mut Variables) -> bool {
    if pattern.len() == 1 && is_rest(&pattern[0]) {
        return true;
    }
    pattern.len() == got.len() && pattern.iter().zip(got).all(|(wanted, token)| match_token(wanted, token, order, bound))
}

fn match_sequence(pattern: &[Token], got: &[Token], bound: &mut Variables) -> bool {
    match_ordered(pattern, got, Order::Kept, bound)
}

fn match_ordered(pattern: &[Token], got: &[Token], order: Order, bound: &mut Variables) -> bool {
    match pattern.split_first() {
        None => got.is_empty(),
        Some((first, rest)) if is_rest(first) => (0..=got.len()).any(|skip| {
            let mut tried = bound.clone();
            let fits = match_ordered(rest, &got[skip..], order, &mut tried);
            if fits {
                *bound = tried;
            }
            fits
        }),
        Some((first, rest)) => got
            .split_first()
            .is_some_and(|(token, others)| match_token(first, token, order, bound) && match_ordered(rest, others, order, bound)),
    }
}

/// A set: every pattern takes one token that no other took; `...` takes what is left.
fn match_free(pattern: &[Token], got: &[Token], bound: &mut Variables) -> bool {
    let wanted: Vec<&[Token]> = pattern.iter().filter(|token| !is_rest(token)).map(std::slice::from_ref).collect();
    let groups: Vec<&[Token]> = got.iter().map(std::slice::from_ref).collect();
    let open = pattern.iter().any(is_rest);
    (open || wanted.len() == groups.len()) && take_each(&wanted, &groups, &mut vec![false; groups.len()], bound)
}

/// `(UID 3 ENVELOPE ...)`: a value may be `...`; a `...` at the end stands for further pairs.
fn match_pairs(pattern: &[Token], got: &[Token], bound: &mut Variables) -> bool {
    let open = pattern.len() % 2 == 1 && pattern.last().is_some_and(is_rest);
    let pairs = if open { &pattern[..pattern.len() - 1] } else { pattern };
    if !pairs.len().is_multiple_of(2) || !got.len().is_multiple_of(2) {
        return false;
    }
    let wanted: Vec<&[Token]> = pairs.chunks(2).collect();
    let groups: Vec<&[Token]> = got.chunks(2).collect();
    (open || wanted.len() == groups.len()) && take_each(&wanted, &groups, &mut vec![false; groups.len()], bound)
}

fn take_each(wanted: &[&[Token]], groups: &[&[Token]], taken: &mut Vec<bool>, bound: &mut Variables) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return true };
    for (index, group) in groups.iter().enumerate() {
        if taken[index] {
            continue;
        }
        let mut tried = bound.clone();
        if match_group(first, group, &mut tried) {
            taken[index] = true;
            if take_each(rest, groups, taken, &mut tried) {
                *bound = tried;
                return true;
            }
            taken[index] = false;
        }
    }
    false
}

fn match_group(wanted: &[Token], group: &[Token], bound: &mut Variables) -> bool {
    if let ([key, value], [got_key, got_value]) = (wanted, group) {
        let order = match key.keyword().as_str() {
            "FLAGS" => Order::Free,
            "BODY" | "BODYSTRUCTURE" => Order::Structure,
            _ => Order::Kept,
        };
        return key.keyword() == got_key.keyword() && (is_rest(value) || match_token(value, got_value, order, bound));
    }
    wanted.len() == group.len() && wanted.iter().zip(group).all(|(one, other)| match_token(one, other, Order::Kept, bound))
}

fn match_token(wanted: &Token, got: &Token, order: Order, bound: &mut Variables) -> bool {
    match (wanted, got) {
        (Token::List(wanted), Token::List(got)) => match order {
            Order::Kept | Order::Structure => match_ordered(wanted, got, order, bound),
            Order::Free => match_free(wanted, got, bound),
            Order::Pairs => match_pairs(wanted, got, bound),
        },
        (Token::Literal(wanted), Token::Literal(got) | Token::Quoted(got) | Token::Atom(got)) => wanted == got,
        (Token::Quoted(_), Token::Atom(got)) if got.eq_ignore_ascii_case(b"NIL") => false,
        (Token::Atom(wanted), Token::Quoted(_) | Token::Literal(_)) if wanted.eq_ignore_ascii_case(b"NIL") => false,
        (Token::Quoted(wanted), Token::Quoted(got) | Token::Literal(got) | Token::Atom(got))
        | (Token::Atom(wanted), Token::Quoted(got) | Token::Literal(got) | Token::Atom(got)) => {
            match_text(wanted, got, bound) || (order == Order::Structure && wanted.eq_ignore_ascii_case(got))
        }
        _ => false,
    }
}

/// One word or text: `...` inside it is anything, `<v>` a variable, sets are compared as sets, system flags without case.
pub fn match_text(pattern: &[u8], got: &[u8], bound: &mut Variables) -> bool {
    if pattern.starts_with(b"\\") && pattern.eq_ignore_ascii_case(got) {
        return true;
    }
    let is_set = |text: &[u8]| {
        text.iter().any(|byte| b":,".contains(byte)) && text.iter().all(|byte| byte.is_ascii_digit() || b":,".contains(byte))
    };
    if (is_set(pattern) || is_set(got)) && numbers(pattern).is_some_and(|wanted| Some(wanted) == numbers(got)) {
        return true;
    }
    match_pieces(pattern, got, bound)
}

fn match_pieces(pattern: &[u8], got: &[u8], bound: &mut Variables) -> bool {
    if pattern.is_empty() {
        return got.is_empty();
    }
    if let Some(rest) = pattern.strip_prefix(b"...") {
        return (0..=got.len()).rev().any(|skip| {
            let mut tried = bound.clone();
            let fits = match_pieces(rest, &got[skip..], &mut tried);
            if fits {
                *bound = tried;
            }
            fits
        });
    }
    if let Some((name, rest)) = variable(pattern) {
        if let Some(value) = value_of(&name, bound) {
            return got.strip_prefix(value.as_slice()).is_some_and(|others| match_pieces(rest, others, bound));
        }
        let most = got.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        return (1..=most).rev().any(|length| {
            let mut tried = bound.clone();
            tried.insert(name.clone(), got[..length].to_vec());
            let fits = match_pieces(rest, &got[length..], &mut tried);
            if fits {
                *bound = tried;
            }
            fits
        });
    }
    got.first() == pattern.first() && match_pieces(&pattern[1..], &got[1..], bound)
}

/// `<name>` at the start of a text, and what follows it. Names begin with a lower-case letter.
pub fn variable(text: &[u8]) -> Option<(String, &[u8])> {
    let inner = text.strip_prefix(b"<")?;
    let end = inner.iter().position(|byte| *byte == b'>')?;
    let name = &inner[..end];
    let is_name = name.first().is_some_and(u8::is_ascii_lowercase)
        && name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_+-".contains(byte));
    is_name.then(|| (String::from_utf8_lossy(name).into_owned(), &inner[end + 1..]))
}

/// A variable's value; `<v+1>` and `<v-1>` count.
pub fn value_of(name: &str, bound: &Variables) -> Option<Vec<u8>> {
    let Some(place) = name.find(['+', '-']) else { return bound.get(name).cloned() };
    let base: i64 = std::str::from_utf8(bound.get(&name[..place])?).ok()?.parse().ok()?;
    let step: i64 = name[place..].parse().ok()?;
    Some((base + step).to_string().into_bytes())
}

/// The numbers of a UID or sequence set in its order; none if it is no set or too large to compare.
fn numbers(text: &[u8]) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for part in std::str::from_utf8(text).ok()?.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last - first > 100_000 {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, got: &str) -> bool {
        Pattern::parse(pattern.as_bytes()).unwrap().matches(got.as_bytes(), &mut Variables::new())
    }

    #[test]
    fn orders_that_are_free() {
        assert!(fits("* FLAGS (\\Seen \\Draft)", "* FLAGS (\\Draft \\Seen)"));
        assert!(!fits("* FLAGS (\\Seen)", "* FLAGS (\\Draft \\Seen)"));
        assert!(fits("* FLAGS (\\Seen ...)", "* FLAGS (\\Draft \\seen)"));
        assert!(fits("* 1 FETCH (UID 1 FLAGS (a b))", "* 1 FETCH (FLAGS (b a) UID 1)"));
        assert!(fits("* 1 FETCH (UID 1 ...)", "* 1 FETCH (FLAGS (b a) UID 1)"));
        assert!(fits("* 1 FETCH (ENVELOPE ... UID 1)", "* 1 FETCH (UID 1 ENVELOPE (NIL NIL))"));
        assert!(!fits("* 1 FETCH (UID 1)", "* 1 FETCH (FLAGS (b a) UID 1)"));
        assert!(fits("* SEARCH 3 2", "* SEARCH 2 3"));
        assert!(!fits("* SEARCH 3", "* SEARCH 2 3"));
        assert!(fits("* SEARCH 2:4,9", "* SEARCH 2 3 4 9"));
        assert!(fits("* SEARCH", "* SEARCH"));
        assert!(!fits("* SORT 3 2", "* SORT 2 3"));
        assert!(fits("* STATUS x (MESSAGES 1 UIDNEXT 2)", "* STATUS \"x\" (UIDNEXT 2 MESSAGES 1)"));
        assert!(fits("* LIST (...) \"/\" a", "* LIST (\\HasNoChildren) \"/\" \"a\""));
        assert!(fits("* LIST (\\noselect ...) NIL \"\"", "* LIST (\\Noselect) NIL \"\""));
    }

    #[test]
    fn codes_are_explicit() {
        assert!(fits("a OK ...", "a OK done"));
        assert!(!fits("a OK ...", "a OK [X] done"));
        assert!(fits("* ...", "* OK [X] done") && fits("* ...", "* 1 EXISTS") && !fits("* ...", "a OK done"));
        assert!(fits("a OK [...] ...", "a OK [X y] done"));
        assert!(fits("a OK [...] ...", "a OK done"));
        assert!(!fits("a NO [X] ...", "a NO done"));
        assert!(fits("a OK [COPYUID <v> 1,2,3 4:6] ...", "a OK [COPYUID 9 1:3 4:6] x"));
        assert!(fits("* OK [CAPABILITY IMAP4rev1 ...] ...", "* OK [CAPABILITY X IMAP4rev1] hi"));
        assert!(!fits("* OK [CAPABILITY IMAP4rev2 ...] ...", "* OK [CAPABILITY X IMAP4rev1] hi"));
    }

    #[test]
    fn variables_bind_once() {
        let mut bound = Variables::new();
        let first = Pattern::parse(b"* OK [UIDVALIDITY <v>] ...").unwrap();
        assert!(first.matches(b"* OK [UIDVALIDITY 7] x", &mut bound));
        assert!(first.matches(b"* OK [UIDVALIDITY 7] y", &mut bound));
        assert!(!first.matches(b"* OK [UIDVALIDITY 8] y", &mut bound));
        assert!(Pattern::parse(b"* OK [UIDNEXT <v+1>] ...").unwrap().matches(b"* OK [UIDNEXT 8] y", &mut bound));
        assert!(fits("* 1 FETCH (BODY[] \"<a@b>\")", "* 1 FETCH (BODY[] {5}\r\n<a@b>)"));
        assert!(!fits("* 1 FETCH (X NIL)", "* 1 FETCH (X \"NIL\")"));
    }
}
