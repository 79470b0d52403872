def filter(self) -> Tensor:
    return masked_filter(self.weight, self.corners, self.learnable, self.bound)


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    log_det = masked_log_det(self.weight, self.corners, self.learnable, x)
    return masked_conv2d(x, self.filter(), self.corners), log_det


def invert(self, z: Tensor) -> Tensor:
    return inv_conv2d(z, self.filter(), self.corners)
