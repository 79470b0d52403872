//! The whole content of a file, unpacked if it is gzipped.

use crate::data::files::GZIP;
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Most bytes that a gzipped file may unpack to: what says more would be a bomb.
const MAX_UNPACKED: u64 = 1 << 38;

/// The first bytes of a file, unpacked if need be; fewer only if it has fewer.
pub(super) fn head(path: &Path, count: usize) -> Result<Vec<u8>> {
    content(path, count as u64)
}

/// All of a file, unpacked if need be.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = content(path, MAX_UNPACKED)?;
    if bytes.len() as u64 == MAX_UNPACKED {
        return Err(Error::file(
            path,
            format!("unpacks to {MAX_UNPACKED} bytes or more"),
        ));
    }
    Ok(bytes)
}

fn content(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |err: std::io::Error| Error::file(path, err);
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let mut bytes = Vec::new();
    if reader.fill_buf().map_err(failed)?.starts_with(&GZIP) {
        let mut reader = MultiGzDecoder::new(reader).take(limit);
        let unpacked = reader.read_to_end(&mut bytes);
        unpacked.map_err(|err| Error::file(path, format!("damaged gzip data: {err}")))?;
    } else {
        reader.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}
