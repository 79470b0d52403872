# (I + u v) along one axis: from the left on the channels and, transposed, on the columns; from the right on the rows and
# on all pixels of a channel.
def apply(self, x: Tensor, u: Tensor) -> Tensor:
    v = self.v
    if self.axis == "channels":
        y = x.flatten(2)
        y = y + torch.matmul(u, torch.matmul(v, y))
    elif self.axis == "height":
        y = x + torch.matmul(v.t(), torch.matmul(u.t(), x))
    elif self.axis == "width":
        y = x + torch.matmul(torch.matmul(x, u), v)
    else:
        y = x.flatten(2)
        y = y + torch.matmul(torch.matmul(y, u), v)
    return y.reshape(x.size())


# det(I + u v) = det(I + v u), float64.
def core(self) -> Tensor:
    one = torch.eye(self.v.size(0), device=self.v.device).double()
    return one + torch.mm(self.v.double(), self.u.double())


def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
    log_det = torch.slogdet(self.core())[1] * self.copies
    return self.apply(x, self.u), for_each_sample(log_det, x)


# (I + u v)^-1 = I - u (I + v u)^-1 v
def invert(self, z: Tensor) -> Tensor:
    u = -torch.mm(self.u.double(), torch.linalg_inv(self.core()))
    return self.apply(z, u.to(z.dtype))
