//! What the driver reports, with where and the way out.

use super::images::ARCHS;
use crate::error::MORE_ON_GPU;
use crate::Error;
use cudarc::driver::sys::CUresult;
use cudarc::driver::DriverError;

/// The error of `what` on GPU `device`.
pub(super) fn driver_error(what: &str, device: usize, err: DriverError) -> Error {
    let way_out = match err.0 {
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            format!(
                "the kernels were built for compute capability {ARCHS}: build again with INVERSE_FLOW_CUDA_ARCHS set to \
                 that of your GPU, or update the driver"
            )
        }
        CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_NOT_FOUND => {
            "the kernels inside this build are damaged: cargo clean -p inverse-flow, and build again".into()
        }
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => MORE_ON_GPU.into(),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | CUresult::CUDA_ERROR_LAUNCH_FAILED => {
            "this or an earlier kernel failed, and the process cannot use the GPU any more: please report it with what \
             CUDA_LAUNCH_BLOCKING=1 says"
                .into()
        }
        _ => "please report it with the output of `inverse-flow doctor`".into(),
    };
    Error::Cuda(format!("{what} on cuda:{device}: {:?}; {way_out}", err.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_where_and_what_to_do() {
        for (code, part) in [
            (
                CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU,
                "INVERSE_FLOW_CUDA_ARCHS",
            ),
            (CUresult::CUDA_ERROR_NOT_FOUND, "build again"),
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, "smaller batch"),
            (CUresult::CUDA_ERROR_LAUNCH_FAILED, "CUDA_LAUNCH_BLOCKING=1"),
            (CUresult::CUDA_ERROR_INVALID_VALUE, "doctor"),
        ] {
            let text =
                driver_error("kernels/spline.cu, kernel k", 3, DriverError(code)).to_string();
            let start = format!("CUDA: kernels/spline.cu, kernel k on cuda:3: {code:?}; ");
            assert!(text.starts_with(&start) && text.contains(part), "{text}");
        }
    }
}
