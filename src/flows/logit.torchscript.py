def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    dims = x.size(1) * x.size(2) * x.size(3)
    y = x * self.slope + self.start
    log_y, log_rest = torch.log(y), torch.log1p(-y)
    return log_y - log_rest, self.log_slope * dims - per_sample(log_y + log_rest)


def invert(self, z: Tensor) -> Tensor:
    return (torch.sigmoid(z) - self.start) / self.slope
