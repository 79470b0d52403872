"""``torch.func``: grad, jvp, vmap and what is made of them (jacobian, hessian, per-example gradients).

The shared library records its operators by functions in C++, which torch does not allow inside of these transforms. There
they are recorded by the Python function below instead, which knows the same derivatives (src/ffi/bridge.cpp). With A the
masked convolution, G its weight gradient and H = -G that of a solve, all linear in each of their arguments::

    x = A(W)^-1 y     u = A(W)^-T dx     dy = u            dW =  H(x, u)
    x = A(W)^-T y     u = A(W)^-1 dx     dy = u            dW =  H(u, x)
    y = A(W) x                           dx = A(W)^T dy    dW =  G(x, dy)
    y = A(W)^T x                         dx = A(W) dy      dW =  G(dy, x)
    g = G(x, u)                          dx = A(dg)^T u    du =  A(dg) x
    h = H(x, u)                          dx = -A(dh)^T u   du = -A(dh) x
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from . import _library

_library.load()

SOLVE, SOLVE_ADJOINT = "inv_conv2d", "_inv_conv2d_adjoint"
CONV, CONV_ADJOINT = "masked_conv2d", "_masked_conv2d_adjoint"
WEIGHT_GRAD, SOLVE_WEIGHT_GRAD = "_conv2d_weight_grad", "_inv_conv2d_weight_grad"
_WEIGHT_GRADS = (WEIGHT_GRAD, SOLVE_WEIGHT_GRAD)
_ADJOINT = {SOLVE: SOLVE_ADJOINT, SOLVE_ADJOINT: SOLVE, CONV: CONV_ADJOINT, CONV_ADJOINT: CONV}


def call(op: str, corners: Sequence[str], *tensors: Tensor) -> Tensor:
    """One of the operators, under whatever transforms are active."""
    if torch._C._are_functorch_transforms_active():
        return _Recorded.apply(op, tuple(corners), *tensors)
    return getattr(torch.ops.inverse_flow, op)(*tensors, list(corners))


class _Recorded(torch.autograd.Function):
    """An operator, its vector-Jacobian product, its Jacobian-vector product and its batching rule."""

    @staticmethod
    def forward(op: str, corners: tuple[str, ...], *tensors: Tensor) -> Tensor:
        return getattr(torch.ops.inverse_flow, op)(*tensors, list(corners))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.op, ctx.corners, *tensors = inputs
        # a solve is differentiated at its solution, a convolution at its input
        at = output if ctx.op in (SOLVE, SOLVE_ADJOINT) else tensors[0]
        ctx.save_for_backward(at, *tensors[1:])
        ctx.save_for_forward(at, *tensors[1:])

    @staticmethod
    def backward(ctx, grad: Tensor):
        op, corners, (at, second, *shape) = ctx.op, ctx.corners, ctx.saved_tensors
        if op in _WEIGHT_GRADS:  # here `second` is u, and grad has the shape of the weight
            grad = grad if op == WEIGHT_GRAD else -grad
            return None, None, call(CONV_ADJOINT, corners, second, grad), call(CONV, corners, at, grad), None
        u = call(_ADJOINT[op], corners, grad, second)
        if op == SOLVE:
            return None, None, u, call(SOLVE_WEIGHT_GRAD, corners, at, u, second)
        if op == SOLVE_ADJOINT:
            return None, None, u, call(SOLVE_WEIGHT_GRAD, corners, u, at, second)
        pair = (at, grad) if op == CONV else (grad, at)
        return None, None, u, call(WEIGHT_GRAD, corners, *pair, second)

    @staticmethod
    def jvp(ctx, _op, _corners, first: Tensor | None, second: Tensor | None, *_shape):
        op, corners, (at, weight, *shape) = ctx.op, ctx.corners, ctx.saved_tensors
        if op in _WEIGHT_GRADS:
            terms = [(first, weight), (at, second)]
            return sum(call(op, corners, a, b, *shape) for a, b in terms if a is not None and b is not None)
        conv = CONV if op in (SOLVE, CONV) else CONV_ADJOINT
        of_weight = None if second is None else call(conv, corners, at, second)
        if op in (SOLVE, SOLVE_ADJOINT):  # A x = y gives A dx = dy - dA x
            right = first if of_weight is None else -of_weight if first is None else first - of_weight
            return call(op, corners, right, weight)
        of_first = None if first is None else call(op, corners, first, weight)
        return of_weight if of_first is None else of_first if of_weight is None else of_first + of_weight

    @staticmethod
    def vmap(info, in_dims, op: str, corners: tuple[str, ...], *tensors: Tensor):
        """V examples with one weight are one larger batch. V examples with V weights are V times as many groups of
        channels, which the operators have already: one call, with nothing repeated but the corners."""
        dims, size = in_dims[2:], info.batch_size
        if op not in _WEIGHT_GRADS and dims[1] is None and tensors[0].dim() == 5:
            images, weight = tensors[0].movedim(dims[0], 0), tensors[1]
            return call(op, corners, images.flatten(0, 1), weight).unflatten(0, images.shape[:2]), 0
        tensors = [t.expand(size, *t.shape) if d is None else t.movedim(d, 0) for t, d in zip(tensors, dims)]
        if any(t.dim() != 5 for t in tensors):
            # an example without a batch, say: the operator's own error names the argument
            return call(op, corners, *(t[0] for t in tensors)), None
        *images, weight = tensors
        grouped = [t.transpose(0, 1).flatten(1, 2) for t in images]  # [V, B, C, H, W] to [B, V C, H, W]
        out = call(op, corners * size, *grouped, weight.flatten(0, 1))
        if op in _WEIGHT_GRADS:
            return out.unflatten(0, weight.shape[:2]), 0
        return out.unflatten(1, (size, -1)).transpose(0, 1), 0


def _register_vmap() -> None:
    # for graphs that the library recorded and that are run backwards under vmap (is_grads_batched), and for those who
    # call torch.ops.inverse_flow themselves
    for op in (SOLVE, SOLVE_ADJOINT, CONV, CONV_ADJOINT, *_WEIGHT_GRADS):

        def rule(info, in_dims, *arguments, op=op):
            *tensors, corners = arguments
            return _Recorded.vmap(info, (None, None, *in_dims[:-1]), op, tuple(corners), *tensors)

        torch.library.register_vmap(f"inverse_flow::{op}", rule)


_register_vmap()
