# The masked convolution and its inverse by the operator library.


# A x: zero-padded on the corner's side only; each group of channels has its own corner.
def masked_conv2d(x: Tensor, weight: Tensor, corners: List[str]) -> Tensor:
    return inverse_flow.masked_conv2d(x, weight, corners)


# Solves A x = y, each group of channels from its own corner.
def inv_conv2d(y: Tensor, weight: Tensor, corners: List[str]) -> Tensor:
    return inverse_flow.inv_conv2d(y, weight, corners)
