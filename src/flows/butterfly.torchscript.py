# A factor [blocks, 2, 2, pairs], indices (block, input half, output half, pair), times rows x [N, D].
def apply(self, factor: Tensor, x: Tensor) -> Tensor:
    blocks, pairs = factor.size(0), factor.size(3)
    halves = x.reshape([x.size(0), blocks, 2, 1, pairs])
    y = halves[:, :, 0] * factor[:, 0] + halves[:, :, 1] * factor[:, 1]
    return y.reshape(x.size())


def determinant(self, factor: Tensor) -> Tensor:
    return factor[:, 0, 0] * factor[:, 1, 1] - factor[:, 0, 1] * factor[:, 1, 0]


# Every pair's 2x2 matrix inverted.
def inverted(self, factor: Tensor) -> Tensor:
    a, c, b, d = factor[:, 0, 0], factor[:, 0, 1], factor[:, 1, 0], factor[:, 1, 1]
    adjugate = torch.stack([torch.stack([d, -c], 1), torch.stack([-b, a], 1)], 1)
    return adjugate / self.determinant(factor).unsqueeze(1).unsqueeze(1)


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    rows = x.flatten(1)
    log_det = torch.zeros([], dtype=x.dtype, device=x.device)
    for factor in self.in_order():
        rows = self.apply(factor, rows)
        log_det = log_det + torch.log(self.determinant(factor).abs()).sum()
    return rows.reshape(x.size()), log_det.expand([x.size(0)])


def invert(self, z: Tensor) -> Tensor:
    rows = z.flatten(1)
    factors = self.in_order()
    for i in range(len(factors)):
        factor = factors[len(factors) - 1 - i]
        smallest = float(self.determinant(factor).abs().min())
        message = "butterfly: a pair is nearly singular, its determinant is {}"
        assert smallest >= self.min_determinant, message.format(smallest)
        rows = self.apply(self.inverted(factor), rows)
    return rows.reshape(z.size())
