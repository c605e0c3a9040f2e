//! The bytes of segments: header, groups and their entries. docs/log-format.md says the same in prose.

use crate::record::{BodyHash, CommitNumber, Record};

/// The format that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// The length of a segment's header.
pub(crate) const HEADER_LENGTH: u64 = 128;
/// The length of a group's header.
pub(crate) const GROUP_LENGTH: usize = 104;
/// The length of an entry's head: kind and length.
pub(crate) const ENTRY_LENGTH: usize = 9;
/// The most bytes of records that one list of commits may have.
pub(crate) const LIST_LIMIT: usize = 48 * 1024 * 1024;
/// The most bytes of bodies in it that were not prepared.
pub(crate) const LIST_BODY_LIMIT: u64 = 16 * 1024 * 1024;

const SEGMENT_MAGIC: &[u8; 8] = b"CARILSEG";
const GROUP_MAGIC: &[u8; 8] = b"CARILGRP";

/// Who a store is, and the salt that keys all its checksums, so that no mail can pass for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) store: [u8; 16],
    pub(crate) salt: [u8; 32],
}

impl Identity {
    /// A keyed hash for one purpose.
    pub(crate) fn hasher(&self, purpose: &[u8; 8]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        hasher.update(purpose);
        hasher
    }
}

/// Takes bytes from the front of a slice.
pub(crate) struct Taker<'a>(pub(crate) &'a [u8]);

impl<'a> Taker<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// What a segment says of itself and of its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) generation: u32,
    pub(crate) number: u64,
    /// Where the segment before it ends: bytes behind that do not exist. 0 for the first.
    pub(crate) predecessor_end: u64,
    /// The newest commit before this segment.
    pub(crate) predecessor_commit: CommitNumber,
    /// The newest checkpoint known when the segment was made.
    pub(crate) checkpoint: CommitNumber,
}

/// Why a segment's header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Damaged,
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH as usize);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&identity.store);
        bytes.extend_from_slice(&identity.salt);
        for number in [self.number, self.predecessor_end, self.predecessor_commit, self.checkpoint] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = identity.hasher(b"segment ").update(&bytes).finalize();
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// The header and the identity in it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, Identity), HeaderError> {
        Self::fields(bytes).unwrap_or(Err(HeaderError::Damaged))
    }

    fn fields(bytes: &[u8]) -> Option<Result<(Self, Identity), HeaderError>> {
        let mut taker = Taker(bytes);
        let magic: [u8; 8] = taker.array()?;
        let format = taker.u32()?;
        let generation = taker.u32()?;
        let identity = Identity { store: taker.array()?, salt: taker.array()? };
        let header = Self {
            generation,
            number: taker.u64()?,
            predecessor_end: taker.u64()?,
            predecessor_commit: taker.u64()?,
            checkpoint: taker.u64()?,
        };
        let checksum: [u8; 32] = taker.array()?;
        let covered = bytes.get(..HEADER_LENGTH as usize - 32)?;
        Some(if &magic != SEGMENT_MAGIC || identity.hasher(b"segment ").update(covered).finalize() != checksum {
            Err(HeaderError::Damaged)
        } else if format != FORMAT {
            Err(HeaderError::Newer(format))
        } else {
            Ok((header, identity))
        })
    }
}

/// What stands before the entries of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// The bytes of its entries.
    pub(crate) length: u64,
    /// Its first commit; the next one to come where it has none.
    pub(crate) first: CommitNumber,
    /// How many commits it has; 0 for notes, bodies alone and footers.
    pub(crate) count: u32,
    /// The last commit known to be on disk when this was written.
    pub(crate) synced_commit: CommitNumber,
    /// Up to where this segment was known to be on disk.
    pub(crate) synced_offset: u64,
    /// The newest commit that is known to be in sled's files.
    pub(crate) checkpoint: CommitNumber,
    /// Of the entries.
    pub(crate) checksum: [u8; 32],
}

/// Where a group lies: checksums cover it, so that no copy passes for the original.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupPlace {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl GroupHeader {
    /// The first commit behind the group.
    pub(crate) fn next(&self) -> CommitNumber {
        self.first.saturating_add(u64::from(self.count))
    }

    pub(crate) fn encode(&self, identity: &Identity, place: GroupPlace) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(GROUP_LENGTH);
        bytes.extend_from_slice(GROUP_MAGIC);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        for number in [self.synced_commit, self.synced_offset, self.checkpoint] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.checksum);
        let check = Self::check(&bytes, identity, place);
        bytes.extend_from_slice(&check);
        bytes
    }

    fn check(covered: &[u8], identity: &Identity, place: GroupPlace) -> [u8; 16] {
        let mut hasher = identity.hasher(b"grp head");
        hasher.update(&place.segment.to_le_bytes()).update(&place.offset.to_le_bytes()).update(covered);
        let mut check = [0; 16];
        hasher.finalize_xof().fill(&mut check);
        check
    }

    pub(crate) fn decode(bytes: &[u8], identity: &Identity, place: GroupPlace) -> Option<Self> {
        let mut taker = Taker(bytes);
        if &taker.array::<8>()? != GROUP_MAGIC {
            return None;
        }
        let (length, first, count, _zero) = (taker.u64()?, taker.u64()?, taker.u32()?, taker.u32()?);
        let (synced_commit, synced_offset, checkpoint) = (taker.u64()?, taker.u64()?, taker.u64()?);
        let checksum = taker.array()?;
        let check: [u8; 16] = taker.array()?;
        let covered = bytes.get(..GROUP_LENGTH - 16)?;
        let header = Self { length, first, count, synced_commit, synced_offset, checkpoint, checksum };
        (Self::check(covered, identity, place) == check).then_some(header)
    }

    /// The checksum of a group's entries.
    pub(crate) fn checksum(payload: &[u8], identity: &Identity, place: GroupPlace) -> [u8; 32] {
        let mut hasher = identity.hasher(b"grp body");
        hasher.update(&place.segment.to_le_bytes()).update(&place.offset.to_le_bytes()).update(payload);
        *hasher.finalize().as_bytes()
    }

    /// Where in `bytes` the next group might begin.
    pub(crate) fn find(bytes: &[u8]) -> Option<usize> {
        let mut from = 0;
        loop {
            let found = from + bytes.get(from..)?.iter().position(|byte| *byte == GROUP_MAGIC[0])?;
            if bytes.get(found..)?.starts_with(GROUP_MAGIC) {
                return Some(found);
            }
            from = found + 1;
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A record, encoded by the codec.
    Record,
    /// A body: [`crate::body`].
    Body,
    /// Hash and length of a body in a file of its own.
    Large,
    /// A footer: hash, place and length of each body of the segment.
    Index,
    /// Nothing: room that healing left.
    Lost,
}

impl EntryKind {
    fn byte(self) -> u8 {
        match self {
            Self::Record => 1,
            Self::Body => 2,
            Self::Large => 3,
            Self::Index => 4,
            Self::Lost => 5,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Record, Self::Body, Self::Large, Self::Index, Self::Lost].into_iter().find(|kind| kind.byte() == byte)
    }

    /// What the head at the front of `bytes` says: the kind, and how many bytes of content follow.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut taker = Taker(bytes);
        let [byte] = taker.array()?;
        Some((Self::of(byte)?, usize::try_from(taker.u64()?).ok()?))
    }

    /// The head of an entry with this many bytes of content.
    pub(crate) fn head(self, length: u64) -> [u8; ENTRY_LENGTH] {
        let mut head = [0; ENTRY_LENGTH];
        let (kind, size) = head.split_at_mut(1);
        kind.fill(self.byte());
        size.copy_from_slice(&length.to_le_bytes());
        head
    }
}

/// An entry of a group; `offset` is that of its content within the group's entries.
pub(crate) struct Entry<'a> {
    pub(crate) kind: EntryKind,
    pub(crate) offset: usize,
    pub(crate) content: &'a [u8],
}

/// The entries of a group, ending with an error where they are none (which the checksum excludes). Zero bytes before an entry are room that healing left.
pub(crate) fn entries(payload: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, String>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        offset += payload.get(offset..)?.iter().take_while(|byte| **byte == 0).count();
        let rest = payload.get(offset..).filter(|rest| !rest.is_empty())?;
        let at = offset + ENTRY_LENGTH;
        let found =
            EntryKind::parse(rest).and_then(|(kind, length)| Some((kind, Taker(rest.get(ENTRY_LENGTH..)?).slice(length)?)));
        Some(match found {
            Some((kind, content)) => {
                offset = at + content.len();
                Ok(Entry { kind, offset: at, content })
            }
            None => {
                offset = payload.len();
                Err(format!("no entry at byte {} of a group", at - ENTRY_LENGTH))
            }
        })
    })
}

/// Where a body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyPlace {
    /// The segment's number; 0 for a file of its own.
    pub(crate) segment: u64,
    /// Where its content begins in the file.
    pub(crate) offset: u64,
    /// The bytes of its content in the file.
    pub(crate) stored: u64,
    /// The bytes of the body.
    pub(crate) length: u64,
}

impl BodyPlace {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.segment, self.offset, self.stored, self.length].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut taker = Taker(bytes);
        let place = Self { segment: taker.u64()?, offset: taker.u64()?, stored: taker.u64()?, length: taker.u64()? };
        taker.0.is_empty().then_some(place)
    }
}

/// The content of a footer, and of the entry for a body in a file of its own: hash and place of each body.
pub(crate) fn encode_places(places: &[(BodyHash, BodyPlace)]) -> Vec<u8> {
    places.iter().flat_map(|(hash, place)| hash.0.into_iter().chain(place.encode())).collect()
}

/// What [`encode_places`] made; empty where it is not that.
pub(crate) fn decode_places(bytes: &[u8]) -> Vec<(BodyHash, BodyPlace)> {
    let one = |chunk: &[u8]| {
        let mut taker = Taker(chunk);
        Some((BodyHash(taker.array()?), BodyPlace::decode(taker.0)?))
    };
    bytes.chunks(64).map_while(one).collect()
}

/// A record's bytes, in segments and in sled.
pub(crate) fn encode_record(record: &Record) -> Result<Vec<u8>, crate::codec::CodecError> {
    crate::codec::encode(record)
}
