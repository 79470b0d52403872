//! The bytes and labels inside a pickle of CIFAR-10 or CIFAR-100, without running it.
//!
//! A pickle is a program for a stack machine. Nothing here has a stack: the operations are walked over for the strings and
//! numbers that they push. The pixels are the longest string; the labels are the numbers that follow the string `labels` or
//! `fine_labels`.
//!
//! Operations: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>.

/// What an operation pushes, as far as it matters.
enum Token<'a> {
    Text(&'a [u8]),
    Number(i64),
    Nothing,
}

/// The next operation and what comes after it; `None` for one that such files do not have.
fn next(bytes: &[u8]) -> Option<(Token<'_>, &[u8])> {
    let (&operation, rest) = bytes.split_first()?;
    let skip = |count: usize| Some((Token::Nothing, rest.get(count..)?));
    let number = |size: usize| -> Option<(i64, &[u8])> {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(rest.get(..size)?);
        Some((i64::from_le_bytes(wide), rest.get(size..)?))
    };
    let text = |size: usize| -> Option<(Token<'_>, &[u8])> {
        let (length, rest) = number(size)?;
        let length = usize::try_from(length).ok()?;
        Some((Token::Text(rest.get(..length)?), rest.get(length..)?))
    };
    let integer = |size: usize| {
        let (value, rest) = number(size)?;
        Some((Token::Number(value), rest))
    };
    let line = |from: &'_ [u8]| from.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
    match operation {
        // short and long strings, bytes and unicode
        b'U' | b'C' | 0x8c => text(1),
        b'T' | b'B' | b'X' => text(4),
        0x8d | 0x8e | 0x96 => text(8),
        b'K' => integer(1),
        b'M' => integer(2),
        b'J' => {
            let (value, rest) = number(4)?;
            Some((Token::Number((value as u32 as i32).into()), rest))
        }
        // module and name, a line each
        b'c' => {
            let first = line(rest)?;
            skip(first + line(&rest[first..])?)
        }
        // protocol, places in the memo, frame
        0x80 | b'q' | b'h' => skip(1),
        b'r' | b'j' => skip(4),
        0x95 => skip(8),
        // a number of any length
        0x8a => skip(1 + usize::from(*rest.first()?)),
        b'('
        | b')'
        | b'}'
        | b']'
        | b't'
        | b'e'
        | b'u'
        | b's'
        | b'a'
        | b'l'
        | b'd'
        | b'R'
        | b'b'
        | b'N'
        | b'0'
        | b'2'
        | 0x81
        | 0x85..=0x89
        | 0x93
        | 0x94 => skip(0),
        _ => None,
    }
}

/// Pixels and labels.
///
/// # Errors
/// A pickle that is cut off or of another kind.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u16>), String> {
    let other = || "is no pickle of CIFAR images, or a damaged one".to_owned();
    if bytes.first() != Some(&0x80) {
        return Err(other());
    }
    let (mut rest, mut pixels, mut labels) = (bytes, &[][..], Vec::new());
    let mut in_labels = false;
    while rest.first() != Some(&b'.') {
        let (token, after) = next(rest).ok_or_else(other)?;
        match token {
            Token::Text(text) => {
                in_labels = matches!(text, b"labels" | b"fine_labels");
                if text.len() > pixels.len() {
                    pixels = text;
                }
            }
            Token::Number(value) if in_labels => {
                labels.push(u16::try_from(value).map_err(|_| other())?);
            }
            Token::Number(_) | Token::Nothing => {}
        }
        rest = after;
    }
    Ok((pixels.to_vec(), labels))
}
