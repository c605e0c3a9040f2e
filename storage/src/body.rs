//! A body's bytes on disk: a head, blocks of 64 KiB each compressed by itself where that pays, and a table with the length and checksum of each block.
//! So a part of a body is read and checked without reading the rest. The checksums name the hash and the block, not the place: a body can be moved.

use std::fs::File;
use std::io;

use bytes::Bytes;

use crate::error::ReadError;
use crate::files::read_up_to;
use crate::format::{BodyPlace, Identity, Taker};
use crate::record::BodyHash;

/// The bytes of a body in one block.
pub(crate) const BLOCK: usize = 64 * 1024;
/// The length of a body's head.
pub(crate) const HEAD: usize = 65;
const TABLE_ROW: usize = 20;
const MAGIC: &[u8; 4] = b"BODY";
const COMPRESSED: u32 = 1 << 31;
/// Below this, compression saves less than the disk's own blocks waste.
const COMPRESS_FROM: usize = 16 * 1024;
const COMPRESS_LEVEL: i32 = 1;

/// Writes a body block by block, for any destination.
pub(crate) struct BodyWriter<'a> {
    identity: &'a Identity,
    hash: BodyHash,
    length: u64,
    may_compress: bool,
    table: Vec<u8>,
    stored: u64,
    blocks: u32,
    is_compressed: bool,
}

impl<'a> BodyWriter<'a> {
    pub(crate) fn new(identity: &'a Identity, hash: BodyHash, length: u64) -> Self {
        let may_compress = length >= COMPRESS_FROM as u64;
        Self { identity, hash, length, may_compress, table: Vec::new(), stored: 0, blocks: 0, is_compressed: false }
    }

    /// One that compresses nothing.
    #[cfg(test)]
    pub(crate) fn plain(identity: &'a Identity, hash: BodyHash, length: u64) -> Self {
        Self { may_compress: false, ..Self::new(identity, hash, length) }
    }

    /// The bytes to store for the next block.
    pub(crate) fn block<'b>(&mut self, bytes: &'b [u8]) -> std::borrow::Cow<'b, [u8]> {
        let compressed = if self.may_compress { compress(bytes) } else { None };
        let flag = if compressed.is_some() { COMPRESSED } else { 0 };
        self.is_compressed |= compressed.is_some();
        let stored = compressed.map_or(std::borrow::Cow::Borrowed(bytes), std::borrow::Cow::Owned);
        // A block is at most 64 KiB, so its length fits beside the flag.
        self.table.extend_from_slice(&(stored.len() as u32 | flag).to_le_bytes());
        self.table.extend_from_slice(&block_check(self.identity, self.hash, self.blocks, &stored));
        self.stored += stored.len() as u64;
        self.blocks += 1;
        stored
    }

    /// The head, the table that goes behind the blocks, and the length of head, blocks and table.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<u8>, u64) {
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        head.push(u8::from(self.is_compressed));
        head.extend_from_slice(&self.hash.0);
        head.extend_from_slice(&self.length.to_le_bytes());
        head.extend_from_slice(&self.blocks.to_le_bytes());
        let content = HEAD as u64 + self.stored + self.table.len() as u64;
        let check = head_check(self.identity, &head, content);
        head.extend_from_slice(&check);
        (head, self.table, content)
    }
}

/// Appends a body's content to `buffer`.
pub(crate) fn encode(identity: &Identity, hash: BodyHash, bytes: &[u8], buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.resize(start + HEAD, 0);
    let mut writer = BodyWriter::new(identity, hash, bytes.len() as u64);
    for block in bytes.chunks(BLOCK) {
        buffer.extend_from_slice(&writer.block(block));
    }
    let (head, table, _) = writer.finish();
    if let Some(room) = buffer.get_mut(start..start + HEAD) {
        room.copy_from_slice(&head);
    }
    buffer.extend_from_slice(&table);
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let compressed = zstd::bulk::compress(bytes, COMPRESS_LEVEL).ok()?;
    (compressed.len() * 5 <= bytes.len() * 4).then_some(compressed)
}

fn short_hash(mut hasher: blake3::Hasher, bytes: &[u8]) -> [u8; 16] {
    let mut check = [0; 16];
    hasher.update(bytes).finalize_xof().fill(&mut check);
    check
}

fn block_check(identity: &Identity, hash: BodyHash, index: u32, stored: &[u8]) -> [u8; 16] {
    let mut hasher = identity.hasher(b"body blk");
    hasher.update(&hash.0).update(&index.to_le_bytes());
    short_hash(hasher, stored)
}

fn head_check(identity: &Identity, head: &[u8], content: u64) -> [u8; 16] {
    let mut hasher = identity.hasher(b"body hd ");
    hasher.update(&content.to_le_bytes());
    short_hash(hasher, head)
}

/// A body's head, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyHead {
    pub(crate) hash: BodyHash,
    pub(crate) length: u64,
    blocks: u32,
    is_compressed: bool,
    content: u64,
}

impl BodyHead {
    /// The head at the start of `bytes`, of a content that is `content` bytes long.
    pub(crate) fn decode(bytes: &[u8], content: u64, identity: &Identity) -> Option<Self> {
        let mut taker = Taker(bytes);
        if &taker.array::<4>()? != MAGIC {
            return None;
        }
        let [flags] = taker.array()?;
        let hash = BodyHash(taker.array()?);
        let (length, blocks) = (taker.u64()?, taker.u32()?);
        let check: [u8; 16] = taker.array()?;
        let is_right = head_check(identity, bytes.get(..HEAD - 16)?, content) == check
            && u64::from(blocks) == length.div_ceil(BLOCK as u64)
            && content >= HEAD as u64 + u64::from(blocks) * TABLE_ROW as u64;
        is_right.then_some(Self { hash, length, blocks, is_compressed: flags & 1 != 0, content })
    }

    fn table_offset(&self) -> u64 {
        self.content - u64::from(self.blocks) * TABLE_ROW as u64
    }

    /// The bytes that block `index` has when it is not compressed.
    fn block_length(&self, index: u32) -> usize {
        let before = u64::from(index) * BLOCK as u64;
        usize::try_from(self.length.saturating_sub(before)).unwrap_or(BLOCK).min(BLOCK)
    }

    /// The bytes of block `index` from what is stored.
    fn open(&self, row: &Row, index: u32, stored: &[u8], identity: &Identity) -> Option<Option<Vec<u8>>> {
        if block_check(identity, self.hash, index, stored) != row.check {
            return None;
        }
        if !row.is_compressed {
            return (stored.len() == self.block_length(index)).then_some(None);
        }
        let bytes = zstd::bulk::decompress(stored, self.block_length(index)).ok()?;
        (bytes.len() == self.block_length(index)).then_some(Some(bytes))
    }
}

struct Row {
    stored: usize,
    is_compressed: bool,
    check: [u8; 16],
}

impl Row {
    fn take(taker: &mut Taker<'_>) -> Option<Self> {
        let number = taker.u32()?;
        Some(Self { stored: (number & !COMPRESSED) as usize, is_compressed: number & COMPRESSED != 0, check: taker.array()? })
    }
}

/// The bytes of a body from its whole content.
pub(crate) fn decode(content: &Bytes, identity: &Identity) -> Option<(BodyHash, Bytes)> {
    let head = BodyHead::decode(content, content.len() as u64, identity)?;
    let table = usize::try_from(head.table_offset()).ok()?;
    let mut rows = Taker(content.get(table..)?);
    let mut at = HEAD;
    let mut whole = Vec::new();
    for index in 0..head.blocks {
        let row = Row::take(&mut rows)?;
        let end = at.checked_add(row.stored).filter(|end| *end <= table)?;
        let stored = content.get(at..end)?;
        match head.open(&row, index, stored, identity)? {
            None if head.is_compressed => whole.extend_from_slice(stored),
            None => {}
            Some(bytes) => whole.extend_from_slice(&bytes),
        }
        at = end;
    }
    let bytes = if head.is_compressed { Bytes::from(whole) } else { content.slice(HEAD..table) };
    (at == table && bytes.len() as u64 == head.length).then_some((head.hash, bytes))
}

fn failed(error: &io::Error) -> ReadError {
    ReadError::Failed(error.to_string())
}

/// A body, from where it lies.
pub(crate) fn read(file: &File, place: &BodyPlace, hash: BodyHash, identity: &Identity) -> Result<Bytes, ReadError> {
    let damaged = || ReadError::Damaged(format!("body {hash} at byte {} of segment {}", place.offset, place.segment));
    let length = usize::try_from(place.stored).map_err(|_| damaged())?;
    // A length that a damaged place claims must not make room for what the file cannot hold.
    if length > BLOCK * 16 && file.metadata().map_err(|error| failed(&error))?.len() < place.stored {
        return Err(damaged());
    }
    let content = Bytes::from(read_up_to(file, place.offset, length).map_err(|error| failed(&error))?);
    match decode(&content, identity) {
        Some((found, bytes)) if found == hash && content.len() == length => Ok(bytes),
        _ => Err(damaged()),
    }
}

/// Whether every block of a body is whole; reads some at a time.
pub(crate) fn is_whole(file: &File, place: &BodyPlace, hash: BodyHash, identity: &Identity) -> bool {
    const STEP: usize = 16 * BLOCK;
    if place.stored <= STEP as u64 {
        return read(file, place, hash, identity).is_ok();
    }
    let mut starts = (0..place.length).step_by(STEP);
    starts.all(|start| read_range(file, place, hash, start..start + STEP as u64, identity).is_ok())
}

/// A part of a body; reads only the blocks that it touches, the head and (all of it only for compressed bodies) the table.
pub(crate) fn read_range(
    file: &File,
    place: &BodyPlace,
    hash: BodyHash,
    range: std::ops::Range<u64>,
    identity: &Identity,
) -> Result<Bytes, ReadError> {
    let end = range.end.min(place.length);
    if range.start >= end {
        return Ok(Bytes::new());
    }
    if place.stored <= BLOCK as u64 / 4 {
        let whole = read(file, place, hash, identity)?;
        let clip = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
        return Ok(whole.slice(clip(range.start)..clip(end)));
    }
    let damaged = || ReadError::Damaged(format!("body {hash} at byte {} of segment {}", place.offset, place.segment));
    let at = |offset: u64, length: usize| {
        let bytes = read_up_to(file, place.offset.saturating_add(offset), length).map_err(|error| failed(&error))?;
        if bytes.len() == length { Ok(bytes) } else { Err(damaged()) }
    };
    let head =
        BodyHead::decode(&at(0, HEAD)?, place.stored, identity).filter(|head| head.hash == hash && head.length == place.length);
    let head = head.ok_or_else(damaged)?;
    let first = u32::try_from(range.start / BLOCK as u64).map_err(|_| damaged())?;
    let last = u32::try_from((end - 1) / BLOCK as u64).map_err(|_| damaged())?;
    // Without compression every block before lies at its own place, so the rows before are not needed.
    let from_row = if head.is_compressed { 0 } else { first };
    let rows = at(head.table_offset() + u64::from(from_row) * TABLE_ROW as u64, (last - from_row + 1) as usize * TABLE_ROW)?;
    let mut rows = Taker(&rows);
    let mut offset = HEAD as u64 + u64::from(from_row) * BLOCK as u64;
    let mut out = Vec::with_capacity((last - first + 1) as usize * BLOCK);
    for index in from_row..=last {
        let row = Row::take(&mut rows).ok_or_else(damaged)?;
        if index >= first {
            if row.stored > BLOCK {
                return Err(damaged());
            }
            let stored = at(offset, row.stored)?;
            let opened = head.open(&row, index, &stored, identity).ok_or_else(damaged)?;
            out.extend_from_slice(opened.as_deref().unwrap_or(&stored));
        }
        offset += row.stored as u64;
    }
    let skip = usize::try_from(range.start - u64::from(first) * BLOCK as u64).map_err(|_| damaged())?;
    let length = usize::try_from(end - range.start).map_err(|_| damaged())?;
    let out = Bytes::from(out);
    if skip + length > out.len() { Err(damaged()) } else { Ok(out.slice(skip..skip + length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDENTITY: Identity = Identity { store: [1; 16], salt: [2; 32] };

    fn stored(bytes: &[u8]) -> (tempfile::NamedTempFile, BodyPlace, BodyHash) {
        let hash = BodyHash::of(bytes);
        let mut content = b"before".to_vec();
        encode(&IDENTITY, hash, bytes, &mut content);
        let stored = content.len() as u64 - 6;
        content.extend_from_slice(b"behind");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        (file, BodyPlace { segment: 1, offset: 6, stored, length: bytes.len() as u64 }, hash)
    }

    fn mixed(length: usize) -> Vec<u8> {
        // The first half compresses, the second does not.
        let noise = blake3::Hasher::new().update(b"noise").finalize_xof();
        let mut bytes = vec![b'a'; length];
        let mut noise = noise;
        noise.fill(&mut bytes[length / 2..]);
        bytes
    }

    #[test]
    fn every_length_round_a_block_comes_back_and_what_compresses_is_smaller() {
        for length in [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 7] {
            let bytes = mixed(length);
            let (file, place, hash) = stored(&bytes);
            assert_eq!(read(file.as_file(), &place, hash, &IDENTITY).unwrap(), bytes);
            if length > BLOCK {
                assert!(place.stored < length as u64);
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_never_served() {
        let bytes = mixed(3 * BLOCK);
        let (file, place, hash) = stored(&bytes);
        let good = std::fs::read(file.path()).unwrap();
        for at in (6..6 + place.stored as usize).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(file.path(), &bad).unwrap();
            assert!(read(file.as_file(), &place, hash, &IDENTITY).is_err(), "byte {at}");
            for start in [0, 70_000, 190_000] {
                if let Ok(part) = read_range(file.as_file(), &place, hash, start..start + 100, &IDENTITY) {
                    assert_eq!(part, bytes[start as usize..start as usize + 100], "byte {at}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_range_is_the_slice(length in 0_usize..300_000, start in 0_u64..310_000, count in 0_u64..310_000, zeros: bool) {
            let bytes = if zeros { vec![0; length] } else { mixed(length)[length / 2..].to_vec() };
            let (file, place, hash) = stored(&bytes);
            let part = read_range(file.as_file(), &place, hash, start..start + count, &IDENTITY).unwrap();
            let clip = |at: u64| (at as usize).min(bytes.len());
            prop_assert_eq!(&part[..], &bytes[clip(start)..clip(start + count)]);
        }
    }
}
