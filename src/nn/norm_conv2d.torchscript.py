def forward(self, x: Tensor) -> Tensor:
    scale = torch.exp(self.log_scale)
    weight = self.weight * scale.view([-1, 1, 1, 1])
    pad = weight.size(3) // 2
    return torch.conv2d(x, weight, self.shift * scale, [1, 1], [pad, pad])
