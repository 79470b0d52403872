//! Bytes damaged as disks, transfers and editors do it, the same in every run.

/// A small generator of random numbers.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A place in a file, more often near its ends, where the descriptions are.
    fn place(&mut self, length: usize) -> usize {
        match self.below(3) {
            0 => self.below(length.min(700)),
            1 => length - 1 - self.below(length.min(700)),
            _ => self.below(length),
        }
    }
}

/// `count` times one of: cut off, a bit flipped, bytes overwritten, a size made huge, bytes lost or put in
/// between, two blocks in each other's place.
pub fn damage(whole: &[u8], count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
    let one = |i: usize, rng: &mut Rng| {
        let mut bytes = whole.to_vec();
        let at = rng.place(bytes.len());
        match i % 7 {
            0 => bytes.truncate(at),
            1 | 2 => bytes[at] ^= 1 << rng.below(8),
            3 => {
                let end = (at + 1 + rng.below(16)).min(bytes.len());
                let fill = [0, 0xff, 0x80, 0x7f][rng.below(4)];
                bytes[at..end].fill(fill);
            }
            4 => {
                let huge: [u64; 5] = [u64::MAX, 1 << 63, i64::MAX as u64, 1 << 40, 0xffff_ffff];
                let huge = huge[rng.below(5)].to_le_bytes();
                let width = [2, 4, 8][rng.below(3)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&huge[..width]);
            }
            5 => {
                let length = 1 + rng.below(bytes.len() / 4);
                let (first, second) = (
                    at.min(bytes.len() - length),
                    rng.below(bytes.len() - length),
                );
                let (first, second) = (first.min(second), first.max(second));
                let length = length.min(second - first);
                let (before, after) = bytes.split_at_mut(second);
                before[first..first + length].swap_with_slice(&mut after[..length]);
            }
            _ => {
                let end = (at + 1 + rng.below(40)).min(bytes.len());
                match rng.below(2) {
                    0 => drop(bytes.drain(at..end)),
                    _ => {
                        let again = bytes[at..end].to_vec();
                        bytes.splice(at..at, again);
                    }
                }
            }
        }
        bytes
    };
    (0..count).map(|i| one(i, rng)).collect()
}
