//! The small pieces of every command: words, strings, numbers, sets, flags, dates (RFC 3501 §9).

use std::borrow::Cow;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{take, take_while1};
use nom::character::complete::{char, u32 as decimal_u32, u64 as decimal_u64};
use nom::combinator::{map, opt};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{separated_list0, separated_list1};
use nom::sequence::{delimited, preceded};

use super::{Cause, Fail, Parsed};
use crate::command::Tag;
use crate::date::{Day, InternalDate};
use crate::flag::{Flag, FlagSet, Keyword, SystemFlag};
use crate::mailbox_name::{MailboxName, NameFormat, decode_text};
use crate::set::{SequenceSet, SetItem, SetNumber};

/// No alternative is tried behind this: what stands here cannot be right.
pub(crate) fn fail<'a, T>(input: &'a [u8], expected: &'static str) -> Parsed<'a, T> {
    Err(nom::Err::Failure(Fail { rest: input.len(), cause: Cause::Expected(expected) }))
}

/// As [`fail`], for a name of a charset that is not known.
pub(crate) fn bad_charset<T>(input: &[u8]) -> Parsed<'_, T> {
    Err(nom::Err::Failure(Fail { rest: input.len(), cause: Cause::Charset }))
}

/// Says what was expected where the parser did not even begin.
pub(crate) fn expected<'a, T>(
    what: &'static str,
    mut parser: impl Parser<&'a [u8], Output = T, Error = Fail>,
) -> impl FnMut(&'a [u8]) -> Parsed<'a, T> {
    move |input| {
        parser.parse(input).map_err(|error| match error {
            nom::Err::Error(Fail { rest, cause: Cause::Expected(_) }) if rest == input.len() => {
                nom::Err::Error(Fail { rest, cause: Cause::Expected(what) })
            }
            other => other,
        })
    }
}

fn mismatch<T>(input: &[u8]) -> Parsed<'_, T> {
    Err(nom::Err::Error(Fail::from_error_kind(input, ErrorKind::Verify)))
}

/// `SP = %x20`, exactly one.
pub(crate) fn sp(input: &[u8]) -> Parsed<'_, ()> {
    expected("a space", map(char(' '), |_| ())).parse(input)
}

/// The end of the command; one space before it is tolerated.
pub(crate) fn end(input: &[u8]) -> Parsed<'_, ()> {
    let rest = input.strip_prefix(b" ").unwrap_or(input);
    if rest.is_empty() { Ok((rest, ())) } else { fail(input, "the end of the command") }
}

pub(crate) fn open(input: &[u8]) -> Parsed<'_, ()> {
    expected("an opening parenthesis", map(char('('), |_| ())).parse(input)
}

pub(crate) fn close(input: &[u8]) -> Parsed<'_, ()> {
    expected("a closing parenthesis", map(char(')'), |_| ())).parse(input)
}

/// `"(" [item *(SP item)] ")"`
pub(crate) fn parenthesised0<'a, T>(
    item: impl Parser<&'a [u8], Output = T, Error = Fail>,
) -> impl Parser<&'a [u8], Output = Vec<T>, Error = Fail> {
    delimited(open, separated_list0(sp, item), close)
}

/// `"(" item *(SP item) ")"`
pub(crate) fn parenthesised1<'a, T>(
    item: impl Parser<&'a [u8], Output = T, Error = Fail>,
) -> impl Parser<&'a [u8], Output = Vec<T>, Error = Fail> {
    delimited(open, separated_list1(sp, item), close)
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
pub(crate) fn tag(input: &[u8]) -> Parsed<'_, Tag> {
    let end = input.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(input.len());
    let (text, rest) = input.split_at(end);
    let tag = std::str::from_utf8(text).ok().and_then(Tag::new);
    tag.map_or_else(|| fail(input, "a tag: letters or digits in front of every command"), |tag| Ok((rest, tag)))
}

/// A name out of the grammar's own vocabulary: letters, digits, `.`, `-`, `=`. `BODY[` ends it.
pub(crate) fn word(input: &[u8]) -> Parsed<'_, &str> {
    let is_word_char = |byte: u8| byte.is_ascii_alphanumeric() || b".-=".contains(&byte);
    let (rest, text) = expected("a word", take_while1(is_word_char)).parse(input)?;
    ascii(input, text).map(|word| (rest, word))
}

/// The bytes as text, where a parser made sure that they are ASCII.
fn ascii<'a>(input: &'a [u8], text: &'a [u8]) -> Result<&'a str, nom::Err<Fail>> {
    std::str::from_utf8(text).map_err(|_| nom::Err::Error(Fail::from_error_kind(input, ErrorKind::Verify)))
}

/// `ATOM-CHAR = <any CHAR except atom-specials>`
const fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `atom = 1*ATOM-CHAR`
pub(crate) fn atom(input: &[u8]) -> Parsed<'_, &str> {
    let (rest, text) = expected("an atom", take_while1(is_atom_char)).parse(input)?;
    ascii(input, text).map(|atom| (rest, atom))
}

/// `astring = 1*ASTRING-CHAR / string`, `ASTRING-CHAR = ATOM-CHAR / resp-specials`
pub(crate) fn astring(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let plain = take_while1(|byte| is_atom_char(byte) || byte == b']');
    expected("a string", alt((map(plain, Cow::Borrowed), string))).parse(input)
}

/// `string = quoted / literal`
pub(crate) fn string(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    expected("a quoted string or a literal", alt((quoted, map(literal, Cow::Borrowed)))).parse(input)
}

/// `nstring = string / nil`
pub(crate) fn nstring(input: &[u8]) -> Parsed<'_, Option<Cow<'_, [u8]>>> {
    expected("a string or NIL", alt((map(nil, |()| None), map(string, Some)))).parse(input)
}

/// `nil = "NIL"`
pub(crate) fn nil(input: &[u8]) -> Parsed<'_, ()> {
    match input.split_first_chunk::<3>() {
        Some((word, rest)) if word.eq_ignore_ascii_case(b"NIL") => Ok((rest, ())),
        _ => mismatch(input),
    }
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, `QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials`;
/// with 8-bit characters (RFC 9051 §9): clients send them, whatever was enabled.
fn quoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let Some(body) = input.strip_prefix(b"\"") else { return mismatch(input) };
    let mut text = Cow::Borrowed(&[][..]);
    let mut rest = body;
    loop {
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(plain);
        if text.is_empty() {
            text = Cow::Borrowed(part);
        } else {
            text.to_mut().extend_from_slice(part);
        }
        match after {
            [b'"', rest @ ..] => return Ok((rest, text)),
            [b'\\', special @ (b'"' | b'\\'), behind @ ..] => {
                text.to_mut().push(*special);
                rest = behind;
            }
            [b'\\', ..] => return fail(after, "\\\" or \\\\ where a quoted string has a backslash"),
            _ => return fail(after, "the quotation mark that ends the string"),
        }
    }
}

/// `literal = "{" number "}" CRLF *CHAR8`: the frame reader has put it into the text and dropped the `+`.
fn literal(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, length) = delimited(char('{'), decimal_u32, nom::bytes::complete::tag("}\r\n")).parse(input)?;
    let (rest, bytes) = take(length).parse(rest)?;
    if memchr::memchr(0, bytes).is_some() { fail(input, "a literal without NUL") } else { Ok((rest, bytes)) }
}

/// An `astring` that is text for us: UTF-8.
pub(crate) fn text(input: &[u8]) -> Parsed<'_, String> {
    let (rest, bytes) = astring(input)?;
    match String::from_utf8(bytes.into_owned()) {
        Ok(text) => Ok((rest, text)),
        Err(_) => fail(input, "a text in UTF-8"),
    }
}

/// `number = 1*DIGIT`, 0 to 2^32-1
pub(crate) fn number(input: &[u8]) -> Parsed<'_, u32> {
    expected("a number below 2^32", decimal_u32).parse(input)
}

/// `number64 = 1*DIGIT`, 0 to 2^63-1 (RFC 9051 §9)
pub(crate) fn number64(input: &[u8]) -> Parsed<'_, u64> {
    let (rest, number) = expected("a number below 2^63", decimal_u64).parse(input)?;
    if i64::try_from(number).is_ok() { Ok((rest, number)) } else { fail(input, "a number below 2^63") }
}

/// `nz-number = digit-nz *DIGIT`
pub(crate) fn nz_number(input: &[u8]) -> Parsed<'_, u32> {
    let (rest, number) = number(input)?;
    if number == 0 { fail(input, "a number of at least 1") } else { Ok((rest, number)) }
}

/// `mailbox = "INBOX" / astring`
pub(crate) fn mailbox(input: &[u8], format: NameFormat) -> Parsed<'_, MailboxName> {
    let (rest, text) = expected("a mailbox name", astring).parse(input)?;
    match MailboxName::parse(&text, format) {
        Ok(name) => Ok((rest, name)),
        Err(error) => Err(nom::Err::Failure(Fail { rest: input.len(), cause: Cause::Name(error) })),
    }
}

/// `mailbox` as the reference of LIST: a text, not a name.
pub(crate) fn reference(input: &[u8], format: NameFormat) -> Parsed<'_, String> {
    let (rest, text) = expected("a reference (\"\" for none)", astring).parse(input)?;
    decoded(input, &text, format).map(|text| (rest, text))
}

/// `list-mailbox = 1*list-char / string`, `list-char = ATOM-CHAR / list-wildcards / resp-specials`
pub(crate) fn list_mailbox(input: &[u8], format: NameFormat) -> Parsed<'_, String> {
    let plain = take_while1(|byte| is_atom_char(byte) || matches!(byte, b']' | b'%' | b'*'));
    let (rest, text) = expected("a pattern", alt((map(plain, Cow::Borrowed), string))).parse(input)?;
    decoded(input, &text, format).map(|text| (rest, text))
}

fn decoded(input: &[u8], text: &[u8], format: NameFormat) -> Result<String, nom::Err<Fail>> {
    decode_text(text, format).map_err(|error| nom::Err::Failure(Fail { rest: input.len(), cause: Cause::Name(error) }))
}

/// ```text
/// sequence-set = (seq-number / seq-range) *("," sequence-set) / seq-last-command
/// seq-number   = nz-number / "*"
/// seq-range    = seq-number ":" seq-number
/// seq-last-command = "$"
/// ```
/// A deviation: in a range 0 is taken for 1 by the view; alone it is an error.
pub(crate) fn sequence_set(input: &[u8]) -> Parsed<'_, SequenceSet> {
    if let Some(rest) = input.strip_prefix(b"$") {
        return Ok((rest, SequenceSet::Saved));
    }
    let (rest, items) = expected("a set of numbers such as 1:3,7,9:*", separated_list1(char(','), set_item)).parse(input)?;
    if items.len() > SequenceSet::MAX_ITEMS {
        fail(input, "a set of fewer ranges")
    } else {
        Ok((rest, SequenceSet::Items(items)))
    }
}

fn set_item(input: &[u8]) -> Parsed<'_, SetItem> {
    let (rest, first) = set_number(input)?;
    let (rest, last) = opt(preceded(char(':'), set_number)).parse(rest)?;
    match (first, last) {
        (first, Some(last)) => Ok((rest, SetItem::Range(first, last))),
        (SetNumber::Number(0), None) => fail(input, "a number of at least 1"),
        (only, None) => Ok((rest, SetItem::One(only))),
    }
}

fn set_number(input: &[u8]) -> Parsed<'_, SetNumber> {
    expected("a number or *", alt((map(char('*'), |_| SetNumber::Star), map(number, SetNumber::Number)))).parse(input)
}

/// ```text
/// flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
/// flag-extension = "\" atom
/// ```
/// `None` for an extension, which is ignored. `\Recent` is no client's to set (RFC 3501 §2.3.2).
pub(crate) fn flag(input: &[u8]) -> Parsed<'_, Option<Flag>> {
    let Some(name) = input.strip_prefix(b"\\") else {
        let (rest, name) = expected("a flag", atom).parse(input)?;
        let keyword = Keyword::new(name);
        return keyword.map_or_else(|| fail(input, "a shorter keyword"), |keyword| Ok((rest, Some(Flag::Keyword(keyword)))));
    };
    let (rest, name) = expected("the name of a flag", atom).parse(name)?;
    if name.eq_ignore_ascii_case("Recent") {
        return fail(input, "a flag other than \\Recent");
    }
    let is_it = |flag: &SystemFlag| flag.name().strip_prefix('\\').is_some_and(|known| known.eq_ignore_ascii_case(name));
    Ok((rest, SystemFlag::ALL.into_iter().find(is_it).map(Flag::System)))
}

/// `flag-list = "(" [flag *(SP flag)] ")"`
pub(crate) fn flag_list(input: &[u8]) -> Parsed<'_, FlagSet> {
    map(parenthesised0(flag), flag_set).parse(input)
}

/// Flags as written, as a set, in O(n log n); of a keyword's spellings the first stays.
pub(crate) fn flag_set(flags: Vec<Option<Flag>>) -> FlagSet {
    let mut system = FlagSet::new();
    let mut keywords = Vec::new();
    for flag in flags.into_iter().flatten() {
        match flag {
            Flag::Keyword(keyword) => keywords.push(keyword),
            flag @ Flag::System(_) => system.insert(flag),
        }
    }
    FlagSet::from_parts(system.system_bits(), keywords)
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
pub(crate) fn date_time(input: &[u8]) -> Parsed<'_, InternalDate> {
    let (rest, text) = quoted(input)?;
    let date = std::str::from_utf8(&text).ok().and_then(InternalDate::parse);
    date.map_or_else(|| fail(input, "a date such as \"17-Jul-1996 02:44:25 -0700\""), |date| Ok((rest, date)))
}

/// `date = date-text / DQUOTE date-text DQUOTE`
pub(crate) fn date(input: &[u8]) -> Parsed<'_, Day> {
    let (rest, text) = expected("a date", alt((quoted, map(map(atom, str::as_bytes), Cow::Borrowed)))).parse(input)?;
    let day = std::str::from_utf8(&text).ok().and_then(Day::parse);
    day.map_or_else(|| fail(input, "a date such as 1-Feb-1994"), |day| Ok((rest, day)))
}
