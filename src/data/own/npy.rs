//! NumPy's arrays: `\x93NUMPY`, a version, the length of a header, the header as a Python dictionary, the numbers.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Arrays of Python objects are pickles
//! and are never read.

use super::layout::{Array, Numbers};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The array that the whole of `bytes` is.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Array, String> {
    let damaged = || "damaged .npy header".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (length, start): (usize, usize) = match *rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 6),
        _ => return Err(damaged()),
    };
    let text = rest
        .get(start..start.saturating_add(length))
        .ok_or_else(damaged)?;
    let header = std::str::from_utf8(text).map_err(|_| damaged())?;
    let descr = value(header, "descr").ok_or_else(damaged)?;
    let shape = shape(value(header, "shape").ok_or_else(damaged)?).ok_or_else(damaged)?;
    match value(header, "fortran_order") {
        Some(order) if order.starts_with("False") => {}
        Some(order) if order.starts_with("True") => {
            if shape.len() > 1 {
                return Err("is stored in Fortran's order: save numpy.ascontiguousarray(x)".into());
            }
        }
        _ => return Err(damaged()),
    }
    let Some(dtype) = descr
        .strip_prefix('\'')
        .and_then(|rest| rest.split('\'').next())
    else {
        return Err("holds records or objects, which are not images".into());
    };
    let count = shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size))
        .ok_or_else(damaged)?;
    let data = &rest[start + length..];
    let size: usize = dtype
        .get(2..)
        .and_then(|size| size.parse().ok())
        .unwrap_or(0);
    if size > 0 && Some(data.len()) != count.checked_mul(size) {
        return Err(format!(
            "truncated: {shape:?} of {dtype} are {}, found {}",
            crate::words::counted(count.saturating_mul(size), "byte"),
            data.len()
        ));
    }
    Ok(Array {
        shape,
        numbers: numbers(dtype, data),
    })
}

/// What follows `'key':` in the dictionary.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("'{key}'");
    let after = &header[header.find(&quoted)? + quoted.len()..];
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

fn shape(text: &str) -> Option<Vec<usize>> {
    let inside = text.strip_prefix('(')?.split(')').next()?;
    let sizes = inside
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().ok()).collect()
}

/// The numbers of a dtype such as `|u1` or `<i8`.
pub(super) fn numbers(dtype: &str, data: &[u8]) -> Numbers {
    let big = dtype.starts_with('>');
    let signed = dtype.as_bytes().get(1) == Some(&b'i');
    let integers = |size: usize| {
        let words = data.chunks_exact(size).map(|word| {
            let mut wide = [0; 8];
            for (slot, &byte) in wide.iter_mut().zip(word) {
                *slot = byte;
            }
            if big {
                wide[..size].reverse();
            }
            let value = i64::from_le_bytes(wide);
            let unused = 64 - 8 * size as u32;
            // the sign of a shorter number fills the rest
            if signed {
                value << unused >> unused
            } else {
                value
            }
        });
        Numbers::Integers(words.collect())
    };
    match dtype.get(1..) {
        Some("u1") => Numbers::Bytes(data.to_vec()),
        Some("b1") => Numbers::Bytes(data.iter().map(|&bit| 255 * bit.min(1)).collect()),
        Some("i1") => integers(1),
        Some("u2" | "i2") => integers(2),
        Some("u4" | "i4") => integers(4),
        Some("u8" | "i8") => integers(8),
        _ => Numbers::Other(format!("numbers of dtype `{dtype}`")),
    }
}
