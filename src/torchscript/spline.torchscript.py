# Element-wise monotone rational-quadratic splines with identity tails; `least` is the smallest derivative at a knot and
# the smallest part of the range that a bin takes.


# One axis: where the bins begin, how long they are, where they meet; a bin for each tail at the ends.
def spline_axis(raw: Tensor, tail: float, least: float) -> Tuple[Tensor, Tensor, Tensor]:
    bins = raw.size(1)
    fractions = torch.softmax(raw, 1) * (1.0 - least * bins) + least
    inner = torch.cumsum(fractions[:, : bins - 1], 1) * (2.0 * tail) - tail
    first = torch.full_like(raw[:, :1], -tail)
    knots = torch.cat([first, inner, torch.full_like(first, tail)], 1)
    one = torch.ones_like(first)
    start = torch.cat([first, knots], 1)
    length = torch.cat([one, knots[:, 1:] - knots[:, :-1], one], 1)
    return start, length, knots


# What every element of x [N, C, H, W] is told by its bin: start and length on the axis it comes from, start and length
# on the other one, and the derivatives at its ends relative to its slope h / w, less 1; [6, P, M]. The sets of numbers,
# one or one for each element, are [P, bins], [P, bins] and [P, bins - 1]; knots are computed in float64.
def spline_bins(
    rows: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, tail: float, least: float, inverse: bool
) -> Tensor:
    x_start, x_length, x_knots = spline_axis(widths.double(), tail, least)
    y_start, y_length, y_knots = spline_axis(heights.double(), tail, least)
    # a raw derivative of 0 stands for 1
    offset = torch.log(torch.expm1(torch.full_like(x_start[:, :1], 1.0 - least)))
    one = torch.ones_like(offset)
    inner = torch.softplus(derivatives.double() + offset) + least
    d = torch.cat([one, one, inner, one, one], 1)
    p = d[:, :-1] * x_length / y_length - 1.0
    q = d[:, 1:] * x_length / y_length - 1.0
    if inverse:
        knots = y_knots
        table = torch.stack([y_start, y_length, x_start, x_length, p, q], 0)
    else:
        knots = x_knots
        table = torch.stack([x_start, x_length, y_start, y_length, p, q], 0)
    bin = torch.searchsorted(knots.to(rows.dtype), rows, right=True)
    return table.to(rows.dtype).gather(2, bin.unsqueeze(0).expand([6, bin.size(0), bin.size(1)]))


# One row for each set of numbers, and the way back.
def spline_rows(x: Tensor, shared: bool) -> Tensor:
    return x.reshape([1, -1]) if shared else x.flatten(1).t().contiguous()


def spline_image(rows: Tensor, x: Tensor, shared: bool) -> Tensor:
    return (rows if shared else rows.t()).reshape(x.size())


# The value of the spline and the log of its slope, u the position within the bin.
def spline_forward(
    x: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, tail: float, least: float
) -> Tuple[Tensor, Tensor]:
    shared = widths.size(0) == 1
    rows = spline_rows(x, shared)
    bins = spline_bins(rows, widths, heights, derivatives, tail, least, False)
    p, q = bins[4], bins[5]
    u = (rows - bins[0]) / bins[1]
    v = u - u * u
    denominator = 1.0 + (p + q) * v
    slope = (p + (q - p) * u - denominator + 2.0) / (denominator * denominator)
    value = bins[2] + bins[3] * ((u + p * v) / denominator)
    log_slope = torch.log(slope * bins[3] / bins[1])
    return spline_image(value, x, shared), spline_image(log_slope, x, shared)


# Its inverse: g u^2 - (1 + g) u + t = 0 for the position u, by the form of the root without cancellation.
def spline_inverse(
    z: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, tail: float, least: float
) -> Tensor:
    shared = widths.size(0) == 1
    rows = spline_rows(z, shared)
    bins = spline_bins(rows, widths, heights, derivatives, tail, least, True)
    p, q = bins[4], bins[5]
    t = (rows - bins[0]) / bins[1]
    g = p - (p + q) * t
    b = g + 1.0
    root = (b * b - 4.0 * g * t).clamp(min=0.0).sqrt()
    u = torch.where(b >= 0.0, 2.0 * t, b - root) / torch.where(b >= 0.0, b + root, 2.0 * g)
    return spline_image(bins[2] + bins[3] * u, z, shared)
