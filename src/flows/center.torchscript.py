def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    dims = x.size(1) * x.size(2) * x.size(3)
    return (x - 0.5) * self.width, zero_log_det(x) + self.log_width * dims


def invert(self, z: Tensor) -> Tensor:
    return z / self.width + 0.5
