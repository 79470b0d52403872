"""The exact inverse of a convolution for PyTorch: an operator with its gradients, and a layer for flows.

>>> import torch
>>> from inverse_flow import InvConv2d
>>> layer = InvConv2d(channels=4, kernel_size=3)
>>> z, log_det = layer(torch.randn(2, 4, 8, 8))  # data to latent: a triangular solve
>>> x, _ = layer.inverse(z)  # latent to data: a convolution

Importing this package loads the shared library that ``cargo build --release`` makes. :mod:`inverse_flow._library` says where
it is looked for and what can go wrong. The project's page docs/python.md is the guide.
"""

from ._library import LibraryError, library_path
from .layers import InvConv2d
from .ops import CORNERS, Corner, check, inv_conv2d, masked_conv2d

__all__ = [
    "CORNERS",
    "Corner",
    "InvConv2d",
    "LibraryError",
    "check",
    "inv_conv2d",
    "library_path",
    "masked_conv2d",
]
