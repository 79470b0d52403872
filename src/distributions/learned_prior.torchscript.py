def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    log_det = -per_sample(self.log_std)
    return (x - self.mean) * torch.exp(-self.log_std), log_det.expand([x.size(0)])


def invert(self, z: Tensor) -> Tensor:
    return z * torch.exp(self.log_std) + self.mean
