def forward(self, x: Tensor) -> Tensor:
    y = torch.conv2d(x, self.weight, self.bias, [1, 1], [1, 1])
    return y * torch.exp(3.0 * column(self.logs))
