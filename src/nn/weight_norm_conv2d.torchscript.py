def forward(self, x: Tensor) -> Tensor:
    weight = weight_norm(self.direction, self.gain)
    pad = weight.size(3) // 2
    return torch.conv2d(x, weight, self.bias, [1, 1], [pad, pad])
