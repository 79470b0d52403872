//! The instruction set that the CPU kernels are compiled for, chosen once.

use crate::{Error, Result};
use pulp::Arch;
use std::sync::OnceLock;

/// The environment variable that chooses an instruction set.
const VARIABLE: &str = "INVERSE_FLOW_SIMD";

/// The instruction set in use, by name: the best one that the machine has, or the one that the environment variable
/// `INVERSE_FLOW_SIMD` (`avx512`, `avx2`, `baseline`) asks for. It is read once.
///
/// # Errors
/// [`Error::Config`] if the variable asks for a set that does not exist or that the machine has not.
pub fn instruction_set() -> Result<&'static str> {
    match chosen() {
        Ok((name, _)) => Ok(name),
        Err(problem) => Err(Error::config(problem.clone())),
    }
}

/// The instruction set in use. The operators ask for [`instruction_set`] first, so that a wrong wish is an error there.
pub fn arch() -> Arch {
    chosen().as_ref().map_or_else(|_| Arch::new(), |set| set.1)
}

type Set = (&'static str, Arch);

fn chosen() -> &'static Result<Set, String> {
    static CHOSEN: OnceLock<Result<Set, String>> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let wanted = std::env::var_os(VARIABLE).unwrap_or_default();
        choose(&wanted.to_string_lossy(), available())
    })
}

/// The set named `wanted`, or the last and best one if nothing is wanted.
fn choose(wanted: &str, available: Vec<Set>) -> Result<Set, String> {
    let names: Vec<_> = available.iter().map(|set| set.0).collect();
    let mut best_first = available.into_iter().rev();
    best_first
        .find(|(name, _)| wanted.is_empty() || *name == wanted)
        .ok_or_else(|| {
            format!(
                "{VARIABLE}={wanted}: this machine has the instruction sets {}; set the variable to one of them or unset it",
                names.join(", ")
            )
        })
}

/// The instruction sets that this machine has, by name; the best one is last.
pub fn available() -> Vec<(&'static str, Arch)> {
    let mut sets = vec![("baseline", Arch::Scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        sets.extend(pulp::x86::V3::try_new().map(|simd| ("avx2", Arch::V3(simd))));
        sets.extend(pulp::x86::V4::try_new().map(|simd| ("avx512", Arch::V4(simd))));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_set_or_the_best_one_is_chosen_and_an_unknown_one_is_an_error() {
        let sets = || vec![("baseline", Arch::Scalar), ("avx2", Arch::new())];
        assert_eq!(choose("", sets()).map(|set| set.0), Ok("avx2"));
        assert_eq!(choose("baseline", sets()).map(|set| set.0), Ok("baseline"));
        for missing in ["avx512", "AVX2", "sse9"] {
            let problem = choose(missing, sets()).map(|set| set.0).unwrap_err();
            let expected = format!("INVERSE_FLOW_SIMD={missing}: this machine has the instruction sets baseline, avx2;");
            assert!(problem.starts_with(&expected), "{problem}");
        }
    }
}
