//! Large bodies: each a file of its own, on disk before the commit that names it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use crate::body::{BLOCK, BodyHead, BodyWriter, HEAD};
use crate::error::AppendError;
use crate::files::Files;
use crate::format::{BodyPlace, FORMAT, Identity};
use crate::record::{Body, BodyHash, BodySource};
use crate::segment::{LARGE_HEADER, Shelf};

const MAGIC: &[u8; 8] = b"CARILBDY";

pub(crate) fn refusal(error: &io::Error) -> AppendError {
    if error.kind() == io::ErrorKind::StorageFull { AppendError::DiskFull } else { AppendError::Failed(error.to_string()) }
}

fn wrong(hash: BodyHash) -> AppendError {
    AppendError::Failed(format!("the bytes of body {hash} are not what their name says"))
}

/// What stands before the content.
pub(crate) fn header(identity: &Identity) -> Vec<u8> {
    [MAGIC.as_slice(), &FORMAT.to_le_bytes(), &identity.store, &[0; 4]].concat()
}

/// The bytes of a body that is small enough for memory, checked against its name.
pub(crate) fn load(body: &Body) -> Result<Bytes, AppendError> {
    let bytes = match &body.source {
        BodySource::Memory(bytes) => bytes.clone(),
        BodySource::File(path) => Bytes::from(fs::read(path).map_err(|error| refusal(&error))?),
        BodySource::Stored => return Err(AppendError::Failed(format!("body {} is not stored", body.hash))),
    };
    if bytes.len() as u64 == body.length && BodyHash::of(&bytes) == body.hash { Ok(bytes) } else { Err(wrong(body.hash)) }
}

/// Writes the file of a large body, under another name until it is on disk. One that is there already stays.
pub(crate) fn store(
    files: &Files,
    shelf: &Shelf,
    scratch: &Path,
    identity: &Identity,
    body: &Body,
) -> Result<BodyPlace, AppendError> {
    let written = write(files, scratch, identity, body).and_then(|stored| {
        let path = shelf.large_path(body.hash);
        files
            .rename(scratch, &path)
            .and_then(|()| files.sync_directory(path.parent().unwrap_or(&path)))
            .map_err(|error| refusal(&error))?;
        Ok(BodyPlace { segment: 0, offset: LARGE_HEADER, stored, length: body.length })
    });
    if written.is_err() {
        let _ = fs::remove_file(scratch);
    }
    written
}

fn write(files: &Files, scratch: &Path, identity: &Identity, body: &Body) -> Result<u64, AppendError> {
    let mut source: Box<dyn Read + '_> = match &body.source {
        BodySource::Memory(bytes) => Box::new(&bytes[..]),
        BodySource::File(path) => Box::new(File::open(path).map_err(|error| refusal(&error))?),
        BodySource::Stored => return Err(AppendError::Failed(format!("body {} is not stored", body.hash))),
    };
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0_u64);
    let mut writer = BodyWriter::new(identity, body.hash, body.length);
    let mut block = Vec::with_capacity(BLOCK);
    let mut offset = LARGE_HEADER + HEAD as u64;
    let stored = (|| -> io::Result<_> {
        let file = files.create(scratch)?;
        loop {
            block.clear();
            if (&mut source).take(BLOCK as u64).read_to_end(&mut block)? == 0 {
                break;
            }
            hasher.update(&block);
            length += block.len() as u64;
            let bytes = writer.block(&block);
            files.write_at(&file, &bytes, offset)?;
            offset += bytes.len() as u64;
        }
        let (head, table, stored) = writer.finish();
        files.write_at(&file, &table, offset)?;
        files.write_at(&file, &[header(identity), head].concat(), 0)?;
        files.sync(&file)?;
        Ok(stored)
    })()
    .map_err(|error| refusal(&error))?;
    let is_right = length == body.length && *hasher.finalize().as_bytes() == body.hash.0;
    if is_right { Ok(stored) } else { Err(wrong(body.hash)) }
}

/// Where a large body lies, if its file is there and its head is whole.
pub(crate) fn place_of(shelf: &Shelf, identity: &Identity, hash: BodyHash) -> io::Result<BodyPlace> {
    let file = File::open(shelf.large_path(hash))?;
    let stored = file.metadata()?.len().saturating_sub(LARGE_HEADER);
    let head = crate::files::read_up_to(&file, LARGE_HEADER, HEAD)?;
    let head = BodyHead::decode(&head, stored, identity).filter(|head| head.hash == hash).ok_or(io::ErrorKind::InvalidData)?;
    Ok(BodyPlace { segment: 0, offset: LARGE_HEADER, stored, length: head.length })
}
