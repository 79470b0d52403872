//! The compiled kernels inside this build.

/// One fatbin per kernel file: cubins for the architectures of the build, and PTX for the newest of them.
pub const IMAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Compute capabilities of [`IMAGES`], as `75,80,...`; empty in a build without kernels.
pub const ARCHS: &str = env!("INVERSE_FLOW_CUDA_ARCHS");

#[cfg(test)]
mod tests {
    use super::*;

    /// Architectures of the machine code and of the PTX in a fatbin, from the header of each part.
    fn parts(fatbin: &[u8]) -> [Vec<String>; 2] {
        let number = |at: usize, bytes: usize| {
            let little_endian = fatbin[at..at + bytes].iter().rev();
            little_endian.fold(0_usize, |value, &byte| value << 8 | usize::from(byte))
        };
        assert_eq!(number(0, 4), 0xba55_ed50, "the magic number of a fatbin");
        let mut parts = [Vec::new(), Vec::new()];
        let mut at = number(6, 2);
        let end = at + number(8, 8);
        while at < end {
            let is_ptx = number(at, 2) == 1;
            parts[usize::from(is_ptx)].push(number(at + 28, 4).to_string());
            at += number(at + 4, 4) + number(at + 8, 8);
        }
        assert_eq!(at, fatbin.len());
        parts
    }

    #[test]
    fn every_file_holds_machine_code_of_all_architectures_and_ptx_of_the_last() {
        let archs: Vec<_> = ARCHS.split(',').collect();
        for (name, fatbin) in IMAGES {
            let [mut code, ptx] = parts(fatbin);
            code.sort_by_key(|arch| archs.iter().position(|known| known == arch));
            assert_eq!(code, archs, "{name}");
            assert_eq!(ptx, archs[archs.len() - 1..], "{name}");
        }
        assert_eq!(IMAGES.is_empty(), ARCHS.is_empty());
    }
}
