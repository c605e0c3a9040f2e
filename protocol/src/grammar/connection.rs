//! Commands that concern the connection: AUTHENTICATE, LOGIN (RFC 3501 §6.2).

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::combinator::map;

use super::Parsed;
use super::primitive::{astring, atom, expected, fail, sp, text};
use crate::command::Command;
use crate::text::{Secret, decode_base64};

/// ```text
/// login  = "LOGIN" SP userid SP password   ; RFC 3501 §9
/// userid = astring
/// password = astring
/// ```
pub(crate) fn login(input: &[u8]) -> Parsed<'_, Command> {
    let (rest, ()) = sp(input)?;
    let (rest, user) = expected("a user name", text).parse(rest)?;
    let (rest, ()) = sp(rest)?;
    let (rest, password) = expected("a password", astring).parse(rest)?;
    Ok((rest, Command::Login { user, password: Secret::new(password.into_owned()) }))
}

/// ```text
/// authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]   ; RFC 4959 §7
/// initial-resp = base64 / "="
/// ```
pub(crate) fn authenticate(input: &[u8]) -> Parsed<'_, Command> {
    let (rest, ()) = sp(input)?;
    let (rest, mechanism) = expected("the name of a SASL mechanism", atom).parse(rest)?;
    let mechanism = mechanism.to_ascii_uppercase();
    let Some(response) = rest.strip_prefix(b" ").filter(|response| !response.is_empty()) else {
        return Ok((rest, Command::Authenticate { mechanism, initial: None }));
    };
    let (rest, initial) = initial_response(response)?;
    Ok((rest, Command::Authenticate { mechanism, initial: Some(Secret::new(initial)) }))
}

fn initial_response(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    const WHAT: &str = "a response in base64, or =";
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let empty = map(char('='), |_| &b""[..]);
    let (rest, encoded) = expected(WHAT, alt((empty, take_while1(is_base64)))).parse(input)?;
    decode_base64(encoded).map_or_else(|| fail(input, WHAT), |response| Ok((rest, response)))
}
