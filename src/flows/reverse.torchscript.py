def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    return x.flip([1]), zero_log_det(x)


def invert(self, z: Tensor) -> Tensor:
    return z.flip([1])
