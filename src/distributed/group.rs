//! Sums and broadcasts over the processes of a group.

use super::farewell;
use super::meeting::meet;
use super::Place;
use crate::ffi::group::{Members, Store};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// Kinds of numbers that can be added up, and those that can be sent.
const SUMMED: [Kind; 2] = [Kind::Float, Kind::Double];
const SENT: [Kind; 4] = [Kind::Float, Kind::Double, Kind::Int64, Kind::Uint8];

/// Processes that compute together. All of them make the same calls in the same order, with tensors of the same shape and kind.
///
/// A call that fails is the end of the group in this process: its connections are closed, so that the calls of the others fail
/// too, and every later call gives the same error. The error names the rank that was the cause, as far as the others know.
#[derive(Debug)]
pub struct Group {
    place: Place,
    store: Arc<Store>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Connected(Members),
    Ended(String),
}

impl Group {
    /// Meets the other processes, who make the same call. `timeout` is how long each may take to come here, and later to any
    /// call of the group: longer than whatever one of them does alone.
    ///
    /// # Errors
    /// [`Error::Group`]: the port is taken or nobody answers there, a rank does not come, is there twice or was told another
    /// number of ranks.
    pub fn join(place: &Place, timeout: Duration) -> Result<Self> {
        let store = meet(place, timeout)?;
        let members = Members::join(&store, place.rank, place.ranks, timeout).map_err(|err| {
            place.problem(format!(
                "no connection to the other ranks: {err}; check that their machines reach each other, and name the network \
                 interface in GLOO_SOCKET_IFNAME if there are several"
            ))
        })?;
        Ok(Self {
            place: place.clone(),
            store: Arc::new(store),
            state: Mutex::new(State::Connected(members)),
        })
    }

    /// Which process this is, from 0.
    pub fn rank(&self) -> u32 {
        self.place.rank
    }

    /// How many processes there are.
    pub fn ranks(&self) -> u32 {
        self.place.ranks
    }

    /// Replaces `tensor` by its sum over all processes, which has the same bits in each.
    ///
    /// # Errors
    /// [`Error::Argument`] for a tensor that is not float32 or float64, contiguous and on the CPU; [`Error::Group`] if another
    /// process has ended or does not come in time.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        check("Group::sum", tensor, &SUMMED)?;
        self.call("the sum", |members| members.sum(tensor))
    }

    /// Replaces `tensor` by that of rank 0.
    ///
    /// # Errors
    /// As [`sum`](Self::sum); int64 and uint8 are sent too.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        check("Group::broadcast", tensor, &SENT)?;
        self.call("the broadcast", |members| members.broadcast(tensor))
    }

    /// Replaces `bytes` by those of rank 0, however many they are.
    ///
    /// # Errors
    /// [`Error::Group`] if another process has ended or does not come in time.
    pub fn broadcast_bytes(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let length = Tensor::f_from_slice(&[bytes.len() as i64])?;
        self.broadcast(&length)?;
        let length = length.f_int64_value(&[0])?;
        if self.rank() == 0 {
            return self.broadcast(&Tensor::f_from_slice(bytes)?);
        }
        let content = Tensor::f_zeros([length], (Kind::Uint8, Device::Cpu))?;
        self.broadcast(&content)?;
        *bytes = Vec::try_from(&content)?;
        Ok(())
    }

    /// Waits until all processes have come here.
    ///
    /// # Errors
    /// [`Error::Group`] if another process has ended or does not come in time.
    pub fn barrier(&self) -> Result<()> {
        self.call("the barrier", Members::barrier)
    }

    /// Ends the group because this process cannot go on: the error of the others names this rank and `cause`.
    ///
    /// # Errors
    /// [`Error::Group`] if the cause cannot be left for the others, who then learn that this rank is gone.
    pub fn abandon(&self, cause: &str) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Connected(_)) {
            // closes the connections first: so the calls of the others fail, and they come to read the word
            *state = State::Ended(format!("this rank has left the group: {cause}"));
            farewell::tell(&self.place, &self.store, cause)
                .map_err(|err| self.place.problem(format!("cannot tell the others: {err}")))?;
        }
        Ok(())
    }

    fn call(&self, what: &str, call: impl FnOnce(&mut Members) -> Result<()>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = match &mut *state {
            State::Connected(members) => match call(members) {
                Ok(()) => return Ok(()),
                Err(err) => err,
            },
            State::Ended(problem) => return Err(self.place.problem(problem.clone())),
        };
        // closes the connections, before anything else: the others wait for this process
        *state = State::Ended(String::new());
        let finding = farewell::ask(&self.place, &self.store);
        let problem = format!("{what} failed: {finding} ({failed})");
        *state = State::Ended(problem.clone());
        Err(self.place.problem(problem))
    }
}

fn check(op: &'static str, tensor: &Tensor, kinds: &[Kind]) -> Result<()> {
    let problem = if tensor.device() != Device::Cpu {
        format!("is on {:?}: move it to the CPU", tensor.device())
    } else if !kinds.contains(&tensor.kind()) {
        format!("is {:?}: it must be one of {kinds:?}", tensor.kind())
    } else if !tensor.is_contiguous() {
        "is not contiguous: call `contiguous` first".into()
    } else {
        return Ok(());
    };
    Err(Error::argument(op, "tensor", problem))
}
