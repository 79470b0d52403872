//! Files of one's own data for the tests, and what reading them brings.

use crate::pictures::byte;
use flate2::{write::GzEncoder, Compression};
use inverse_flow::data::{load, DataConfig, Source, Splits};
use std::io::Write;
use std::path::Path;

pub fn config(path: &Path) -> DataConfig {
    DataConfig::new(Source::Own(path.to_path_buf()))
}

#[track_caller]
pub fn read(path: &Path) -> Splits {
    load(&config(path), 0).unwrap()
}

/// What is said about a file or folder that is refused, behind its name.
#[track_caller]
pub fn refused(path: &Path) -> String {
    let text = load(&config(path), 0).unwrap_err().to_string();
    assert!(
        text.starts_with(&path.parent().unwrap().display().to_string()),
        "{text}"
    );
    text
}

/// Bytes that differ from image to image.
pub fn bytes(count: usize, size: usize) -> Vec<u8> {
    (0..count * size)
        .map(|i| byte((i / size) as u32, (i % size) as u32, 1))
        .collect()
}

/// A `.npy` of version 1.
pub fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), data].concat()
}

/// An IDX file.
pub fn idx(dims: &[usize], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    file.extend(dims.iter().flat_map(|&dim| (dim as u32).to_be_bytes()));
    file.extend(data);
    file
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All images of three splits with their labels, sorted.
pub fn all(splits: &Splits) -> Vec<(Vec<u8>, u16)> {
    let mut all = Vec::new();
    for data in [&splits.train, &splits.val, &splits.test] {
        all.extend((0..data.len()).map(|i| (data.image(i).unwrap(), data.labels[i])));
    }
    all.sort();
    all
}
