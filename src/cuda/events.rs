//! Time on the device: events in torch's current stream.
//!
//! A clock of the host sees a short kernel as long as its launch. Between two events only the device's time counts, and
//! behind a gate, work that keeps the stream busy while the host queues the rest, not even the host's pace does.

use super::current::Current;
use super::device::Device;
use super::driver_error::driver_error;
use super::tensors::address;
use crate::Result;
use cudarc::driver::result::event;
use cudarc::driver::sys::{CUevent, CUevent_flags};
use std::cell::OnceCell;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Bytes that one bar of a gate clears: more than a second-level cache, so some 20 us or more on any GPU.
const BAR: usize = 64 << 20;

/// Measures what is queued on torch's current stream of one GPU.
pub struct Stopwatch {
    device: Arc<Device>,
    start: Event,
    end: Event,
    /// Memory to clear; none before the first gate.
    bar: OnceCell<Tensor>,
}

impl Stopwatch {
    /// One for the device with this index.
    ///
    /// # Errors
    /// CUDA is not available, or there is no such device.
    pub fn new(index: usize) -> Result<Self> {
        let device = Device::get(index)?;
        // the context in which the events are made
        let current = Current::new(&device)?;
        let [start, end] = [Event::new(index), Event::new(index)];
        drop(current);
        Ok(Self {
            start: start?,
            end: end?,
            bar: OnceCell::new(),
            device,
        })
    }

    /// Milliseconds that the device took for what `work` queues, behind a gate of `bars`, and its result; waits for it.
    ///
    /// # Errors
    /// Those of `work` and of the device.
    pub fn time<T>(&self, bars: usize, work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        for _ in 0..bars {
            self.one_bar()?;
        }
        self.start.record(&self.device)?;
        let result = work()?;
        self.end.record(&self.device)?;
        Ok((self.start.milliseconds_to(&self.end)?, result))
    }

    /// Milliseconds that one bar of a gate holds the stream.
    ///
    /// # Errors
    /// Those of the device.
    pub fn time_of_a_bar(&self) -> Result<f64> {
        Ok(self.time(1, || self.one_bar())?.0)
    }

    fn one_bar(&self) -> Result<()> {
        let bar = match self.bar.get() {
            Some(bar) => bar,
            None => {
                let on = tch::Device::Cuda(self.device.index());
                let bar = Tensor::f_empty([BAR as i64], (Kind::Uint8, on))?;
                self.bar.get_or_init(|| bar)
            }
        };
        // SAFETY: a tensor of this device with BAR bytes; whoever gets its memory next uses it later on this very stream.
        unsafe { Current::new(&self.device)?.zero(address(bar), BAR) }
    }
}

struct Event {
    event: CUevent,
    /// The number of its device.
    index: usize,
}

impl Event {
    /// One of the thread's current device, whose number is `index`.
    fn new(index: usize) -> Result<Self> {
        let event = event::create(CUevent_flags::CU_EVENT_DEFAULT);
        let event = event.map_err(|err| driver_error("making an event", index, err))?;
        Ok(Self { event, index })
    }

    fn record(&self, device: &Device) -> Result<()> {
        let current = Current::new(device)?;
        // SAFETY: a live event of this device's context, and torch's own stream there.
        unsafe { event::record(self.event, current.stream()) }
            .map_err(|err| driver_error("recording an event", self.index, err))
    }

    /// From this one to a later one of the same stream; waits for the later one.
    fn milliseconds_to(&self, later: &Event) -> Result<f64> {
        // SAFETY: both are live, and were recorded.
        let time = unsafe {
            event::synchronize(later.event).and_then(|()| event::elapsed(self.event, later.event))
        };
        Ok(f64::from(
            time.map_err(|err| driver_error("timing", self.index, err))?,
        ))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: a live event that nobody has another handle of. What fails leaves an event behind, which is harmless.
        let _ = unsafe { event::destroy(self.event) };
    }
}
