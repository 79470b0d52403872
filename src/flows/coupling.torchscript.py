# Log-scale and shift are the even and odd channels of the net of the first half.
def affine(self, x1: Tensor) -> Tuple[Tensor, Tensor]:
    out = self.net.forward(x1)
    return 2.0 * torch.tanh(0.5 * out[:, ::2]), out[:, 1::2]


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    half = x.size(1) // 2
    x1, x2 = x[:, :half], x[:, half:]
    log_scale, shift = self.affine(x1)
    return torch.cat([x1, x2 * torch.exp(log_scale) + shift], 1), per_sample(log_scale)


def invert(self, z: Tensor) -> Tensor:
    half = z.size(1) // 2
    x1, z2 = z[:, :half], z[:, half:]
    log_scale, shift = self.affine(x1)
    return torch.cat([x1, (z2 - shift) * torch.exp(-log_scale)], 1)
