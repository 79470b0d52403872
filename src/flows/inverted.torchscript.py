

# The two above, read backwards.
def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    z = self.back(x)
    _, log_det = self.there(z)
    return z, -log_det


def invert(self, z: Tensor) -> Tensor:
    x, _ = self.there(z)
    return x
