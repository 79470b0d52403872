# y with what is on the ends of (0, 1), or beyond by less than a grey level, brought inside.
def inside(self, y: Tensor) -> Tensor:
    ends = self.ends_in_float64 if y.element_size() == 8 else self.ends
    inside = torch.clamp(y, ends[0], ends[1])
    return torch.where(torch.abs(y - inside) < 1.0 / 256.0, inside, y)


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    dims = x.size(1) * x.size(2) * x.size(3)
    y = self.inside(x * self.slope + self.start)
    log_y, log_rest = torch.log(y), torch.log1p(-y)
    return log_y - log_rest, self.log_slope * dims - per_sample(log_y + log_rest)


def invert(self, z: Tensor) -> Tensor:
    return (torch.sigmoid(z) - self.start) / self.slope
