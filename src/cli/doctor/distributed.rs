//! Findings on several processes: what starts them, what they exchange over, and which of them this one is.

use super::finding::Finding;
use crate::distributed::Place;
use crate::words::counted;
use crate::Result;
use std::env;
use std::path::{Path, PathBuf};

/// Where libtorch was when the program was built: in a package of Python, whose programs are near.
const LIBTORCH: &str = env!("INVERSE_FLOW_LIBTORCH_LIB");
const TORCHRUN: &str = "torchrun";

/// The program that starts several processes: that of this libtorch, else one on PATH.
pub(super) fn find_torchrun() -> Option<PathBuf> {
    // VENV/lib/python3.12/site-packages/torch/lib
    let lib = Path::new(LIBTORCH).canonicalize().ok();
    let own = lib.and_then(|lib| Some(lib.ancestors().nth(5)?.join("bin")));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(env::split_paths(&path));
    let mut candidates = folders.map(|folder| folder.join(TORCHRUN));
    candidates.find(|candidate| candidate.is_file())
}

/// What starts several processes.
pub(super) fn torchrun(found: Option<PathBuf>) -> Finding {
    match found {
        Some(path) => Finding::ok(TORCHRUN, format!("{} --no-python starts several processes", path.display())),
        None => Finding::warn(
            TORCHRUN,
            "none, so one process at a time",
            "scripts/setup.sh (in the checkout); or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for each process",
        ),
    }
}

/// The exchange between CPUs, of which `tried` is a group of one.
pub(super) fn gloo(tried: Result<()>) -> Finding {
    let name = "Gloo";
    let interface = env::var("GLOO_SOCKET_IFNAME")
        .ok()
        .filter(|name| !name.is_empty());
    let interface = interface.map_or("chosen by the machine's name".to_owned(), |name| {
        format!("GLOO_SOCKET_IFNAME={name}")
    });
    match tried {
        Ok(()) => Finding::ok(
            name,
            format!("works in one process; network interface {interface}"),
        ),
        Err(err) => Finding::warn(
            name,
            format!("no group of processes: {err}; network interface {interface}"),
            "set GLOO_SOCKET_IFNAME to an interface of `ip addr`, such as lo on a single machine",
        ),
    }
}

/// The exchange between GPUs. `missing` is what the build lacks for it, `load` loads it.
pub(super) fn nccl(
    gpus: usize,
    missing: Option<&str>,
    load: impl FnOnce() -> Result<Option<String>>,
) -> Finding {
    let name = "NCCL";
    let without = "INVERSE_FLOW_GPU_EXCHANGE=gloo exchanges without it";
    match (gpus, missing) {
        (0, None) => Finding::ok(name, "built in; not loaded, as there is no GPU"),
        (0, Some(missing)) => Finding::ok(
            name,
            format!("not built in ({missing}); not needed, as there is no GPU"),
        ),
        (_, Some(missing)) => Finding::warn(
            name,
            format!("not built in: {missing}"),
            format!("scripts/setup.sh && cargo build --release; {without}"),
        ),
        (_, None) => match load() {
            Ok(version) => Finding::ok(
                name,
                format!(
                    "{}, for at most {} on this machine",
                    version.unwrap_or_else(|| "of an unknown version".into()),
                    counted(gpus, "process")
                ),
            ),
            Err(err) => Finding::warn(name, format!("cannot be loaded: {err}"), without),
        },
    }
}

/// Which process this is.
pub(super) fn processes(place: Result<Option<Place>>) -> Finding {
    let name = "processes";
    match place {
        Ok(None) => Finding::ok(name, "this one alone"),
        Ok(Some(place)) => {
            let Place {
                rank,
                ranks,
                host,
                port,
                ..
            } = &place;
            let of_machine = match (place.local_rank, place.local_ranks) {
                (Some(rank), Some(ranks)) => format!(", {rank} of {ranks} on this machine"),
                (Some(rank), None) => format!(", {rank} on this machine"),
                (None, _) => ", LOCAL_RANK not set".into(),
            };
            let by = if place.by_torchrun {
                "torchrun"
            } else {
                "rank 0"
            };
            Finding::ok(
                name,
                format!("rank {rank} of {ranks}{of_machine}; {by} listens at {host}:{port}"),
            )
        }
        Err(err) => Finding::warn(
            name,
            err.to_string(),
            "start with torchrun, or unset RANK and WORLD_SIZE",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use crate::distributed::probe;
    use crate::Error;

    #[test]
    fn nccl_is_missed_only_where_there_is_a_gpu() {
        let loads = || Ok(Some("2.28.9".to_owned()));
        let never = || -> Result<Option<String>> { panic!("loaded without a GPU") };
        assert_eq!(nccl(0, None, never).verdict, Verdict::Ok);
        assert_eq!(nccl(0, Some("no nccl.h"), never).verdict, Verdict::Ok);
        let there = nccl(2, None, loads);
        assert_eq!(there.verdict, Verdict::Ok);
        assert_eq!(
            there.found,
            "2.28.9, for at most 2 processes on this machine"
        );
        let missing = nccl(2, Some("there is no nccl.h"), never);
        assert_eq!(missing.verdict, Verdict::Warn);
        assert_eq!(missing.found, "not built in: there is no nccl.h");
        let broken = nccl(1, None, || Err(Error::Cuda("undefined symbol".into())));
        assert!(broken.found.contains("undefined symbol"), "{broken:?}");
        assert!(broken
            .fix
            .unwrap()
            .contains("INVERSE_FLOW_GPU_EXCHANGE=gloo"));
    }

    #[test]
    fn a_group_of_one_works_and_a_fault_names_the_interface() {
        let works = gloo(probe::gloo());
        assert_eq!(works.verdict, Verdict::Ok, "{works:?}");
        let broken = gloo(Err(Error::Torch("no address".into())));
        assert_eq!(broken.verdict, Verdict::Warn);
        assert!(broken.found.contains("no address"), "{broken:?}");
    }

    #[test]
    fn half_an_environment_is_a_warning() {
        assert_eq!(processes(Ok(None)).found, "this one alone");
        let half = processes(Err(Error::config("RANK is set, but not WORLD_SIZE")));
        assert_eq!(half.verdict, Verdict::Warn);
        assert_eq!(torchrun(None).verdict, Verdict::Warn);
        assert_eq!(torchrun(Some("/bin/torchrun".into())).verdict, Verdict::Ok);
    }
}
