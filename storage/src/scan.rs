//! Walks a segment and goes on behind damage: what is whole, what is not.

use std::fs::File;
use std::io;

use crate::files::read_into;
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
    let mut window = Window { extent, start: 0, bytes: Vec::new() };
    let mut offset = extent.from;
    while offset < extent.end {
        let Some(header) = window.header(offset)? else {
            let next = window.next_group(offset + 1)?;
            visit(Found::Damage { start: offset, end: next, header: None })?;
            offset = next;
            continue;
        };
        let start = offset + GROUP_LENGTH as u64;
        let end = start.saturating_add(header.length);
        let Some(length) = usize::try_from(header.length).ok().filter(|_| end <= extent.end) else {
            return visit(Found::Damage { start: offset, end: extent.end, header: Some(header) });
        };
        let payload = window.bytes(start, length)?;
        let place = GroupPlace { segment: extent.segment, offset };
        if payload.len() == length && GroupHeader::checksum(payload, extent.identity, place) == header.checksum {
            visit(Found::Group { offset, header, payload })?;
        } else {
            visit(Found::Damage { start: offset, end, header: Some(header) })?;
        }
        offset = end;
    }
    Ok(())
}

/// The bytes of an extent, read some at a time: groups are mostly small, and many.
struct Window<'a> {
    extent: &'a Extent<'a>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// So many bytes from `offset` on; fewer at the end of the extent or of the file.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.extent.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let mut skip = skip.filter(|skip| skip.saturating_add(length) <= self.bytes.len());
        if skip.is_none() {
            read_into(self.extent.file, offset, length.max(PIECE).min(left), &mut self.bytes)?;
            (self.start, skip) = (offset, Some(0));
        }
        let from = skip.unwrap_or_default();
        let to = from.saturating_add(length).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    fn header(&mut self, offset: u64) -> io::Result<Option<GroupHeader>> {
        let (identity, segment) = (self.extent.identity, self.extent.segment);
        Ok(GroupHeader::decode(self.bytes(offset, GROUP_LENGTH)?, identity, GroupPlace { segment, offset }))
    }

    /// What of the bytes from `offset` on is in memory; nothing at the end.
    fn rest(&mut self, offset: u64) -> io::Result<&[u8]> {
        self.bytes(offset, GROUP_LENGTH)?;
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        Ok(skip.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default())
    }

    /// Where the next group with a whole header begins; the end where there is none. A candidate costs little: mail can be full of magics.
    fn next_group(&mut self, from: u64) -> io::Result<u64> {
        let mut offset = from;
        loop {
            let rest = self.rest(offset)?;
            let found = GroupHeader::find(rest);
            // A magic may lie across two pieces.
            let searched = rest.len().saturating_sub(GROUP_LENGTH - 1);
            match found {
                Some(at) if self.header(offset + at as u64)?.is_some() => return Ok(offset + at as u64),
                Some(at) => offset += at as u64 + 1,
                None if searched == 0 => return Ok(self.extent.end),
                None => offset += searched as u64,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { store: [1; 16], salt: [2; 32] };

    fn group(offset: u64, payload: &[u8]) -> Vec<u8> {
        let place = GroupPlace { segment: 1, offset };
        let header = GroupHeader {
            length: payload.len() as u64,
            first: 1,
            count: 0,
            synced_commit: 0,
            synced_offset: 0,
            checkpoint: 0,
            checksum: GroupHeader::checksum(payload, &IDENTITY, place),
        };
        [header.encode(&IDENTITY, place), payload.to_vec()].concat()
    }

    fn walk(bytes: &[u8]) -> Vec<(u64, usize)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let extent = Extent { file: file.as_file(), identity: &IDENTITY, segment: 1, from: 0, end: bytes.len() as u64 };
        let mut found = Vec::new();
        scan::<io::Error>(&extent, &mut |met| {
            if let Found::Group { offset, payload, .. } = met {
                assert_eq!(&bytes[offset as usize + GROUP_LENGTH..][..payload.len()], payload);
                found.push((offset, payload.len()));
            }
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn groups_of_every_length_round_a_piece_are_found_behind_damage_too() {
        for length in [0, 1, 500, PIECE - GROUP_LENGTH - 1, PIECE - GROUP_LENGTH, PIECE, 2 * PIECE + 7] {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (index, payload) in [length, 0, 3, length, 70].into_iter().enumerate() {
                let offset = bytes.len() as u64;
                bytes.extend(group(offset, &vec![b'C'; payload]));
                if index == 3 {
                    bytes[offset as usize + 3] ^= 1;
                } else {
                    expected.push((offset, payload));
                }
            }
            assert_eq!(walk(&bytes), expected, "{length}");
        }
    }

    /// One read of a piece for each of them would take minutes.
    #[test]
    fn a_message_full_of_magics_costs_no_more_than_another() {
        let mut bytes = b"CARILGRP".repeat(2 * PIECE / 8);
        bytes.truncate(2 * PIECE - 3);
        let offset = bytes.len() as u64;
        bytes.extend(group(offset, b"behind"));
        let begun = std::time::Instant::now();
        assert_eq!(walk(&bytes), [(offset, 6)]);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}
