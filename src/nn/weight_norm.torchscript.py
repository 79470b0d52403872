def weight(self) -> Tensor:
    return weight_norm(self.direction, self.gain)
