//! IDX files of unsigned bytes, the format of MNIST.
//!
//! A big-endian 32-bit magic number (two zero bytes, the element type, 8 for unsigned bytes, and the number
//! of dimensions), each dimension as a big-endian 32-bit number, then the elements, last dimension
//! fastest.

use super::files::DataFile;
use crate::words::counted;
use crate::Result;

/// The elements of `file`, whose dimensions must be exactly `dims`.
///
/// # Errors
/// A missing, truncated or too long file, another magic number or other dimensions.
pub(super) fn read(file: &DataFile<'_>, dims: &[u32]) -> Result<Vec<u8>> {
    let header = 4 * (1 + dims.len());
    let elements: usize = dims.iter().map(|&dim| dim as usize).product();
    let mut bytes = file.read(header, header + elements, |head| check(file, head, dims))?;
    bytes.drain(..header);
    Ok(bytes)
}

fn check(file: &DataFile<'_>, header: &[u8], dims: &[u32]) -> Result<()> {
    let mut words = header
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    let magic = 0x0800 | dims.len() as u32;
    let found = words.next().unwrap_or_default();
    if found != magic {
        return Err(file.error(format!(
            "wrong magic number: expected {magic:#010x} (unsigned bytes, {}), found {found:#010x}",
            counted(dims.len(), "dimension")
        )));
    }
    let found: Vec<u32> = words.collect();
    if found != dims {
        return Err(file.error(format!(
            "wrong dimensions: expected {dims:?}, found {found:?}"
        )));
    }
    Ok(())
}
