//! Sums and broadcasts over the processes of a group.

use super::farewell::{self, IsFirst};
use super::links::{Links, Route};
use super::meeting::meet;
use super::Place;
use crate::ffi::group::{Members, Store};
use crate::words::counted;
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    timeout: Duration,
    store: Arc<Store>,
    state: Mutex<State>,
    tells_the_user: IsFirst,
}

#[derive(Debug)]
enum State {
    Connected(Links),
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
            timeout,
            store: Arc::new(store),
            state: Mutex::new(State::Connected(Links::new(members))),
            tells_the_user: IsFirst::default(),
        })
    }

    /// Connects `device`, so that tensors of it can be exchanged too, beside those of the CPU. All processes call it, each with
    /// a GPU of its own (see [`Place::gpu`]), or all with the CPU.
    ///
    /// GPUs exchange over NCCL, where the host does not wait for them: a sum is queued like any other operation. With
    /// `INVERSE_FLOW_GPU_EXCHANGE=gloo` in the environment they do so over Gloo, by way of the memory of the host.
    ///
    /// # Errors
    /// [`Error::Cuda`] or [`Error::Config`]: this process cannot exchange over NCCL, with the cause; the others learn it.
    /// [`Error::Group`]: another one cannot, or they exchange in different ways.
    pub fn connect(&self, device: Device) -> Result<()> {
        let route = Route::of(device);
        let route = route.or_else(|err| self.abandon(&err.to_string()).and(Err(err)))?;
        self.agree(route)?;
        let mut state = self.state();
        let State::Connected(links) = &mut *state else {
            drop(state);
            return self.barrier(); // which has ended, and says why
        };
        let added = links.add(route, &self.place, &self.store, self.timeout);
        drop(state);
        added.or_else(|err| {
            let problem = format!("the GPUs could not be connected: {err}");
            self.abandon(&problem)?;
            Err(self.place.problem(problem))
        })
    }

    /// Finds out whether all processes take the same route.
    fn agree(&self, route: Route) -> Result<()> {
        let mut counts = [0.0; Route::NAMES.len()];
        counts[route.number()] = 1.0;
        let sum = Tensor::f_from_slice(&counts)?;
        self.sum(&sum)?;
        sum.f_copy_data(&mut counts, Route::NAMES.len())?;
        let named = counts.iter().zip(Route::NAMES);
        let taken: Vec<_> = named.filter(|(&count, _)| count > 0.0).collect();
        if let [_] = taken.as_slice() {
            return Ok(());
        }
        let taken = taken
            .iter()
            .map(|(&count, name)| format!("{} {name}", counted(count as usize, "rank")));
        Err(self.place.problem(format!(
            "the ranks exchange in different ways ({}): give all the same --device and INVERSE_FLOW_GPU_EXCHANGE",
            taken.collect::<Vec<_>>().join(", ")
        )))
    }

    /// Which process this is, from 0.
    pub fn rank(&self) -> u32 {
        self.place.rank
    }

    /// Where this process stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What carries tensors of `device` to the others: `gloo`, `nccl`, or `gloo by way of the CPU`.
    pub fn exchange(&self, device: Device) -> &'static str {
        match &*self.state() {
            State::Connected(links) => links.name(device),
            State::Ended(_) => "nothing: the group has ended",
        }
    }

    /// How many processes there are.
    pub fn ranks(&self) -> u32 {
        self.place.ranks
    }

    /// Replaces `tensor` by its sum over all processes, which has the same bits in each.
    ///
    /// # Errors
    /// [`Error::Argument`] for a tensor that is not float32 or float64, contiguous and on the CPU or the
    /// [connected](Self::connect) GPU; [`Error::Group`] if another process has ended or does not come in time.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.check("Group::sum", tensor, &SUMMED)?;
        self.call("the sum", |links| links.sum(tensor))
    }

    /// Replaces `tensor` by that of rank 0.
    ///
    /// # Errors
    /// As [`sum`](Self::sum); int64 and uint8 are sent too.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        self.check("Group::broadcast", tensor, &SENT)?;
        self.call("the broadcast", |links| links.broadcast(tensor))
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
        self.call("the barrier", Links::barrier)
    }

    /// Ends the group because this process cannot go on: the error of the others names this rank and `cause`.
    ///
    /// # Errors
    /// [`Error::Group`] if the cause cannot be left for the others, who then learn that this rank is gone.
    pub fn abandon(&self, cause: &str) -> Result<()> {
        let mut state = self.state();
        if let State::Connected(links) = &mut *state {
            links.abort();
            // closes the connections first: so the calls of the others fail, and they come to read the word
            *state = State::Ended(format!("this rank has left the group: {cause}"));
            farewell::tell(&self.place, &self.store, cause)
                .map_err(|err| self.place.problem(format!("cannot tell the others: {err}")))?;
        }
        Ok(())
    }

    /// Whether this process is to tell the user about the end of the group: the first one to ask this. All of them are where
    /// nobody is left to decide it.
    pub fn tells_the_user(&self) -> bool {
        farewell::is_first(&self.store, &self.tells_the_user)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, what: &str, call: impl FnOnce(&mut Links) -> Result<()>) -> Result<()> {
        let mut state = self.state();
        let failed = match &mut *state {
            State::Connected(links) => match call(links) {
                Ok(()) => return Ok(()),
                Err(err) => {
                    links.abort();
                    err
                }
            },
            State::Ended(problem) => return Err(self.place.problem(problem.clone())),
        };
        // closes the connections, before anything else: the others wait for this process
        *state = State::Ended(String::new());
        let finding = farewell::ask(&self.place, &self.store, &self.tells_the_user);
        let problem = format!("{what} failed: {finding} ({failed})");
        *state = State::Ended(problem.clone());
        Err(self.place.problem(problem))
    }

    fn check(&self, op: &'static str, tensor: &Tensor, kinds: &[Kind]) -> Result<()> {
        let device = match &*self.state() {
            State::Connected(links) => links.problem(tensor.device()),
            State::Ended(_) => None, // the call says so
        };
        let problem = if let Some(problem) = device {
            problem
        } else if !kinds.contains(&tensor.kind()) {
            format!("is {:?}: it must be one of {kinds:?}", tensor.kind())
        } else if !tensor.is_contiguous() {
            "is not contiguous: call `contiguous` first".into()
        } else {
            return Ok(());
        };
        Err(Error::argument(op, "tensor", problem))
    }
}
