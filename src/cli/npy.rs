//! Arrays of NumPy, as far as the program writes them and reads its own: in C's order, little-endian.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, version 1.0.

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// The numbers begin at a multiple of this.
const ALIGNED: usize = 64;

/// What comes before the numbers of an array.
pub fn header(dtype: &str, shape: &[u64]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let mut text = format!(
        "{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({}), }}",
        sizes.join(" ")
    );
    let before = MAGIC.len() + 2;
    let whole = (before + text.len() + 1).next_multiple_of(ALIGNED);
    text += &" ".repeat(whole - before - text.len() - 1);
    text.push('\n');
    let length = (text.len() as u16).to_le_bytes();
    [MAGIC, &length, text.as_bytes()].concat()
}

/// The shape of an array of `dtype`, and its bytes.
///
/// # Errors
/// What is wrong with it.
pub fn read<'a>(bytes: &'a [u8], dtype: &str) -> Result<(Vec<i64>, &'a [u8]), String> {
    let damaged = || "is no .npy file that this program wrote".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let [a, b, rest @ ..] = rest else {
        return Err(damaged());
    };
    let length = usize::from(u16::from_le_bytes([*a, *b]));
    let text = rest.get(..length).ok_or_else(damaged)?;
    let text = std::str::from_utf8(text).map_err(|_| damaged())?;
    let data = &rest[length..];
    if !text.contains(&format!("'{dtype}'")) || !text.contains("'fortran_order': False") {
        return Err(format!(
            "must be an array of {dtype} in C's order, its header says {}",
            text.trim()
        ));
    }
    let shape = text
        .split_once("'shape': (")
        .and_then(|(_, after)| after.split_once(')'))
        .ok_or_else(damaged)?
        .0;
    let sizes = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    let sizes: Option<Vec<i64>> = sizes.map(|size| size.parse().ok()).collect();
    Ok((sizes.ok_or_else(damaged)?, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_they_are_written() {
        for shape in [&[][..], &[7], &[50_000, 28, 28, 1]] {
            let mut array = header("<f4", shape);
            assert_eq!(array.len() % ALIGNED, 0);
            array.extend([1, 2, 3, 4]);
            let (read_shape, data) = read(&array, "<f4").unwrap();
            let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
            assert_eq!((read_shape, data), (shape, &[1, 2, 3, 4][..]));
            assert!(read(&array, "|u1").unwrap_err().contains("<f4"));
        }
        for damaged in [
            &b""[..],
            b"\x93NUMPY\x01\x00",
            b"\x93NUMPY\x01\x00\xff\xffx",
            b"PK",
        ] {
            assert!(read(damaged, "<f4").is_err());
        }
    }
}
