# What the net says about the second part: log-scale and shift. The forms "bounded" and "sigmoid" scale, then
# shift; the others shift first.
def affine(self, x1: Tensor) -> Tuple[Tensor, Tensor]:
    out = self.net.forward(x1)
    if self.form == "bounded":
        return 2.0 * torch.tanh(0.5 * out[:, ::2]), out[:, 1::2]
    if self.form == "sigmoid":
        half = out.size(1) // 2
        return torch.log_sigmoid(out[:, half:] + 2.0), out[:, :half]
    if self.form == "shifted_sigmoid":
        return torch.log_sigmoid(out[:, 1::2] + 2.0), out[:, ::2]
    return -out[:, 1::2], -out[:, ::2]


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    x1, x2 = x[:, : self.kept], x[:, self.kept :]
    log_scale, shift = self.affine(x1)
    if self.form == "bounded" or self.form == "sigmoid":
        z2 = x2 * torch.exp(log_scale) + shift
    else:
        z2 = (x2 + shift) * torch.exp(log_scale)
    return torch.cat([x1, z2], 1), per_sample(log_scale)


def invert(self, z: Tensor) -> Tensor:
    x1, z2 = z[:, : self.kept], z[:, self.kept :]
    log_scale, shift = self.affine(x1)
    if self.form == "bounded" or self.form == "sigmoid":
        x2 = (z2 - shift) * torch.exp(-log_scale)
    else:
        x2 = z2 * torch.exp(-log_scale) - shift
    return torch.cat([x1, x2], 1)
