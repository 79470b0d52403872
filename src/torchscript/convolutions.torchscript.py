# The masked convolution and its inverse in plain tensor operations.


# The image dimensions in which a corner is the mirror image of the top left one.
def mirrored(corner: str) -> List[int]:
    dims: List[int] = []
    if corner == "bottom_left" or corner == "bottom_right":
        dims.append(2)
    if corner == "top_right" or corner == "bottom_right":
        dims.append(3)
    return dims


# A x: zero-padded on the corner's side only; each group of channels has its own corner.
def masked_conv2d(x: Tensor, weight: Tensor, corners: List[str]) -> Tensor:
    pad = weight.size(3) - 1
    group = weight.size(1)
    parts: List[Tensor] = []
    for g in range(len(corners)):
        dims = mirrored(corners[g])
        top = 0 if 2 in dims else pad
        left = 0 if 3 in dims else pad
        image = torch.constant_pad_nd(x[:, g * group : (g + 1) * group], [left, pad - left, top, pad - top])
        parts.append(torch.conv2d(image, weight[g * group : (g + 1) * group]))
    return torch.cat(parts, 1)


# Solves A x = y from the top left corner. Pixels of one anti-diagonal h + w = d depend on earlier diagonals only, so
# a diagonal of all images and channels is one matrix product with the diagonals before it:
#
#     x[h, w] = D y[h, w] - sum over (a, b) != 0 of D W[a, b] x[h - a, w - b],   D the inverse of the anchor W[0, 0]
def solve_top_left(y: Tensor, weight: Tensor) -> Tensor:
    n, c, height, width = y.size()
    k = weight.size(3)
    taps = weight.flip([2, 3])  # W[a, b] multiplies x[h - a, w - b]
    anchor = taps[:, :, 0, 0]
    # [H W, N, C], times D
    y = torch.linalg_solve_triangular(anchor, y.permute([1, 2, 3, 0]).flatten(1), upper=False)
    y = y.t().reshape([height * width, n, c])
    taps = torch.linalg_solve_triangular(anchor, taps.flatten(1), upper=False)
    taps = taps.view([c, c, k * k]).permute([2, 1, 0]).reshape([k * k * c, c])[c:]
    # pixels in the order of their diagonals, from the top within one
    row = torch.arange(height, device=y.device).view([-1, 1])
    order = (row + torch.arange(width, device=y.device)) * height + row
    order = torch.argsort(order.flatten())
    pixels = y.index_select(0, order)
    # by diagonal, rows in their places below k - 1 rows of zeros
    before = [torch.zeros([height + k - 1, n, c], dtype=y.dtype, device=y.device)] * (2 * k - 2)
    solved: List[Tensor] = []
    begin = 0
    for d in range(height + width - 1):
        first = max(0, d - width + 1)
        rows = min(d, height - 1) - first + 1
        x = pixels[begin : begin + rows]
        begin += rows
        if k > 1:
            near: List[Tensor] = []
            for a in range(k):
                for b in range(k):
                    if a + b > 0:
                        near.append(before[-(a + b)].narrow(0, first + k - 1 - a, rows))
            seen = torch.cat(near, 2).view([rows * n, taps.size(0)])
            x = torch.addmm(x.reshape([rows * n, c]), seen, taps, alpha=-1)
            x = x.view([rows, n, c])
            before.append(torch.constant_pad_nd(x, [0, 0, 0, 0, first + k - 1, height - first - rows]))
        solved.append(x)
    x = torch.cat(solved, 0).index_select(0, torch.argsort(order))
    return x.view([height, width, n, c]).permute([2, 3, 0, 1])


# Solves A x = y, each group of channels from its own corner.
def inv_conv2d(y: Tensor, weight: Tensor, corners: List[str]) -> Tensor:
    group = weight.size(1)
    parts: List[Tensor] = []
    for g in range(len(corners)):
        dims = mirrored(corners[g])
        image = y[:, g * group : (g + 1) * group].flip(dims)
        taps = weight[g * group : (g + 1) * group].flip(dims)
        parts.append(solve_top_left(image, taps).flip(dims))
    return torch.cat(parts, 1)
