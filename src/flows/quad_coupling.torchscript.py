# Shift and log-scale are the even and odd channels of what a net says about the blocks before.
def affine(self, out: Tensor) -> Tuple[Tensor, Tensor]:
    return out[:, ::2], torch.log_sigmoid(out[:, 1::2] + 2.0)


def said(self, before: Tensor, j: int) -> Tensor:
    if j == 1:
        return getattr(self.nets, "0").forward(before)
    if j == 2:
        return getattr(self.nets, "1").forward(before)
    return getattr(self.nets, "2").forward(before)


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    block = x.size(1) // 4
    value = [x[:, :block]]
    log_det = zero_log_det(x)
    for j in range(1, 4):
        shift, log_scale = self.affine(self.said(x[:, : j * block], j))
        value.append((x[:, j * block : (j + 1) * block] + shift) * torch.exp(log_scale))
        log_det = log_det + per_sample(log_scale)
    return torch.cat(value, 1), log_det


def invert(self, z: Tensor) -> Tensor:
    block = z.size(1) // 4
    x = z[:, :block]
    for j in range(1, 4):
        shift, log_scale = self.affine(self.said(x, j))
        x = torch.cat([x, z[:, j * block : (j + 1) * block] * torch.exp(-log_scale) - shift], 1)
    return x
