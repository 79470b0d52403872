def forward(self, x: Tensor, noise: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
    dims = x.size(1) * x.size(2) * x.size(3)
    if self.step == 1.0:
        pixels = x
    else:
        pixels = torch.floor(x / self.step) * self.step
    if noise is None:
        z = pixels + 0.5 * self.step
    else:
        z = pixels + self.step * noise
    return z, zero_log_det(x) + self.log_step * dims


def invert(self, z: Tensor) -> Tensor:
    return z
