//! A zip archive of stored entries, as PyTorch writes them: each begins at a multiple of 64 bytes, so that it can be mapped.

use super::Problem;

const ALIGNMENT: usize = 64;
const LOCAL_BYTES: usize = 30;
/// Name and size of the extra field that fills up.
const EXTRA_BYTES: usize = 4;
/// PyTorch's own name of that field.
const PADDING: [u8; 2] = *b"FB";

/// The bytes of an archive of these entries.
///
/// # Errors
/// More than the 4 GB that its sizes have room for.
pub(super) fn archive(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Problem> {
    let size = |number: usize| {
        u32::try_from(number).map(u32::to_le_bytes).map_err(|_| {
            "is larger than the 4 GB of a zip archive: write a .safetensors".to_owned()
        })
    };
    let count = u16::try_from(entries.len());
    let count = count.map_err(|_| "has more tensors than a zip archive: write a .safetensors")?;
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let names = u16::try_from(name.len()).map_err(|_| "has a name that is too long")?;
        // version, flags, method, time and date, checksum, sizes, length of the name
        let mut common = vec![10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend([size(content.len())?; 2].concat());
        common.extend(names.to_le_bytes());
        directory.extend(b"PK\x01\x02\x0a\x00");
        directory.extend(&common);
        directory.extend([0; 12]);
        directory.extend(size(archive.len())?);
        directory.extend(name.as_bytes());
        let start = archive.len() + LOCAL_BYTES + name.len() + EXTRA_BYTES;
        let padding = start.next_multiple_of(ALIGNMENT) - start;
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(((EXTRA_BYTES + padding) as u16).to_le_bytes());
        archive.extend(name.as_bytes());
        archive.extend(PADDING);
        archive.extend((padding as u16).to_le_bytes());
        archive.resize(archive.len() + padding, 0);
        archive.extend(content);
    }
    let at = size(archive.len())?;
    let length = size(directory.len())?;
    archive.append(&mut directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend([count.to_le_bytes(); 2].concat());
    archive.extend(length);
    archive.extend(at);
    archive.extend([0, 0]);
    Ok(archive)
}
