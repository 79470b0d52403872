def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
    pad = weight.size(3) // 2
    return torch.conv2d(x, weight, None, [1, 1], [pad, pad])


# The convolution of an image as a matrix [C H W, C H W], float64; that of 1x1 filters is [C, C], once for each pixel.
def dense(self, x: Tensor) -> Tensor:
    c, h, w = x.size(1), x.size(2), x.size(3)
    if self.weight.size(3) == 1:
        return self.weight.view([c, c]).double()
    basis = torch.eye(c * h * w, device=x.device).double().view([c * h * w, c, h, w])
    return self.convolve(basis, self.weight.double()).view([c * h * w, c * h * w]).t()


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    log_det = log_abs_det(self.dense(x))
    if self.weight.size(3) == 1:
        log_det = log_det * (x.size(2) * x.size(3))
    return self.convolve(x, self.weight) + column(self.bias), for_each_sample(log_det, x)


def invert(self, z: Tensor) -> Tensor:
    centred = z - column(self.bias)
    if self.weight.size(3) == 1:
        return mix_channels(centred, inverse_matrix(self.dense(z)).to(z.dtype))
    columns = centred.flatten(1).t().double()
    return torch.linalg_solve(self.dense(z), columns).t().reshape(z.size()).to(z.dtype)
