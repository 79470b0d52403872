//! The bytes of TensorBoard's event files: records of the messages `Event` and `Summary`, as far as a run needs them.
//!
//! ```text
//! record   length u64 | masked CRC-32C of the length | message | masked CRC-32C of the message     little-endian
//! masked   (crc >> 15 | crc << 17) + 0xa282ead8
//! ```
//!
//! Source: TensorFlow, `lib/io/record_writer.h`, `core/util/event.proto` and `core/framework/summary.proto`, whose numbers of
//! fields stand in the calls below.

use std::io::{Read, Result, Seek, SeekFrom};

/// What an event tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told<'a> {
    /// The first event of every file.
    Version,
    /// A session begins with this step: what older files say about it and later ones does not count any more.
    SessionStart,
    /// Numbers with their tags.
    Scalars(&'a [(&'static str, f64)]),
    /// A PNG file.
    Picture(&'static str, &'a [u8]),
    /// Markdown.
    Text(&'static str, &'a str),
}

/// A record of one event; `wall_time` is in seconds since 1970.
pub(super) fn record(wall_time: f64, step: u64, told: Told<'_>) -> Vec<u8> {
    let event = Message::default().double(1, wall_time).varint(2, step);
    let event = match told {
        Told::Version => event.bytes(3, b"brain.Event:2"),
        // SessionLog.START
        Told::SessionStart => event.message(7, &Message::default().varint(1, 1)),
        Told::Scalars(numbers) => {
            let values = numbers.iter().map(|(tag, number)| {
                let value = Message::default().bytes(1, tag.as_bytes());
                value.float(2, *number as f32)
            });
            event.message(5, &summary(values))
        }
        Told::Picture(tag, png) => {
            // the size stands at the beginning of a PNG file
            let size = |at: usize| {
                let bytes = png.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                u64::from(bytes.map_or(0, u32::from_be_bytes))
            };
            let image = Message::default()
                .varint(1, size(20))
                .varint(2, size(16))
                // RGB
                .varint(3, 3)
                .bytes(4, png);
            let value = Message::default().bytes(1, tag.as_bytes());
            event.message(5, &summary([value.message(4, &image)]))
        }
        Told::Text(tag, text) => {
            let plugin = Message::default().bytes(1, b"text");
            let shape = Message::default().message(2, &Message::default().varint(1, 1));
            let tensor = Message::default()
                // DT_STRING
                .varint(1, 7)
                .message(2, &shape)
                .bytes(8, text.as_bytes());
            let value = Message::default()
                .bytes(1, tag.as_bytes())
                .message(8, &tensor)
                .message(9, &Message::default().message(1, &plugin));
            event.message(5, &summary([value]))
        }
    };
    framed(&event.0)
}

fn summary(values: impl IntoIterator<Item = Message>) -> Message {
    let values = values.into_iter();
    values.fold(Message::default(), |all, value| all.message(1, &value))
}

/// A message of protocol buffers that is being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// A number of bytes that depends on its size, seven bits in each.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.number(field << 3 | kind);
    }

    fn varint(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.number(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, 2);
        self.number(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked(message).to_le_bytes());
    record
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's cyclic redundancy check.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)];
    !bytes.iter().fold(!0, step)
}

/// What each value of a byte does to the check.
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = crc >> 1 ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The length in bytes of a file's events up to `step`: what follows is later, or cut off, or no event of ours.
pub(super) fn length_up_to(step: u64, file: &mut (impl Read + Seek)) -> Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut place = 0;
    loop {
        // the step is the second field of an event, after 9 bytes of the first, and has at most 11 with its key
        file.seek(SeekFrom::Start(place))?;
        let mut start = Vec::new();
        file.by_ref().take(12 + 9 + 11).read_to_end(&mut start)?;
        let Some((length, of_event)) = parse_start(&start) else {
            return Ok(place);
        };
        let next = length
            .checked_add(16)
            .and_then(|size| place.checked_add(size));
        match next {
            Some(next) if next <= end && of_event <= step => place = next,
            _ => return Ok(place),
        }
    }
}

/// Length and step of the event at the start of these bytes.
fn parse_start(bytes: &[u8]) -> Option<(u64, u64)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    if masked(length) != u32::from_le_bytes(*check) {
        return None;
    }
    let number = rest.get(9..)?.strip_prefix(&[2 << 3])?;
    let mut step = 0;
    for (i, byte) in number.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some((u64::from_le_bytes(*length), step));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn checks_are_those_of_the_standard() {
        // RFC 3720, B.4
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_have_the_bytes_that_tensorboard_writes() {
        // tensorboard.summary.writer.record_writer.RecordWriter with Event.SerializeToString() of tensorboard 2.21
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        // a step of 0 is written too, which it leaves out
        let version = hex(&record(1.5, 0, Told::Version)[12..]);
        let message = "09000000000000f83f10001a0d627261696e2e4576656e743a32";
        assert!(
            version.starts_with(message) && version.len() == message.len() + 8,
            "{version}"
        );
        let scalars = [("train/bpd", 2.5), ("train/lr", 0.001)];
        assert_eq!(hex(&record(1e9, 300, Told::Scalars(&scalars))), "31000000000000009d8383e9090000000065cdcd4110ac022a230a100a09747261696e2f62706415000020400a0f0a08747261696e2f6c72156f12833a597c582b");
        assert_eq!(
            hex(&record(1e9, 300, Told::SessionStart)),
            "100000000000000095fbfe18090000000065cdcd4110ac023a0208010b2afcc0"
        );
        let mut png = vec![0; 24];
        png[19] = 7;
        png[23] = 5;
        assert_eq!(hex(&record(1e9, 1, Told::Picture("samples", &png))), "3a000000000000001295eae2090000000065cdcd4110012a2d0a2b0a0773616d706c657322200805100718032218000000000000000000000000000000000000000700000005a22d5dbf");
        assert_eq!(hex(&record(1e9, 1, Told::Text("config", "a\nb"))), "300000000000000095f5d05f090000000065cdcd4110012a230a210a06636f6e666967420d08071204120208014203610a624a080a060a04746578744501d485");
    }

    #[test]
    fn a_file_is_cut_after_a_step_and_before_what_is_torn() {
        let mut file = record(1.0, 0, Told::Version);
        let mut ends = vec![file.len() as u64];
        for step in [1, 127, 128, 20_000, u64::MAX] {
            file.extend(record(2.0, step, Told::Scalars(&[("a", 1.0)])));
            ends.push(file.len() as u64);
        }
        let length = |step, file: &[u8]| length_up_to(step, &mut Cursor::new(file)).unwrap();
        for (step, kept) in [
            (0, 0),
            (1, 1),
            (126, 1),
            (127, 2),
            (128, 3),
            (19_999, 3),
            (u64::MAX, 5),
        ] {
            assert_eq!(length(step, &file), ends[kept], "{step}");
        }
        for size in 0..file.len() {
            let kept = length(u64::MAX, &file[..size]);
            let whole = ends.iter().rev().find(|end| **end <= size as u64);
            assert_eq!(kept, *whole.unwrap_or(&0), "{size}");
        }
        // a length that was damaged, and one that no file has
        file[ends[1] as usize] ^= 1;
        assert_eq!(length(u64::MAX, &file), ends[1]);
        let endless = u64::MAX.to_le_bytes();
        let mut start = endless.to_vec();
        start.extend(masked(&endless).to_le_bytes());
        start.extend([9, 0, 0, 0, 0, 0, 0, 0, 0, 16, 1]);
        assert_eq!(length(u64::MAX, &start), 0);
    }
}
