# Small things that many layers use.


# Sums everything but the batch: [N, ...] to [N].
def per_sample(x: Tensor) -> Tensor:
    return x.flatten(1).sum([1])


def zero_log_det(x: Tensor) -> Tensor:
    return torch.zeros([x.size(0)], dtype=x.dtype, device=x.device)


# A number as the log-det of every sample of x.
def for_each_sample(number: Tensor, x: Tensor) -> Tensor:
    return number.to(x.dtype).expand([x.size(0)])


# log N(z; 0, I) of every sample.
def standard_normal_log_prob(z: Tensor) -> Tensor:
    dims = z.size(1) * z.size(2) * z.size(3)
    return -0.5 * per_sample(z * z) - 0.9189385332046727 * dims  # ln(2 pi) / 2


# A weight [C', C] times the channels of x.
def mix_channels(x: Tensor, weight: Tensor) -> Tensor:
    mixed = torch.matmul(weight, x.flatten(2))
    return mixed.reshape([x.size(0), weight.size(0), x.size(2), x.size(3)])


# Determinants and inverses are computed in float64, whatever the model is in.
def log_abs_det(matrix: Tensor) -> Tensor:
    return torch.slogdet(matrix.double())[1]


def inverse_matrix(matrix: Tensor) -> Tensor:
    return torch.linalg_inv(matrix.double()).to(matrix.dtype)


# Per-channel numbers as they multiply an image.
def column(numbers: Tensor) -> Tensor:
    return numbers.view([1, -1, 1, 1])


# Those of the rows of a table that belong to the classes of the images, c [N, Y] one-hot.
def of_class(table: Tensor, c: Tensor) -> Tensor:
    size = [c.size(0)] + table.size()[1:]
    return torch.matmul(c, table.flatten(1)).view(size)


# Length and direction to the weight of a convolution.
def weight_norm(direction: Tensor, gain: Tensor) -> Tensor:
    return direction * (gain / (direction * direction).sum([1, 2, 3], keepdim=True).sqrt())


# For every group of channels, where the taps of a filter `weight` [C, C/g, k, k] begin: 1 at the taps that are free,
# and 1 on the diagonal of the anchor, the tap that multiplies the current pixel.
def free_taps_and_diagonal(weight: Tensor, corners: List[str]) -> Tuple[Tensor, Tensor]:
    free = torch.ones_like(weight)
    diagonal = torch.zeros_like(weight)
    last = weight.size(3) - 1
    group = weight.size(1)
    one = torch.eye(group, dtype=weight.dtype, device=weight.device)
    for g in range(len(corners)):
        row = last if corners[g] == "top_left" or corners[g] == "top_right" else 0
        col = last if corners[g] == "top_left" or corners[g] == "bottom_left" else 0
        outputs = g * group
        free[outputs : outputs + group, :, row, col] = torch.ones_like(one).tril(-1)
        diagonal[outputs : outputs + group, :, row, col] = one
    return free, diagonal


# The filter of a masked convolution: the identity and free taps, or exp(theta) on the diagonal; with a bound > 0 the
# taps of each output are scaled so that they sum to less than that part of its diagonal.
def masked_filter(theta: Tensor, corners: List[str], learnable: bool, bound: float) -> Tensor:
    free, diagonal = free_taps_and_diagonal(theta, corners)
    if learnable:
        diagonal = torch.exp(theta * diagonal) * diagonal
    taps = theta * free
    if bound > 0.0:
        limit = bound * diagonal.sum([1, 2, 3], keepdim=True)
        ratio = taps.abs().sum([1, 2, 3], keepdim=True) / limit
        taps = taps / torch.hypot(torch.ones_like(ratio), ratio)
    return diagonal + taps


# log|det| of the masked convolution, for every image of a batch x.
def masked_log_det(theta: Tensor, corners: List[str], learnable: bool, x: Tensor) -> Tensor:
    if learnable:
        _, diagonal = free_taps_and_diagonal(theta, corners)
        return ((theta * diagonal).sum() * (x.size(2) * x.size(3))).expand([x.size(0)])
    return zero_log_det(x)
