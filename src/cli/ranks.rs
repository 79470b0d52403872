//! The processes that `torchrun` has started, if any.

use super::exit::{exit_code, Told, FAILED, WRONG_USAGE};
use crate::distributed::{Group, Heartbeat, Notes, Place};
use crate::ffi::exit::exit_at_once;
use crate::train::Team;
use crate::Error;
use std::path::Path;
use std::time::Duration;

/// How long a rank may take to come, and later to do what only rank 0 does, such as samples.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The processes that this command runs in.
#[derive(Debug)]
pub struct Ranks {
    /// All of them.
    pub team: Team,
    /// What the user reads after the end of one.
    advice: String,
    place: Option<Place>,
    heartbeat: Option<Heartbeat>,
}

impl Ranks {
    /// Meets the others; `advice` is what the user reads after the end of one of them.
    ///
    /// # Errors
    /// Wrong variables in the environment, or ranks that do not come.
    pub fn join(advice: String) -> crate::Result<Self> {
        let place = Place::from_env()?;
        let (mut team, mut heartbeat) = (Team::alone(), None);
        if let Some(place) = &place {
            team = Team::of(Group::join(place, TIMEOUT)?);
            let advice = advice.clone();
            heartbeat = Some(Heartbeat::start(place, TIMEOUT, move |err, tells| {
                if tells {
                    eprintln!("error: {err}\n{advice}");
                }
                // the thread that waits for the lost one cannot be woken
                exit_at_once(i32::from(FAILED));
            })?);
        }
        Ok(Self {
            team,
            advice,
            place,
            heartbeat,
        })
    }

    /// Ends the work of this process: waits for the others if all went well; else they end too, and one of them tells the
    /// user why.
    ///
    /// # Errors
    /// That of this rank, or the end of another one.
    pub fn conclude(self, done: anyhow::Result<()>) -> anyhow::Result<()> {
        let Some(group) = self.team.group() else {
            return done;
        };
        let err = match done.and_then(|()| Ok(group.barrier()?)) {
            Ok(()) => return Ok(()),
            Err(err) => err,
        };
        drop(self.heartbeat);
        let (rank, ranks, advice) = (self.team.rank(), self.team.ranks(), self.advice);
        let of_another = matches!(err.downcast_ref::<Error>(), Some(Error::Group { .. }));
        if group.tells_the_user() {
            match of_another {
                // it says itself which rank it is about
                true => eprintln!("error: {err:#}\n{advice}"),
                false => eprintln!("error: rank {rank} of {ranks}: {err:#}\n{advice}"),
            }
        }
        if !of_another {
            // those who do not hear it learn at least that this rank is gone
            let _ = group.abandon(&format!("{err:#}"));
        }
        let exit_code = exit_code(&err);
        Err(Told { exit_code }.into())
    }

    /// Whether an earlier attempt of these processes has begun the run in `root`; asked by rank 0.
    ///
    /// # Errors
    /// torchrun does not answer.
    pub fn has_begun(&self, root: &Path) -> crate::Result<bool> {
        match self.notes()? {
            Some(notes) => notes.has(&run_in(root)),
            None => Ok(false),
        }
    }

    /// Lets the next attempt know that the run in `root` has begun.
    ///
    /// # Errors
    /// torchrun does not answer.
    pub fn begun(&self, root: &Path) -> crate::Result<()> {
        match self.notes()? {
            Some(notes) if self.team.is_main() => notes.leave(&run_in(root)),
            _ => Ok(()),
        }
    }

    fn notes(&self) -> crate::Result<Option<Notes>> {
        let notes = self.place.as_ref().map(|place| Notes::open(place, TIMEOUT));
        Ok(notes.transpose()?.flatten())
    }
}

/// The advice for a command that leaves nothing to continue.
pub fn start_again(command: &str) -> String {
    format!("once that is mended, start `inverse-flow {command}` again")
}

fn run_in(root: &Path) -> String {
    format!("run {}", root.display())
}

/// Refuses a command that has no work for several processes.
///
/// # Errors
/// There are several; rank 0 tells the user.
pub fn refuse(command: &str, why: &str) -> anyhow::Result<()> {
    match Place::from_env()? {
        None => Ok(()),
        Some(Place { rank: 0, ranks, .. }) => Err(Error::config(format!(
            "{command} runs in one process, not in {ranks}: {why}; start it without torchrun"
        ))
        .into()),
        Some(_) => Err(Told {
            exit_code: WRONG_USAGE,
        }
        .into()),
    }
}
