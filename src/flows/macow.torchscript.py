# An image, or a window of taps, turned so that the lines are rows that depend on those above them.
def turn(self, x: Tensor) -> Tensor:
    if self.columns:
        x = x.transpose(2, 3)
    return x.flip([2]) if self.reversed else x


def turn_back(self, x: Tensor) -> Tensor:
    if self.reversed:
        x = x.flip([2])
    return x.transpose(2, 3).contiguous() if self.columns else x


# Log-scale and shift of every row but the last ones from the `depth` rows above it.
def affine(self, above: Tensor, look: Tensor, project: Tensor) -> Tuple[Tensor, Tensor]:
    side = look.size(3) // 2
    hidden = torch.elu(torch.conv2d(above, look, self.look.bias, [1, 1], [0, side]))
    out = torch.conv2d(hidden, project, self.project.bias)
    half = out.size(1) // 2
    return torch.log_sigmoid(out[:, half:] + 2.0), out[:, :half]


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    look = self.turn(self.look.weight())
    rows = self.turn(x)
    above = torch.constant_pad_nd(rows, [0, 0, look.size(2), -1])
    log_scale, shift = self.affine(above, look, self.project.weight())
    return self.turn_back(rows * torch.exp(log_scale) + shift), per_sample(log_scale)


# Row after row.
def invert(self, z: Tensor) -> Tensor:
    look = self.turn(self.look.weight())
    project = self.project.weight()
    depth = look.size(2)
    z = self.turn(z)
    rows = [torch.zeros_like(z[:, :, :1])] * depth
    for h in range(z.size(2)):
        log_scale, shift = self.affine(torch.cat(rows[h : h + depth], 2), look, project)
        rows.append((z[:, :, h : h + 1] - shift) * torch.exp(-log_scale))
    return self.turn_back(torch.cat(rows[depth:], 2))
