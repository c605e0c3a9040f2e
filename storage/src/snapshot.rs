//! Values in sled: one over 4 KiB is cut in pieces. sled's leaves hold some 16 values, and a leaf over 128 KiB is a file of its own that sled never syncs and
//! writes anew at each change; beside a value of some MB small puts wait.

use bytes::Bytes;

use crate::format::Taker;

const PIECE: usize = 4 * 1024;
const WHOLE: u8 = 0;
const PIECES: u8 = 1;

fn piece_key(key: &[u8], index: u32) -> Vec<u8> {
    [b"P", key, &index.to_be_bytes()].concat()
}

fn check(value: &[u8]) -> [u8; 16] {
    let mut check = [0; 16];
    blake3::Hasher::new().update(value).finalize_xof().fill(&mut check);
    check
}

/// Adds a value to a batch.
pub(crate) fn put(batch: &mut ::sled::Batch, key: &[u8], value: &[u8]) {
    if value.len() <= PIECE {
        batch.insert(key, [&[WHOLE], value].concat());
        return;
    }
    let mut count = 0_u32;
    for piece in value.chunks(PIECE) {
        batch.insert(piece_key(key, count), piece);
        count += 1;
    }
    batch.insert(key, [&[PIECES], count.to_le_bytes().as_slice(), &check(value)].concat());
}

fn pieces(head: &[u8]) -> Option<(u32, [u8; 16])> {
    let mut taker = Taker(head);
    let [kind] = taker.array()?;
    if kind == PIECES { Some((taker.u32()?, taker.array()?)) } else { None }
}

/// Adds to a batch that the pieces of an older value from number `from` on go.
pub(crate) fn remove_pieces(batch: &mut ::sled::Batch, key: &[u8], older: &[u8], from: u32) {
    if let Some((count, _)) = pieces(older) {
        (from..count).for_each(|index| batch.remove(piece_key(key, index)));
    }
}

/// How many pieces a value of this length has.
pub(crate) fn piece_count(length: usize) -> u32 {
    if length <= PIECE { 0 } else { u32::try_from(length.div_ceil(PIECE)).unwrap_or(u32::MAX) }
}

/// The value whose head was read; nothing where pieces are missing or are those of another value.
pub(crate) fn get(tree: &::sled::Tree, key: &[u8], head: &::sled::IVec) -> ::sled::Result<Option<Bytes>> {
    let Some((count, expected)) = pieces(head) else {
        return Ok(head.split_first().filter(|(kind, _)| **kind == WHOLE).map(|(_, value)| Bytes::copy_from_slice(value)));
    };
    let mut value = Vec::new();
    for index in 0..count {
        match tree.get(piece_key(key, index))? {
            Some(piece) => value.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok((check(&value) == expected).then(|| value.into()))
}
