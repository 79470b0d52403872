"""The inverse convolution as a layer of a flow."""

from __future__ import annotations

import math
import operator
from typing import Literal, Sequence

import torch
from torch import Tensor, nn

from . import _corners
from ._corners import Corners
from .ops import inv_conv2d, masked_conv2d


class InvConv2d(nn.Module):
    """Inverse convolution: data to latent is a triangular solve, latent to data a masked convolution.

    ::

        W = I0 + M * weight,   z = A(W)^-1 x,   x = A(W) z,   log_det = -H W sum_c log W[c,c,anchor]

    A(W) is :func:`~inverse_flow.masked_conv2d`. M is 1 on every tap but the anchor, and there 1 strictly below the
    diagonal; I0 is the anchor's diagonal: ones, or ``exp(weight)``. The constraint is part of W, so no optimiser, weight
    decay or checkpoint can break it, and with ``diagonal="unit"`` the log-determinant is exactly 0.

    The parameter ``weight`` ``[C, C/g, k, k]`` has the name, the shape and the meaning of the Rust layer
    ``inverse_flow::flows::InvConv``: state dicts go both ways. Its masked entries have gradient 0.

    Args:
        channels: C.
        kernel_size: side k of the square filters.
        corners: one corner for each of g groups of consecutive channels, or a word for one group; g must divide C.
        diagonal: ``"unit"``, or ``"learnable"``: ``exp(weight)``, which cannot become 0.
        init_std: deviation of the initial taps; small, so that the layer starts near the identity.
        bound: keeps the recursion from growing along the image: at every output the other taps sum to less than this
            part of the diagonal, in absolute value. Between 0 and 1, or None for taps without a bound.
        device: of the parameter.
        dtype: of the parameter, float32 or float64.

    Raises:
        TypeError, ValueError: an argument of another kind, or out of range; the message names it.
    """

    weight: nn.Parameter
    _mask: Tensor
    _identity: Tensor

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        corners: Corners = ("top_left",),
        *,
        diagonal: Literal["unit", "learnable"] = "unit",
        init_std: float = 0.01,
        bound: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels = _integer("channels", channels)
        kernel_size = _integer("kernel_size", kernel_size)
        init_std = _number("init_std", init_std)
        bound = None if bound is None else _number("bound", bound)
        corners = tuple(_corners.parse("InvConv2d", corners))
        _check(channels, kernel_size, corners, diagonal, init_std, bound)
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(f"InvConv2d: `dtype` must be a floating-point dtype such as torch.float32, got {dtype}")
        self.channels = channels
        self.kernel_size = kernel_size
        self.corners = corners
        self.diagonal = diagonal
        self.init_std = init_std
        self.bound = bound
        shape = (channels, channels // len(corners), kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        mask, identity = _constants(shape, self.corners)
        # constants of the configuration, so no state: the state dict is the weight alone
        self.register_buffer("_mask", mask.to(self.weight), persistent=False)
        self.register_buffer("_identity", identity.to(self.weight), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the taps from ``N(0, init_std^2)``."""
        nn.init.normal_(self.weight, std=self.init_std)

    def effective_weight(self) -> Tensor:
        """The filter W ``[C, C/g, k, k]`` that the operators get."""
        if self.diagonal == "unit":
            diagonal = self._identity
        else:
            # exp sees the diagonal only: a large tap elsewhere must not become inf * 0
            diagonal = self._log_diagonal().exp() * self._identity
        taps = self._mask * self.weight
        if self.bound is not None:
            limit = self.bound * diagonal.sum((1, 2, 3), keepdim=True)
            ratio = taps.abs().sum((1, 2, 3), keepdim=True) / limit
            taps = taps / torch.hypot(torch.ones_like(ratio), ratio)
        return diagonal + taps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to latent.

        Args:
            x: ``[N, C, H, W]``.

        Returns:
            z ``[N, C, H, W]``, and ``log|det dz/dx|`` ``[N]`` in nats.
        """
        return inv_conv2d(x, self.effective_weight(), self.corners), self._log_det(x, -1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latent to data, the exact inverse of :meth:`forward`.

        Args:
            z: ``[N, C, H, W]``.

        Returns:
            x ``[N, C, H, W]``, and ``log|det dx/dz|`` ``[N]`` in nats.
        """
        return masked_conv2d(z, self.effective_weight(), self.corners), self._log_det(z, 1)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        text = f"{self.channels}, kernel_size={self.kernel_size}, corners={self.corners}, diagonal={self.diagonal!r}"
        return text if self.bound is None else f"{text}, bound={self.bound}"

    def _log_diagonal(self) -> Tensor:
        return self.weight * self._identity

    def _log_det(self, x: Tensor, sign: int) -> Tensor:
        if self.diagonal == "unit":
            return self.weight.new_zeros(x.shape[0])
        pixels = x.shape[2] * x.shape[3]
        return (sign * pixels * self._log_diagonal().sum()).expand(x.shape[0])


def _constants(shape: tuple[int, int, int, int], corners: Sequence[str]) -> tuple[Tensor, Tensor]:
    """M and the diagonal's place, both ``[C, C/g, k, k]`` of zeros and ones."""
    mask, identity = torch.ones(shape), torch.zeros(shape)
    group, kernel = shape[1], shape[2]
    for index, corner in enumerate(corners):
        row = 0 if corner.startswith("bottom") else kernel - 1
        column = 0 if corner.endswith("right") else kernel - 1
        rows = slice(index * group, (index + 1) * group)
        mask[rows, :, row, column] = torch.ones(group, group).tril(-1)
        identity[rows, :, row, column] = torch.eye(group)
    return mask, identity


def _integer(name: str, value: object) -> int:
    hint = "; filters are square, and have one size" if name == "kernel_size" and isinstance(value, (tuple, list)) else ""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # whole numbers of NumPy and torch too
    except TypeError:
        raise TypeError(f"InvConv2d: `{name}` must be a whole number, got {type(value).__name__} {value!r}{hint}") from None


def _number(name: str, value: object) -> float:
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise TypeError(f"InvConv2d: `{name}` must be a number, got {type(value).__name__} {value!r}")
    return float(value)


def _check(
    channels: int, kernel_size: int, corners: Sequence[str], diagonal: str, init_std: float, bound: float | None
) -> None:
    if channels < 1 or channels % len(corners):
        raise ValueError(
            "InvConv2d: `corners` must divide the channels into equal groups, got "
            f"{_counted(len(corners), 'corner')} for {_counted(channels, 'channel')}"
        )
    if kernel_size < 1:
        raise ValueError(f"InvConv2d: `kernel_size` must be 1 or more, got {kernel_size}")
    if diagonal not in ("unit", "learnable"):
        raise ValueError(f"InvConv2d: `diagonal` must be 'unit' or 'learnable', got {diagonal!r}")
    if not (init_std >= 0 and math.isfinite(init_std)):
        raise ValueError(f"InvConv2d: `init_std` must be a number from 0 on, got {init_std}")
    if bound is not None and not 0 < bound < 1:
        raise ValueError(f"InvConv2d: `bound` must be a number between 0 and 1, or None, got {bound}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
