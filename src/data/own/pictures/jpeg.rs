//! Whether a JPEG is whole. The decoder fills what is missing with grey and says nothing.

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
/// Markers inside a scan: restarts, and 0 for a byte of data that looks like a marker.
const IN_SCAN: [u8; 9] = [0, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7];

/// Whether the segments and scans of a JPEG go on to its end marker.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = match bytes {
        [0xff, START, rest @ ..] => rest,
        _ => return false,
    };
    loop {
        // a marker may be filled up with more of its first byte
        let Some(at) = rest.iter().position(|&byte| byte != 0xff) else {
            return false;
        };
        let (marker, after) = (rest[at], &rest[at + 1..]);
        if at == 0 {
            // no marker where one should be: the decoder decides
            return true;
        }
        if marker == END {
            return true;
        }
        let length = match after {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return false,
        };
        let Some(next) = after.get(length..) else {
            return false;
        };
        rest = match marker {
            SCAN => match next
                .windows(2)
                .position(|pair| pair[0] == 0xff && pair[1] != 0xff && !IN_SCAN.contains(&pair[1]))
            {
                Some(at) => &next[at..],
                None => return false,
            },
            _ => next,
        };
    }
}
