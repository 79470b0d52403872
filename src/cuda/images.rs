//! The compiled kernels inside this build.

/// One fatbin per kernel file: cubins for the architectures of the build, and PTX for the newest of them.
pub const IMAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Compute capabilities of [`IMAGES`], as `75,80,...`; empty in a build without kernels.
pub const ARCHS: &str = env!("INVERSE_FLOW_CUDA_ARCHS");
