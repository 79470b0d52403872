//! The compiled kernels inside this build.

/// One kernel file, compiled.
#[derive(Debug)]
pub struct Image {
    /// The file under `kernels/`, without its ending.
    pub name: &'static str,
    /// A fatbin: machine code for the architectures of the build, and PTX for the newest of them.
    pub bytes: &'static [u8],
    /// The kernels in it, as nvcc listed them.
    pub kernels: &'static [&'static str],
}

/// Bytes at an address that the driver can read as a fatbin: nvcc aligns them to 8, `include_bytes!` to nothing at all.
#[repr(C, align(64))]
#[allow(dead_code)] // a build without kernels has no file
struct Aligned<T: ?Sized>(T);

/// The bytes of a file, aligned.
#[allow(unused_macros)] // as above
macro_rules! aligned {
    ($path:literal) => {{
        const BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &BYTES.0
    }};
}

/// One for each kernel file; none in a build without kernels.
pub const IMAGES: &[Image] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Compute capabilities of [`IMAGES`], as `75,80,...`; empty in a build without kernels.
pub const ARCHS: &str = env!("INVERSE_FLOW_CUDA_ARCHS");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::filter::{filter_plans, FilterSizes, Pass};
    use crate::cuda::kernels::{Element, Operation, Solver, REGISTER_SHAPES, SIDES};
    use crate::cuda::{
        actnorm, baseline, batch, butterfly, channels, coupling, log_det, masked_residual, pad,
        spline, verdict, weight_norm,
    };
    use crate::problem::{
        geometry, log_det::MatrixSizes, spline::SplineSizes, AffineForm, ChannelForm, Corner,
        Direction,
    };
    use std::collections::BTreeSet;
    use tch::Kind;

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
        for Image { name, bytes, .. } in IMAGES {
            let [mut code, ptx] = parts(bytes);
            code.sort_by_key(|arch| archs.iter().position(|known| known == arch));
            assert_eq!(code, archs, "{name}");
            assert_eq!(ptx, archs[archs.len() - 1..], "{name}");
        }
        assert_eq!(IMAGES.is_empty(), ARCHS.is_empty());
    }

    #[test]
    fn every_file_lies_at_an_aligned_address() {
        for Image { name, bytes, .. } in IMAGES {
            assert_eq!(bytes.as_ptr() as usize % 64, 0, "{name}");
        }
    }

    /// File and name of every kernel that a plan can name.
    fn launched() -> BTreeSet<(&'static str, &'static str)> {
        let mut names = BTreeSet::new();
        let batch = batch::batch_plan(&batch::BatchOf {
            size: [2, 3, 4, 5],
            reflect: false,
            key: [0; 32],
        });
        let batch = batch.unwrap().launch;
        let verdict = &verdict::LAUNCH;
        names.extend([batch, *verdict].map(|launch| (launch.image, launch.kernel)));
        for element in Element::ALL {
            let kind = match element {
                Element::F32 => Kind::Float,
                Element::F64 => Kind::Double,
            };
            for operation in Operation::ALL {
                names.extend((1..20).map(|k| (operation.module(), operation.kernel(element, k))));
            }
            let in_registers = REGISTER_SHAPES
                .into_iter()
                .flat_map(|shape| [2, 3].map(|kernel| Solver::Registers { shape, kernel }));
            let in_shared = [(1, 1), (4, 1), (4, 2), (4, 4)]
                .map(|(slices, rows)| Solver::Shared { slices, rows });
            let of_side = SIDES
                .into_iter()
                .flat_map(|kernel| [1, 2, 4].map(|rows| Solver::Side { kernel, rows }));
            let solvers = in_registers
                .chain(of_side)
                .chain(in_shared)
                .chain([Solver::Wide]);
            names.extend(solvers.filter_map(|solver| solver.kernel(element)));
            let splines = [true, false].map(|shared| {
                let sizes = SplineSizes {
                    samples: 2,
                    elements: 3,
                    bins: 4,
                    shared,
                };
                spline::spline_plan(&sizes, kind, Direction::Forward, 3.0).unwrap()
            });
            let spline = splines
                .iter()
                .flat_map(|plan| plan.forward.iter().chain(&plan.backward));
            let matrix = MatrixSizes {
                order: 2,
                length: None,
                copies: 1.0,
            };
            // large enough for every stage
            let sizes = [2, 2, 1_000_000];
            let form = ChannelForm::Standardise(Direction::Forward);
            let actnorm = actnorm::actnorm_plan(sizes, kind, form).unwrap();
            let sizes = coupling::CouplingSizes {
                samples: 2,
                kept: 2,
                moved: 2,
                pixels: 1_000_000,
            };
            let form = AffineForm::Bounded;
            let coupling = coupling::coupling_plan(sizes, kind, form, Direction::Forward).unwrap();
            let butterfly = butterfly::butterfly_plan([2, 3, 4], kind).unwrap();
            let log_det = log_det::log_det_plan(&[matrix], 2, kind).unwrap();
            let pad = pad::pad_plan([2, 3, 4], [1; 4], kind).unwrap();
            let weight_norm = weight_norm::weight_norm_plan(&[[2, 3]], kind).unwrap();
            let filters = masked_residual::filters_plan([2, 3, 4], true, kind).unwrap();
            let elu = masked_residual::elu_plan([2, 3, 4, 5], kind).unwrap();
            let small = [
                butterfly.forward,
                butterfly.backward,
                log_det.forward,
                log_det.backward,
                pad.launch,
                weight_norm.forward,
                weight_norm.backward,
                filters.forward,
                filters.backward,
                elu.forward,
                elu.backward,
            ];
            names.extend(small.map(|[launch]| (launch.image, launch.kernel)));
            let stages = spline
                .chain(actnorm.forward.iter().chain(&actnorm.backward))
                .chain(coupling.forward.iter().chain(&coupling.backward));
            names.extend(stages.map(|launch| (launch.image, launch.kernel)));
            let (launch, _) = channels::channels_plan([2, 4, 2], kind).unwrap();
            names.insert((launch.image, launch.kernel));
            let filter = FilterSizes {
                sizes: [2, 2, 3],
                learnable: true,
                bound: None,
            };
            for pass in [Pass::Forward, Pass::Backward] {
                let plans = filter_plans(&[filter], kind, pass).unwrap();
                names.extend(
                    plans
                        .iter()
                        .map(|plan| (plan.launch.image, plan.launch.kernel)),
                );
            }
            let baseline =
                baseline::launches(&geometry([1, 1, 2, 2], 1, 2), kind, &[Corner::TopLeft]);
            let baseline = baseline.unwrap();
            names.extend(
                baseline
                    .iter()
                    .map(|(launch, _)| (launch.image, launch.kernel)),
            );
        }
        names
    }

    #[test]
    fn the_files_hold_the_kernels_that_are_launched_and_no_others() {
        let held = IMAGES.iter().flat_map(|image| {
            let kernels = image.kernels.iter();
            kernels.map(move |kernel| (image.name, *kernel))
        });
        let held: BTreeSet<_> = held.collect();
        if !held.is_empty() {
            assert_eq!(held, launched());
        }
    }
}
