//! Which process this is of how many, as the environment says it.

use crate::{Error, Result};

/// The place of this process in a group, in the words of `torchrun`.
///
/// | variable | meaning |
/// |---|---|
/// | `RANK`, `WORLD_SIZE` | which process this is, from 0, of how many |
/// | `LOCAL_RANK`, `LOCAL_WORLD_SIZE` | the same among those of this machine; only [`gpu`](Self::gpu) needs them |
/// | `MASTER_ADDR`, `MASTER_PORT` | where the group meets: on the machine of rank 0 |
/// | `TORCHELASTIC_USE_AGENT_STORE` | `True`: `torchrun` listens there already, else rank 0 does |
/// | `TORCHELASTIC_RUN_ID`, `TORCHELASTIC_RESTART_COUNT` | which run and which attempt, so that an earlier one is not met |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which process this is, from 0.
    pub rank: u32,
    /// How many processes there are.
    pub ranks: u32,
    /// Which process of this machine this is, from 0.
    pub local_rank: Option<u32>,
    /// How many processes this machine has.
    pub local_ranks: Option<u32>,
    /// The machine on which they meet.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Whether `torchrun` listens there; else rank 0 does.
    pub by_torchrun: bool,
    /// Name of the run: the same in all processes.
    pub run: String,
    /// How often torchrun has started the processes again.
    pub attempt: u32,
}

impl Place {
    /// The place that the environment variables give; `None` for a process that was started alone: without `RANK` and
    /// `WORLD_SIZE`, or as the only one.
    ///
    /// # Errors
    /// [`Error::Config`] for variables that are missing, are no numbers, or contradict each other.
    pub fn from_env() -> Result<Option<Self>> {
        Self::read(|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    /// Whether this process listens at the port.
    pub(super) fn keeps_store(&self) -> bool {
        self.rank == 0 && !self.by_torchrun
    }

    pub(super) fn read(var: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let (rank, ranks) = match (var("RANK"), var("WORLD_SIZE")) {
            (None, None) => return Ok(None),
            (Some(rank), Some(ranks)) => (number("RANK", &rank)?, number("WORLD_SIZE", &ranks)?),
            (None, _) => return Err(half_set("WORLD_SIZE is", "RANK")),
            (_, None) => return Err(half_set("RANK is", "WORLD_SIZE")),
        };
        if rank >= ranks {
            return Err(Error::config(format!(
                "RANK={rank} and WORLD_SIZE={ranks}: ranks count from 0 and are below WORLD_SIZE"
            )));
        }
        if ranks == 1 {
            return Ok(None);
        }
        let if_set = |name| var(name).map(|value| number(name, &value)).transpose();
        let needed = |name| var(name).ok_or_else(|| half_set("RANK and WORLD_SIZE are", name));
        let host = needed("MASTER_ADDR")?;
        let port = number("MASTER_PORT", &needed("MASTER_PORT")?)?;
        let port = u16::try_from(port).ok().filter(|&port| port > 0);
        let port = port.ok_or_else(|| Error::config("MASTER_PORT is not from 1 to 65535"))?;
        let by_torchrun = match var("TORCHELASTIC_USE_AGENT_STORE").as_deref() {
            Some("True") => true,
            Some("False") | None => false,
            Some(other) => {
                return Err(Error::config(format!(
                    "TORCHELASTIC_USE_AGENT_STORE={other}: torchrun sets True or False; unset it to start without torchrun"
                )))
            }
        };
        let name = var("TORCHELASTIC_RUN_ID").unwrap_or_else(|| "none".into());
        let attempt = var("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|| "0".into());
        let attempt = number("TORCHELASTIC_RESTART_COUNT", &attempt)?;
        Ok(Some(Self {
            rank,
            ranks,
            local_rank: if_set("LOCAL_RANK")?,
            local_ranks: if_set("LOCAL_WORLD_SIZE")?,
            host,
            port,
            by_torchrun,
            run: name,
            attempt,
        }))
    }
}

fn number(name: &str, value: &str) -> Result<u32> {
    let number = value.parse();
    number.map_err(|_| Error::config(format!("{name}={value:?} is no whole number from 0")))
}

fn half_set(set: &str, missing: &str) -> Error {
    Error::config(format!(
        "{set} set, but not {missing}: start with torchrun, which sets all of them, or unset RANK and WORLD_SIZE for one process"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `VARIABLE=value ...` gives.
    fn read(text: &str) -> Result<Option<Place>> {
        let pairs: Vec<_> = text.split(' ').filter_map(|p| p.split_once('=')).collect();
        Place::read(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn place_of(text: &str) -> Place {
        read(text).unwrap().unwrap()
    }

    const TWO: &str = "RANK=0 WORLD_SIZE=2 MASTER_ADDR=host MASTER_PORT=29500";

    #[test]
    fn alone_without_variables_or_as_the_only_process() {
        for text in [
            "",
            "RANK= WORLD_SIZE=",
            "MASTER_ADDR=host",
            "RANK=0 WORLD_SIZE=1",
        ] {
            assert_eq!(read(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn rank_0_keeps_the_store_unless_torchrun_does() {
        let place = place_of(TWO);
        let (host, run) = ("host".to_owned(), "none".to_owned());
        let (rank, ranks, port, by_torchrun, attempt) = (0, 2, 29500, false, 0);
        let (local_rank, local_ranks) = (None, None);
        assert_eq!(
            place,
            Place {
                rank,
                ranks,
                local_rank,
                local_ranks,
                host,
                port,
                by_torchrun,
                run,
                attempt
            }
        );
        assert!(place_of(TWO).keeps_store());
        assert!(!place_of(&TWO.replace("RANK=0", "RANK=1")).keeps_store());
        let agent =
            "TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RUN_ID=a TORCHELASTIC_RESTART_COUNT=3";
        let place = place_of(&format!("{TWO} {agent}"));
        assert!(place.by_torchrun && !place.keeps_store());
        assert_eq!((place.run.as_str(), place.attempt), ("a", 3));
    }

    #[test]
    fn wrong_variables_are_named() {
        for (text, problem) in [
            (
                "RANK=0",
                "RANK is set, but not WORLD_SIZE: start with torchrun",
            ),
            (
                "WORLD_SIZE=2",
                "WORLD_SIZE is set, but not RANK: start with torchrun",
            ),
            ("RANK=x WORLD_SIZE=2", "RANK=\"x\" is no whole number"),
            (
                "RANK=0 WORLD_SIZE=-2",
                "WORLD_SIZE=\"-2\" is no whole number",
            ),
            (
                "RANK=2 WORLD_SIZE=2",
                "RANK=2 and WORLD_SIZE=2: ranks count from 0",
            ),
            ("RANK=0 WORLD_SIZE=0", "RANK=0 and WORLD_SIZE=0"),
            ("RANK=0 WORLD_SIZE=2 MASTER_PORT=1", "but not MASTER_ADDR"),
            (
                "RANK=0 WORLD_SIZE=2 MASTER_ADDR=host",
                "but not MASTER_PORT",
            ),
            (
                &TWO.replace("29500", "http"),
                "MASTER_PORT=\"http\" is no whole number",
            ),
            (
                &TWO.replace("29500", "0"),
                "MASTER_PORT is not from 1 to 65535",
            ),
            (
                &TWO.replace("29500", "65536"),
                "MASTER_PORT is not from 1 to 65535",
            ),
            (
                &format!("{TWO} LOCAL_RANK=first"),
                "LOCAL_RANK=\"first\" is no whole number",
            ),
            (
                &format!("{TWO} TORCHELASTIC_USE_AGENT_STORE=yes"),
                "TORCHELASTIC_USE_AGENT_STORE=yes",
            ),
            (
                &format!("{TWO} TORCHELASTIC_RESTART_COUNT=b"),
                "TORCHELASTIC_RESTART_COUNT=\"b\"",
            ),
        ] {
            let err = read(text).unwrap_err().to_string();
            assert!(err.contains(problem), "{text}: {err}");
        }
    }
}
