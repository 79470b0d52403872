#!/usr/bin/env python3
"""A PyTorch twin of the harness models, for timing: what a careful Python user would write with eager PyTorch.

    scripts/peer_pytorch.py [--model inverse-flow|snf] [--image mnist|cifar10] [--batch 100] [--samples 5] [--threads N]

Two levels of 16 steps (ActNorm, the layer, shared 10-bin spline on [-20, 20], channel reversal, affine coupling with a
two-layer net of width 512), split prior of the same net, Adam. Inverse-Flow's solve goes anti-diagonal by anti-diagonal, all
pixels of one at once, with the exact adjoint as its backward; SNF's 1x1 convolution trains with the self-normalised
gradient and its reconstruction loss. Prints one JSON object a line: training step, forward pass, sampling 100 images,
milliseconds, and the peak resident memory of the training step.

The measurement runs twice, in processes of their own: as PyTorch is installed, and with glibc told to keep freed
memory, so that an allocator is not mistaken for an algorithm.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
IMAGES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
MIN = 1e-3  # smallest width, height and derivative of a spline


class ActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        log_det = -self.log_scale.sum() * x.shape[2] * x.shape[3]
        return (x - self.loc) * torch.exp(-self.log_scale), log_det.expand(x.shape[0])

    def inverse(self, z):
        return z * torch.exp(self.log_scale) + self.loc


class Wavefront:
    """Which pixels each anti-diagonal has, and where their neighbours stand in the padded image."""

    cache = {}

    @classmethod
    def of(cls, height, width, kernel):
        key = (height, width, kernel)
        if key not in cls.cache:
            pad = kernel - 1
            row = width + pad
            diagonals = []
            for d in range(height + width - 1):
                h = torch.arange(max(0, d - width + 1), min(height, d + 1))
                here = (h + pad) * row + (d - h) + pad
                # taps in the order of the filter but for its last one, the current pixel
                offsets = [a * row + b for a in range(-pad, 1) for b in range(-pad, 1)][:-1]
                there = here[:, None] + torch.tensor(offsets, dtype=torch.long)[None, :]
                diagonals.append((here, there.reshape(-1)))
            cls.cache[key] = diagonals
        return cls.cache[key]


def solve(y, weight):
    """x of A(weight) x = y from the top left corner; the anchor is lower triangular."""
    batch, channels, height, width = y.shape
    kernel = weight.shape[2]
    pad = kernel - 1
    inverse = torch.linalg.inv(weight[:, :, -1, -1])
    taps = weight.reshape(channels, channels, -1)[:, :, :-1]  # [out, in, tap]
    taps = (inverse @ taps.reshape(channels, -1)).reshape(channels, channels, -1)
    taps = taps.permute(0, 2, 1).reshape(channels, -1)  # [out, tap in]
    rhs = F.pad(y, (pad, 0, pad, 0)).permute(2, 3, 1, 0).reshape(-1, channels, batch)
    rhs = torch.matmul(inverse, rhs)
    x = torch.zeros_like(rhs)
    for here, there in Wavefront.of(height, width, kernel):
        if kernel == 1:
            break
        neighbours = x[there].reshape(len(here), -1, batch)
        x[here] = rhs[here] - torch.matmul(taps, neighbours)
    x = rhs if kernel == 1 else x
    x = x.reshape(height + pad, width + pad, channels, batch)[pad:, pad:]
    return x.permute(3, 2, 0, 1).contiguous()


class InvConvFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, weight):
        x = solve(y, weight)
        ctx.save_for_backward(x, weight)
        return x

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        # the adjoint: the same solve from the opposite corner, channels transposed and, for the triangle, reversed
        turned = weight.transpose(0, 1).flip(0, 1)
        u = solve(grad.flip(1, 2, 3), turned).flip(1, 2, 3)
        kernel = weight.shape[2]
        padded = F.pad(x, (kernel - 1, 0, kernel - 1, 0))
        return u, -torch.nn.grad.conv2d_weight(padded, weight.shape, u)


class InvConv(nn.Module):
    def __init__(self, channels, kernel):
        super().__init__()
        self.theta = nn.Parameter(0.01 * torch.randn(channels, channels, kernel, kernel))
        mask, identity = torch.ones_like(self.theta), torch.zeros_like(self.theta)
        mask[:, :, -1, -1] = torch.tril(torch.ones(channels, channels), -1)
        identity[:, :, -1, -1] = torch.eye(channels)
        self.register_buffer("mask", mask)
        self.register_buffer("identity", identity)

    def weight(self):
        return self.identity + self.mask * self.theta

    def forward(self, x):
        return InvConvFunction.apply(x, self.weight()), x.new_zeros(x.shape[0])

    def inverse(self, z):
        weight = self.weight()
        pad = weight.shape[2] - 1
        return F.conv2d(F.pad(z, (pad, 0, pad, 0)), weight)


class SelfNorm(nn.Module):
    """1x1 convolution whose log-det's gradient comes from a learned inverse."""

    def __init__(self, channels, weight_of_reconstruction=100.0):
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])
        self.inverse_weight = nn.Parameter(self.weight.detach().T.clone())
        self.bias = nn.Parameter(torch.zeros(channels))
        self.factor = weight_of_reconstruction
        self.penalty = 0.0

    def forward(self, x):
        channels = x.shape[1]
        z = F.conv2d(x, self.weight.view(channels, channels, 1, 1), self.bias)
        if self.training:
            shifted = z.detach() - self.bias.detach().view(1, -1, 1, 1)
            again = F.conv2d(shifted, self.inverse_weight.view(channels, channels, 1, 1))
            self.penalty = self.factor * F.mse_loss(again, x.detach())
            # the value is not the log-det, its gradient is the self-normalised one
            log_det = (self.weight * self.inverse_weight.detach().T).sum() * x.shape[2] * x.shape[3]
        else:
            log_det = torch.linalg.slogdet(self.weight)[1] * x.shape[2] * x.shape[3]
        return z, log_det.expand(x.shape[0])

    def inverse(self, z):
        channels = z.shape[1]
        inverse = torch.linalg.inv(self.weight).view(channels, channels, 1, 1)
        return F.conv2d(z - self.bias.view(1, -1, 1, 1), inverse)


class Spline(nn.Module):
    """Rational-quadratic spline, one set of numbers for all elements; identity outside [-tail, tail]."""

    def __init__(self, bins=10, tail=20.0):
        super().__init__()
        self.bins, self.tail = bins, tail
        self.widths = nn.Parameter(0.01 * torch.randn(bins))
        self.heights = nn.Parameter(0.01 * torch.randn(bins))
        self.derivatives = nn.Parameter(0.01 * torch.randn(bins - 1))

    def axis(self, raw):
        fractions = MIN + (1 - MIN * self.bins) * torch.softmax(raw, 0)
        knots = F.pad(torch.cumsum(fractions, 0), (1, 0)) * 2 * self.tail - self.tail
        return knots, knots[1:] - knots[:-1]

    def bin_numbers(self, value, by_height):
        (x, width), (y, height) = self.axis(self.widths), self.axis(self.heights)
        inner = MIN + F.softplus(self.derivatives + math.log(math.expm1(1 - MIN)))
        derivatives = F.pad(inner, (1, 1), value=1.0)
        knots = (y if by_height else x).detach()
        index = (torch.searchsorted(knots, value.detach(), right=True) - 1).clamp(0, self.bins - 1)
        table = torch.stack([x[:-1], width, y[:-1], height, derivatives[:-1], derivatives[1:]])
        return table[:, index].unbind(0)

    def slope(self, u, s, d0, d1):
        v = u * (1 - u)
        denominator = s + (d0 + d1 - 2 * s) * v
        return denominator, s * s * (d1 * u * u + 2 * s * v + d0 * (1 - u) ** 2) / denominator**2

    def forward(self, x):
        inside = (x >= -self.tail) & (x < self.tail)
        value = torch.where(inside, x, torch.zeros_like(x))
        x0, w, y0, h, d0, d1 = self.bin_numbers(value, by_height=False)
        s = h / w
        u = (value - x0) / w
        denominator, slope = self.slope(u, s, d0, d1)
        y = y0 + h * (s * u * u + d0 * u * (1 - u)) / denominator
        log_det = torch.where(inside, torch.log(slope), torch.zeros_like(x)).flatten(1).sum(1)
        return torch.where(inside, y, x), log_det

    def inverse(self, z):
        inside = (z >= -self.tail) & (z < self.tail)
        value = torch.where(inside, z, torch.zeros_like(z))
        x0, w, y0, h, d0, d1 = self.bin_numbers(value, by_height=True)
        s = h / w
        bend = (value - y0) * (d0 + d1 - 2 * s)
        a, b, c = h * (s - d0) + bend, h * d0 - bend, -s * (value - y0)
        u = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp_min(0)))
        return torch.where(inside, x0 + w * u, z)


class Coupling(nn.Module):
    def __init__(self, channels, width=512):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, width, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 1, bias=False),
        )
        nn.init.zeros_(self.net[2].weight)

    def affine(self, x1):
        out = self.net(x1)
        return 2 * torch.tanh(out[:, 0::2] / 2), out[:, 1::2]

    def forward(self, x):
        x1, x2 = x.chunk(2, 1)
        log_scale, shift = self.affine(x1)
        return torch.cat([x1, x2 * torch.exp(log_scale) + shift], 1), log_scale.flatten(1).sum(1)

    def inverse(self, z):
        z1, z2 = z.chunk(2, 1)
        log_scale, shift = self.affine(z1)
        return torch.cat([z1, (z2 - shift) * torch.exp(-log_scale)], 1)


class Reverse(nn.Module):
    def forward(self, x):
        return x.flip(1), x.new_zeros(x.shape[0])

    def inverse(self, z):
        return z.flip(1)


class Model(nn.Module):
    def __init__(self, model, image, kernel, levels=2, steps=16):
        super().__init__()
        self.image = image
        channels, height, width = image
        self.levels, self.splits, self.latents = nn.ModuleList(), nn.ModuleList(), []
        for level in range(levels):
            channels, height, width = 4 * channels, height // 2, width // 2
            layers = []
            for _ in range(steps):
                layer = InvConv(channels, kernel) if model == "inverse-flow" else SelfNorm(channels)
                reverse = [Reverse()] if model == "inverse-flow" else []
                layers += [ActNorm(channels), layer, Spline(), *reverse, Coupling(channels)]
            self.levels.append(nn.ModuleList(layers))
            if level + 1 < levels:
                self.splits.append(Coupling(channels))
                channels //= 2
                self.latents.append((channels, height, width))
        self.latents.append((channels, height, width))

    def log_prob(self, x, noise, alpha=1e-6):
        dims = x[0].numel()
        y = ((x + noise) / 256 + alpha) * (1 - 2 * alpha)
        log_y, log_rest = torch.log(y), torch.log1p(-y)
        total = -(log_y + log_rest).flatten(1).sum(1) + dims * (math.log1p(-2 * alpha) - math.log(256))
        z = log_y - log_rest
        for level, layers in enumerate(self.levels):
            z = F.pixel_unshuffle(z, 2)
            for layer in layers:
                z, log_det = layer(z)
                total = total + log_det
            if level < len(self.splits):
                z, log_det = self.splits[level](z)
                z, latent = z.chunk(2, 1)
                total = total + log_det - 0.5 * (latent.square() + math.log(2 * math.pi)).flatten(1).sum(1)
        return total - 0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)

    def penalty(self):
        return sum(m.penalty for m in self.modules() if isinstance(m, SelfNorm))

    def sample(self, latents):
        z = latents[-1]
        for level in reversed(range(len(self.levels))):
            if level < len(self.splits):
                z = self.splits[level].inverse(torch.cat([z, latents[level]], 1))
            for layer in reversed(self.levels[level]):
                z = layer.inverse(z)
            z = F.pixel_shuffle(z, 2)
        return torch.sigmoid(z) * 256


def check(model, x, noise):
    """The model is what it claims to be: the solve undoes the convolution, and sampling undoes encoding."""
    layer = next((m for m in model.modules() if isinstance(m, InvConv)), None)
    if layer is not None:
        y = torch.randn(3, layer.theta.shape[0], 5, 7, dtype=torch.float64)
        weight = layer.weight().detach().double() + 0.05 * layer.mask.double()
        pad = weight.shape[2] - 1
        again = F.conv2d(F.pad(solve(y, weight), (pad, 0, pad, 0)), weight)
        assert (again - y).abs().max() < 1e-9, "the solve is not the inverse of the convolution"
        with torch.enable_grad():
            inputs = (y[:1, :, :2, :3].clone().requires_grad_(), weight.clone().requires_grad_())
            # the solve reads the whole anchor, so its gradient is compared where the layer's mask lets it through
            assert torch.autograd.gradcheck(lambda y, w: InvConvFunction.apply(y, w * layer.mask + layer.identity), inputs)
    assert model.log_prob(x, noise).isfinite().all(), "the likelihood is not finite"


def timed(samples, call):
    call()
    times = []
    for _ in range(samples):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
    return {"median_ms": statistics.median(times), "iqr_ms": quartiles[2] - quartiles[0]}


def measure(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    image = IMAGES[args.image]
    model = Model(args.model, image, args.kernel)
    x = torch.randint(0, 256, (args.batch, *image)).float()
    noise = torch.rand(args.batch, *image)
    with torch.no_grad():
        check(model, x[:2], noise[:2])
    params = list(model.parameters())
    adam = torch.optim.Adam(params, lr=1e-6, fused=True)

    def step():
        adam.zero_grad()
        loss = -model.log_prob(x, noise).mean() + model.penalty()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        adam.step()
        return loss.item()

    result = {
        "bench": "peer_pytorch",
        "model": args.model,
        "image": args.image,
        "allocator": "kept" if os.environ.get("MALLOC_TRIM_THRESHOLD_") else "as installed",
        "threads": args.threads,
        "batch": args.batch,
        "params": sum(p.numel() for p in params),
        "step": timed(args.samples, step),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    model.eval()
    latents = [torch.randn(100, *latent) for latent in model.latents]
    with torch.no_grad():
        result["forward"] = timed(args.samples, lambda: model.log_prob(x, noise))
        result["sample_100"] = timed(args.samples, lambda: model.sample(latents))
    print(json.dumps(result), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=["inverse-flow", "snf"], default="inverse-flow")
    parser.add_argument("--image", choices=sorted(IMAGES), default="mnist")
    parser.add_argument("--kernel", type=int, default=3)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--here", action="store_true", help="measure in this process, with its allocator")
    args = parser.parse_args()
    if args.here:
        measure(args)
        return
    plain = {k: v for k, v in os.environ.items() if k not in KEEP_MEMORY}
    for extra in ({}, KEEP_MEMORY):
        command = [sys.executable, os.path.abspath(__file__), "--here", *sys.argv[1:]]
        subprocess.run(command, env={**plain, **extra}, check=True)


if __name__ == "__main__":
    main()
