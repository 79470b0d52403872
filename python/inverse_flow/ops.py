"""The two operators as functions.

CPU and CUDA kernels, autograd of any order, autocast, and the shapes that ``torch.compile`` and ``torch.export`` trace with
are registered in torch's dispatcher by the shared library itself; :mod:`inverse_flow._functorch` adds ``torch.func``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _corners
from ._corners import CORNERS, Corner, Corners
from ._functorch import call

__all__ = ["CORNERS", "Corner", "Corners", "check", "inv_conv2d", "masked_conv2d"]


def inv_conv2d(input: Tensor, weight: Tensor, corners: Corners = ("top_left",)) -> Tensor:
    """Solves ``masked_conv2d(x, weight, corners) == input`` for ``x``: the inverse of a convolution.

    For one group of C channels and the corner top_left::

        input[o,h,w] = sum_{i,a,b} weight[o,i,k-1-a,k-1-b] x[i,h-a,w-b],   0 <= a,b < k

    The anchor tap (a = b = 0) is read as a lower triangular matrix with a non-zero diagonal; the entries above it are
    not read and have gradient 0. The other corners are mirror images: for bottom_left, for example, the tap that
    multiplies ``x[h+a, w-b]`` is stored at ``weight[..., a, k-1-b]``.

    Args:
        input: ``[B, C, H, W]``, float32 or float64, with any strides. Under autocast it is computed in float32.
        weight: ``[C, C/g, k, k]``, same dtype and device.
        corners: g corners in an iterable, one for each group of C/g consecutive channels. A word alone is the corner of
            the only group: ``"top_left"`` is ``("top_left",)``.

    Returns:
        ``[B, C, H, W]``. ``log|det dx/dinput| = -H W sum_c log|weight[c,c,anchor]|``.

    Raises:
        TypeError: an argument of another kind.
        ValueError: an unknown corner, or none; the message has the nearest word.
        RuntimeError: arguments that do not fit together (the message names the argument, what was expected and what
            was got).
        torch.linalg.LinAlgError: a zero on the anchor's diagonal (this is a RuntimeError too). On a GPU the call cannot
            wait to look: the result is infinite or NaN there, and :func:`check` raises this error.
    """
    corners = _arguments("inv_conv2d", corners, input=input, weight=weight)
    return call("inv_conv2d", corners, input, weight)


def masked_conv2d(x: Tensor, weight: Tensor, corners: Corners = ("top_left",)) -> Tensor:
    """The convolution itself, zero-padded on the corners' sides only: the exact inverse of :func:`inv_conv2d`.

    For one group and the corner top_left it is ``conv2d(pad(x, (k-1, 0, k-1, 0)), weight)``, with the anchor tap's
    upper triangle taken as 0.

    Args:
        x: ``[B, C, H, W]``, float32 or float64, with any strides.
        weight: as in :func:`inv_conv2d`.
        corners: as in :func:`inv_conv2d`.

    Returns:
        ``[B, C, H, W]``.

    Raises:
        TypeError, ValueError, RuntimeError: as in :func:`inv_conv2d`.
    """
    corners = _arguments("masked_conv2d", corners, x=x, weight=weight)
    return call("masked_conv2d", corners, x, weight)


def check(device: torch.device | str) -> None:
    """Raises the error of a solve without an inverse that was queued on the current stream of ``device`` since the last
    call.

    Call it where you look at results, once a step for example: it waits for the device, and forgets what it has raised. On
    the CPU :func:`inv_conv2d` raises the error itself, and there is nothing to do.

    Args:
        device: such as ``"cuda"`` or ``x.device``.

    Raises:
        RuntimeError: there is no such device.
        torch.linalg.LinAlgError: a weight had a zero on its anchor's diagonal; the message has the lowest such channel.
    """
    torch.ops.inverse_flow.check(torch.device(device))


def _arguments(function: str, corners: Corners, **tensors: Tensor) -> list[str]:
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{function}: `{name}` must be a torch.Tensor, got {type(tensor).__name__}")
    return _corners.parse(function, corners)
