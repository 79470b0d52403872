def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    log_det = log_abs_det(self.weight) * (x.size(2) * x.size(3))
    return mix_channels(x, self.weight), for_each_sample(log_det, x)


def invert(self, z: Tensor) -> Tensor:
    return mix_channels(z, inverse_matrix(self.weight))
