//! ENVELOPE, BODY and BODYSTRUCTURE. Places in the message are not on the wire: they stay 0, as does a multipart's size.

use super::cursor::{Cursor, Parsed};
use crate::encode::MAX_STRUCTURE_DEPTH;
use crate::mime::{Address, BodyPart, Envelope, Parameters, PartContent};

pub(super) fn envelope(cursor: &mut Cursor<'_>) -> Parsed<Envelope> {
    cursor.expect(b'(', "an envelope")?;
    let date = cursor.nstring()?;
    cursor.blank()?;
    let envelope = Envelope {
        date,
        subject: cursor.nstring()?,
        from: addresses(cursor)?,
        sender: addresses(cursor)?,
        reply_to: addresses(cursor)?,
        to: addresses(cursor)?,
        cc: addresses(cursor)?,
        bcc: addresses(cursor)?,
        in_reply_to: blank_nstring(cursor)?,
        message_id: blank_nstring(cursor)?,
    };
    cursor.expect(b')', "the end of an envelope")?;
    Ok(envelope)
}

fn blank_nstring(cursor: &mut Cursor<'_>) -> Parsed<Option<Vec<u8>>> {
    cursor.blank()?;
    cursor.nstring()
}

fn addresses(cursor: &mut Cursor<'_>) -> Parsed<Vec<Address>> {
    cursor.blank()?;
    if cursor.nil() {
        return Ok(Vec::new());
    }
    cursor.list(|cursor| {
        cursor.expect(b'(', "an address")?;
        let name = cursor.nstring()?;
        let (route, mailbox, host) = (blank_nstring(cursor)?, blank_nstring(cursor)?, blank_nstring(cursor)?);
        cursor.expect(b')', "the end of an address")?;
        Ok(Address { name, route, mailbox, host })
    })
}

pub(super) fn body_structure(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<BodyPart> {
    if depth > MAX_STRUCTURE_DEPTH {
        return Err(cursor.error("parts that are less nested"));
    }
    cursor.expect(b'(', "a body structure")?;
    if cursor.is_at(b'(') { multipart(cursor, depth) } else { single(cursor, depth) }
}

fn multipart(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<BodyPart> {
    let mut parts = Vec::new();
    while cursor.is_at(b'(') {
        parts.push(body_structure(cursor, depth + 1)?);
        // Some servers write a blank between the parts.
        while cursor.take(b' ') {}
    }
    let subtype = text(cursor)?;
    let mut part =
        BodyPart { media_type: "MULTIPART".into(), subtype, content: PartContent::Multipart(parts), ..BodyPart::default() };
    if cursor.take(b' ') {
        part.parameters = parameters(cursor)?;
        common_extension(cursor, &mut part)?;
    }
    cursor.skip_rest_of_list()?;
    Ok(part)
}

fn single(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<BodyPart> {
    let media_type = text(cursor)?;
    cursor.blank()?;
    let subtype = text(cursor)?;
    cursor.blank()?;
    let parameters = parameters(cursor)?;
    let (id, description) = (blank_nstring(cursor)?, blank_nstring(cursor)?);
    cursor.blank()?;
    let encoding = cursor.nstring()?.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    cursor.blank()?;
    let size = cursor.number()?;
    let mut part = BodyPart { media_type, subtype, parameters, id, description, encoding, size, ..BodyPart::default() };
    if part.is_message_type() {
        cursor.blank()?;
        let envelope = envelope(cursor)?;
        cursor.blank()?;
        part.content = PartContent::Message(Box::new(envelope), Box::new(body_structure(cursor, depth + 1)?));
    }
    if part.is_text() || part.is_message_type() {
        cursor.blank()?;
        part.lines = Some(cursor.number()?);
    }
    if cursor.take(b' ') {
        part.md5 = cursor.nstring()?;
        common_extension(cursor, &mut part)?;
    }
    cursor.skip_rest_of_list()?;
    Ok(part)
}

fn text(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.string().map(|text| String::from_utf8_lossy(&text).into_owned())
}

fn parameters(cursor: &mut Cursor<'_>) -> Parsed<Parameters> {
    if cursor.nil() {
        return Ok(Parameters::new());
    }
    cursor.list(|cursor| {
        let attribute = text(cursor)?;
        cursor.blank()?;
        Ok((attribute, cursor.nstring()?.unwrap_or_default()))
    })
}

/// Disposition, language, location: each may be missing with all that follow it.
fn common_extension(cursor: &mut Cursor<'_>, part: &mut BodyPart) -> Parsed<()> {
    if !cursor.take(b' ') {
        return Ok(());
    }
    if !cursor.nil() {
        cursor.expect(b'(', "a disposition")?;
        let disposition = text(cursor)?;
        cursor.blank()?;
        part.disposition = Some((disposition, parameters(cursor)?));
        cursor.expect(b')', "the end of a disposition")?;
    }
    if !cursor.take(b' ') {
        return Ok(());
    }
    part.language = if cursor.is_at(b'(') { cursor.list(Cursor::string)? } else { cursor.nstring()?.into_iter().collect() };
    if cursor.take(b' ') {
        part.location = cursor.nstring()?;
    }
    Ok(())
}
