# 1 at the taps that a triangular Jacobian leaves, [1, C, 1, C, 3, 3]: sources are ordered by (colour, row, column).
def mask(self) -> Tensor:
    c = self.t.size(1)
    index = torch.arange(c, device=self.t.device)
    colour = (index.view([1, -1]) - index.view([-1, 1])).view([c, c, 1, 1])  # source less target
    tap = torch.arange(9, device=self.t.device).view([1, 1, 3, 3])
    offset = 9 * colour + tap - 4
    seen = offset <= 0 if self.lower else offset >= 0
    return seen.to(self.t.dtype).view([1, c, 1, c, 3, 3])


def masked(self, weight: Tensor) -> Tensor:
    c = self.t.size(1)
    return weight.view([weight.size(0) // c, c, weight.size(1) // c, c, 3, 3]) * self.mask()


# The three weights, and |W3 W2 W1| along the paths from a colour to itself, [C, l, l]: the signs of the second weight
# are such that no path is negative.
def weights(self) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    c = self.t.size(1)
    w1, w2, w3 = self.masked(self.weight1), self.masked(self.weight2), self.masked(self.weight3)
    c1 = w1[..., 1, 1].diagonal(0, 1, 3).transpose(0, 1)
    c2 = w2[..., 1, 1].diagonal(0, 1, 3)
    c3 = w3[..., 1, 1].diagonal(0, 1, 3).transpose(0, 1)
    positive = torch.sign(c1) * torch.sign(c3) * c2.abs()
    paths = (c1 * positive * c3).permute([2, 0, 1])
    change = torch.diag_embed(positive - c2, 0, 1, 3).unsqueeze(-1).unsqueeze(-1)
    w2 = w2 + torch.constant_pad_nd(change, [1, 1, 1, 1])
    n = self.weight2.size(0)
    return w1.reshape([n, c, 3, 3]), w2.reshape([n, n, 3, 3]), w3.reshape([c, n, 3, 3]), paths


# [N, l C, H, W] to [C, l, N H W].
def by_colour(self, x: Tensor) -> Tensor:
    n, c = x.size(0), self.t.size(1)
    l, pixels = x.size(1) // c, x.size(2) * x.size(3)
    return x.view([n, l, c, pixels]).permute([2, 1, 0, 3]).reshape([c, l, n * pixels])


# f(x) and the diagonal of its Jacobian.
def run(self, x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, paths: Tensor) -> Tuple[Tensor, Tensor]:
    slope = self.t.abs().clamp(min=1e-12)
    h1 = torch.conv2d(x, w1, self.bias1, [1, 1], [1, 1])
    h2 = torch.conv2d(torch.elu(h1), w2, self.bias2, [1, 1], [1, 1])
    value = torch.conv2d(torch.elu(h2), w3, self.bias3, [1, 1], [1, 1]) + slope * x
    # elu'(h) = exp(min(h, 0))
    inner = torch.bmm(paths, self.by_colour(torch.exp(h1.clamp(max=0.0))))
    diagonal = (inner * self.by_colour(torch.exp(h2.clamp(max=0.0)))).sum([1])
    diagonal = diagonal.view([x.size(1), x.size(0), x.size(2), x.size(3)]).transpose(0, 1) + slope
    return value, diagonal


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    w1, w2, w3, paths = self.weights()
    value, diagonal = self.run(x, w1, w2, w3, paths)
    return value, per_sample(torch.log(diagonal))


# The damped fixed point; a residual that stays is an error, not a wrong image.
def invert(self, z: Tensor) -> Tensor:
    w1, w2, w3, paths = self.weights()
    tolerance = self.tolerance
    if z.element_size() == 8:
        tolerance = 1e-6 * tolerance
    scale = 1.0 + z.abs()
    x = z / self.t.abs().clamp(min=1e-12)
    residual = 0.0
    found = z.numel() == 0
    step = 0
    while not found and step <= self.iterations:
        value, diagonal = self.run(x, w1, w2, w3, paths)
        rest = z - value
        residual = float((rest.detach() / scale).abs().max())
        found = residual <= tolerance
        if not found:
            x = x + rest / (diagonal * self.damping)
        step += 1
    assert found, "masked_residual: the residual of the inverse is {}, allowed {}".format(residual, tolerance)
    return x
