# Space to channels, by blocks of f x f pixels; the position in a block is the faster index of the new channels, or with
# `block_major` the slower one.
def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    n, c, h, w = x.size()
    f = self.factor
    blocks = x.reshape([n, c, h // f, f, w // f, f])
    blocks = blocks.permute([0, 3, 5, 1, 2, 4]) if self.block_major else blocks.permute([0, 1, 3, 5, 2, 4])
    return blocks.reshape([n, c * f * f, h // f, w // f]), zero_log_det(x)


def invert(self, z: Tensor) -> Tensor:
    n, c, h, w = z.size()
    f = self.factor
    c = c // (f * f)
    if self.block_major:
        blocks = z.reshape([n, f, f, c, h, w]).permute([0, 3, 4, 1, 5, 2])
    else:
        blocks = z.reshape([n, c, f, f, h, w]).permute([0, 1, 4, 2, 5, 3])
    return blocks.reshape([n, c, h * f, w * f])
