//! Tensors that do not begin on a cache line.

use tch::Tensor;

/// A copy of `tensor`, in order, that begins `elements` beyond a multiple of 64 bytes, as a part of a larger tensor may.
/// What libtorch allocates begins on one.
pub fn shifted(tensor: &Tensor, elements: i64) -> Tensor {
    let size = tensor.kind().elt_size_in_bytes() as i64;
    let room = Tensor::empty(
        [tensor.numel() as i64 + elements + 64 / size],
        (tensor.kind(), tensor.device()),
    );
    let past_line = room.data_ptr() as i64 % 64 / size;
    let start = (64 / size - past_line) % (64 / size) + elements;
    let mut part = room
        .narrow(0, start, tensor.numel() as i64)
        .view(tensor.size().as_slice());
    part.copy_(&tensor.detach());
    if tensor.numel() > 0 {
        assert_eq!(part.data_ptr() as i64 % 64, elements * size % 64);
    }
    part.set_requires_grad(tensor.requires_grad())
}
