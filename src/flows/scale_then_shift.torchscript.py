def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    z = x * torch.exp(column(self.log_scale)) + column(self.loc)
    log_det = self.log_scale.sum() * (x.size(2) * x.size(3))
    return z, log_det.expand([x.size(0)])


def invert(self, z: Tensor) -> Tensor:
    return (z - column(self.loc)) * torch.exp(-column(self.log_scale))
