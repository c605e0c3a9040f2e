//! Walks a segment and goes on behind damage: what is whole, what is not.

use std::fs::File;
use std::io;

use crate::files::read_up_to;
use crate::format::{GROUP_LENGTH, GroupHeader, GroupPlace, Identity};

const PIECE: usize = 1024 * 1024;

/// What a walk meets.
pub(crate) enum Found<'a> {
    /// A whole group.
    Group { offset: u64, header: GroupHeader, payload: &'a [u8] },
    /// Bytes that are no group; `header` where at least that is whole.
    Damage { start: u64, end: u64, header: Option<GroupHeader> },
}

/// A segment's bytes from `from` to `end`.
pub(crate) struct Extent<'a> {
    pub(crate) file: &'a File,
    pub(crate) identity: &'a Identity,
    pub(crate) segment: u64,
    pub(crate) from: u64,
    pub(crate) end: u64,
}

/// Calls `visit` for every group and every damaged place, ascending.
pub(crate) fn scan<E: From<io::Error>>(extent: &Extent<'_>, visit: &mut dyn FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
    let mut offset = extent.from;
    while offset < extent.end {
        let place = GroupPlace { segment: extent.segment, offset };
        let Some(header) = header_at(extent, offset)? else {
            let next = next_group(extent, offset + 1)?;
            visit(Found::Damage { start: offset, end: next, header: None })?;
            offset = next;
            continue;
        };
        let start = offset + GROUP_LENGTH as u64;
        let end = start.saturating_add(header.length);
        let payload = match usize::try_from(header.length) {
            Ok(length) if end <= extent.end => read_up_to(extent.file, start, length)?,
            _ => Vec::new(),
        };
        let is_whole = payload.len() as u64 == header.length
            && end <= extent.end
            && GroupHeader::checksum(&payload, extent.identity, place) == header.checksum;
        if is_whole {
            visit(Found::Group { offset, header, payload: &payload })?;
        } else {
            visit(Found::Damage { start: offset, end: end.min(extent.end), header: Some(header) })?;
        }
        offset = end.min(extent.end);
    }
    Ok(())
}

fn header_at(extent: &Extent<'_>, offset: u64) -> io::Result<Option<GroupHeader>> {
    if extent.end - offset < GROUP_LENGTH as u64 {
        return Ok(None);
    }
    let bytes = read_up_to(extent.file, offset, GROUP_LENGTH)?;
    Ok(GroupHeader::decode(&bytes, extent.identity, GroupPlace { segment: extent.segment, offset }))
}

/// Where the next group with a whole header begins; the end where there is none. Each candidate costs one small read: mail can be full of magics.
fn next_group(extent: &Extent<'_>, from: u64) -> io::Result<u64> {
    let mut offset = from;
    while offset < extent.end {
        let length = usize::try_from(extent.end - offset).unwrap_or(PIECE).min(PIECE);
        let bytes = read_up_to(extent.file, offset, length)?;
        let mut at = 0;
        while let Some(found) = bytes.get(at..).and_then(GroupHeader::find) {
            let candidate = offset + (at + found) as u64;
            if header_at(extent, candidate)?.is_some() {
                return Ok(candidate);
            }
            at += found + 1;
        }
        // A magic may lie across two pieces.
        offset =
            if bytes.len() < length || offset + length as u64 >= extent.end { extent.end } else { offset + length as u64 - 7 };
    }
    Ok(extent.end)
}
