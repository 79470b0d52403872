//! Memory of a kernel that is run on the host.

use tch::{Device, Kind, Tensor};

/// Elements with NaN before, in and after them: a read before the first write, or beyond the end, spoils the result, and a
/// write beyond the end is seen.
pub struct Memory {
    buffer: Tensor,
    elements: i64,
}

/// Elements before the memory, and after it.
const FRAME: i64 = 256;

impl Memory {
    /// Memory that no kernel has written yet.
    pub fn new(elements: usize, kind: Kind) -> Self {
        let elements = elements as i64;
        let size = [elements + 2 * FRAME];
        Self {
            buffer: Tensor::full(size, f64::NAN, (kind, Device::Cpu)),
            elements,
        }
    }

    /// Room for a tensor like `like`.
    pub fn like(like: &Tensor) -> Self {
        Self::new(like.numel(), like.kind())
    }

    /// A copy of a tensor.
    pub fn of(tensor: &Tensor) -> Self {
        let memory = Self::like(tensor);
        memory.content().copy_(&tensor.reshape([-1]));
        memory
    }

    /// The address of the first element.
    pub fn address(&self) -> u64 {
        self.content().data_ptr() as u64
    }

    /// The content as a tensor of this size, after a launch that must not have written beyond it.
    pub fn read(&self, size: &[i64]) -> Tensor {
        self.check_frame();
        self.content().view(size).copy()
    }

    /// Fails where something was written beyond the memory.
    pub fn check_frame(&self) {
        for start in [0, FRAME + self.elements] {
            let frame = self.buffer.narrow(0, start, FRAME).isnan().all();
            assert_eq!(frame.int64_value(&[]), 1, "a write beyond the output");
        }
    }

    fn content(&self) -> Tensor {
        self.buffer.narrow(0, FRAME, self.elements)
    }
}
