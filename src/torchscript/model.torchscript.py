# A density model over images.


def check(self, what: str, images: Tensor, shape: List[int]):
    message = "expected {} to be [N, C, H, W] with [C, H, W] = {}, got {}"
    fits = images.dim() == 4 and images.size()[1:] == shape
    assert fits, message.format(what, shape, images.size())


# log p(x) of every dequantised image, nats: `x` [N, C, H, W] holds pixels 0..255, `noise` is like it and lies in
# [0, 1), or is None for 0.5 everywhere.
def log_prob(self, x: Tensor, noise: Optional[Tensor] = None) -> Tensor:
    latents, log_prob = self.encode(x, noise)
    for z in latents:
        log_prob = log_prob + standard_normal_log_prob(z)
    return log_prob


def forward(self, x: Tensor, noise: Optional[Tensor] = None) -> Tensor:
    return self.log_prob(x, noise)


# Images to latents, and the log-det of the map.
def encode(self, x: Tensor, noise: Optional[Tensor] = None) -> Tuple[List[Tensor], Tensor]:
    self.check("x", x, self.image_shape)
    log_det = zero_log_det(x)
    latents: List[Tensor] = []
    # every stage, from data to latent
    latents.append(x)
    return latents, log_det


# Latents, one tensor of each of `latent_shapes` with a batch in front, to images: the exact inverse of `encode`, which may
# reach the ends of the pixel range, and leave it where a model knows no range.
def decode(self, z: List[Tensor]) -> Tensor:
    count = len(self.latent_shapes)
    assert len(z) == count, "expected {} latents, got {}".format(count, len(z))
    for i in range(count):
        self.check("latent {}".format(i), z[i], self.latent_shapes[i])
    x = z[-1]
    # every stage, from latent to data
    return x


# The same in [0, 256): values beyond become the nearest inside, and those that are not finite NaN.
def sample(self, z: List[Tensor]) -> Tensor:
    x = self.decode(z)
    return torch.clamp(x, 0.0, 256.0 - 1.0 / 65536.0) + (x - x)
