//! Zip archives taken apart and put together, so that what is inside can be damaged behind right checksums.

/// Name and content of every entry, for archives whose entries are stored.
pub fn unpack(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number = |at: usize, bytes: usize| -> usize {
        let bytes = archive[at..at + bytes].iter().rev();
        bytes.fold(0, |sum, &byte| sum << 8 | usize::from(byte))
    };
    let end = archive.len() - 22;
    let (mut at, count) = (number(end + 16, 4), number(end + 10, 2));
    let mut entries = Vec::new();
    for _ in 0..count {
        let (name, size, header) = (number(at + 28, 2), number(at + 20, 4), number(at + 42, 4));
        let text = String::from_utf8(archive[at + 46..at + 46 + name].to_vec()).unwrap();
        let data = header + 30 + name + number(header + 28, 2);
        // TorchScript's code is packed and not needed
        if number(at + 10, 2) == 0 {
            entries.push((text, archive[data..data + size].to_vec()));
        }
        at += 46 + name + number(at + 30, 2) + number(at + 32, 2);
    }
    entries
}

/// An archive of these entries, stored.
pub fn pack(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend([(content.len() as u32).to_le_bytes(); 2].concat());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((archive.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(content);
    }
    let at = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend([(entries.len() as u16).to_le_bytes(); 2].concat());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0, 0]);
    archive
}
