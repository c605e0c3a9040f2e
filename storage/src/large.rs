//! Large bodies: each a file of its own, on disk before the commit that names it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use crate::body::{BLOCK, BodyWriter, HEAD};
use crate::error::AppendError;
use crate::files::Files;
use crate::format::{BodyPlace, FORMAT, Identity};
use crate::record::{Body, BodyHash, BodySource};
use crate::room::Room;
use crate::segment::{LARGE_HEADER, Shelf};

const MAGIC: &[u8; 8] = b"CARILBDY";

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
        BodySource::File(file) => Bytes::from(fs::read(file.path()).map_err(|error| AppendError::of(&error))?),
        BodySource::Stored => return Err(AppendError::Failed(format!("body {} is not stored", body.hash))),
    };
    if bytes.len() as u64 == body.length && BodyHash::of(&bytes) == body.hash { Ok(bytes) } else { Err(wrong(body.hash)) }
}

/// What writing the file of a large body needs.
pub(crate) struct Desk<'a> {
    pub(crate) files: &'a Files,
    pub(crate) room: &'a Room,
    pub(crate) identity: &'a Identity,
}

/// Writes the file of a large body, under another name until it is on disk.
pub(crate) fn store(desk: &Desk<'_>, shelf: &Shelf, scratch: &Path, body: &Body) -> Result<BodyPlace, AppendError> {
    let files = desk.files;
    let written = write(desk, scratch, body).and_then(|stored| {
        let path = shelf.large_path(body.hash);
        files
            .rename(scratch, &path)
            .and_then(|()| files.sync_directory(path.parent().unwrap_or(&path)))
            .map_err(|error| AppendError::of(&error))?;
        Ok(BodyPlace { segment: 0, offset: LARGE_HEADER, stored, length: body.length })
    });
    if written.is_err() {
        let _ = fs::remove_file(scratch);
    }
    written
}

fn write(desk: &Desk<'_>, scratch: &Path, body: &Body) -> Result<u64, AppendError> {
    let Desk { files, room, identity } = desk;
    let mut source: Box<dyn Read + '_> = match &body.source {
        BodySource::Memory(bytes) => Box::new(&bytes[..]),
        BodySource::File(file) => Box::new(File::open(file.path()).map_err(|error| AppendError::of(&error))?),
        BodySource::Stored => return Err(AppendError::Failed(format!("body {} is not stored", body.hash))),
    };
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0_u64);
    let mut writer = BodyWriter::new(identity, body.hash, body.length);
    let mut block = Vec::with_capacity(BLOCK);
    let mut offset = LARGE_HEADER + HEAD as u64;
    let file = files.create(scratch).map_err(|error| AppendError::of(&error))?;
    loop {
        block.clear();
        let read = (&mut source).take(BLOCK as u64).read_to_end(&mut block);
        if read.map_err(|error| AppendError::of(&error))? == 0 {
            break;
        }
        hasher.update(&block);
        length += block.len() as u64;
        let bytes = writer.block(&block);
        // Others write too: what there was room for when it began may be gone.
        room.check_arriving(bytes.len() as u64)?;
        files.write_at(&file, &bytes, offset).map_err(|error| AppendError::of(&error))?;
        offset += bytes.len() as u64;
    }
    let (head, table, stored) = writer.finish();
    let sealed = files
        .write_at(&file, &table, offset)
        .and_then(|()| files.write_at(&file, &[header(identity), head].concat(), 0))
        .and_then(|()| files.sync(&file));
    sealed.map_err(|error| AppendError::of(&error))?;
    let is_right = length == body.length && *hasher.finalize().as_bytes() == body.hash.0;
    if is_right { Ok(stored) } else { Err(wrong(body.hash)) }
}
