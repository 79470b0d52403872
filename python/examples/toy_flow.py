"""A normalizing flow in pure PyTorch with InvConv2d: learns to draw 8x8 digits in under a minute on two CPU cores.

    PYTHONPATH=python .venv/bin/python python/examples/toy_flow.py [--steps 700] [--out toy_flow.png]

Prints the exact negative log-likelihood in nats per pixel and writes a picture: data above, samples below. The `# %%`
lines are cells: editors that know them, such as VS Code and Spyder, run the file piece by piece like a notebook.
"""

# %% What is needed. The path makes the example work from a checkout without PYTHONPATH.
import argparse
import math
import pathlib
import struct
import sys
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import torch
from inverse_flow import CORNERS, InvConv2d
from torch import Tensor, nn

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=700, help="training steps (default: 700)")
parser.add_argument("--out", default="toy_flow.png", help="the picture (default: toy_flow.png)")
options = parser.parse_args()
torch.manual_seed(0)

# %% The data: ten digits, drawn 5 pixels high and 4 wide, near the middle of 8x8 pixels, with blurred strokes and noise. The
# noise gives the data a density; without it the best likelihood would be infinite.
DIGITS = """
.##. .#.. ###. ###. #.#. ###. .##. #### .##. .##.
#..# ##.. ...# ...# #.#. #... #... ...# #..# #..#
#..# .#.. .##. .##. #### ###. ###. ..#. .##. .###
#..# .#.. #... ...# ..#. ...# #..# .#.. #..# ...#
.##. ###. #### ###. ..#. ###. .##. .#.. .##. .##.
"""
ROWS = [line.split() for line in DIGITS.split("\n") if line]
GLYPHS = torch.tensor([[[float(c == "#") for c in row[d]] for row in ROWS] for d in range(10)])  # [10, 5, 4]


def draw(count: int) -> Tensor:
    """`[count, 1, 8, 8]`, strokes near 1 on a background near 0."""
    canvas = torch.zeros(count, 8, 8)
    for image, digit, y, x in zip(canvas, *(torch.randint(n, (count,)) for n in (10, 2, 2))):
        image[y + 1 : y + 6, x + 1 : x + 5] = GLYPHS[digit]
    soft = nn.functional.avg_pool2d(canvas[:, None], 3, stride=1, padding=1)
    return 0.8 * canvas[:, None] + 0.3 * soft + 0.1 * torch.randn(count, 1, 8, 8)


# %% The layers. Each returns its value and log|det| of its Jacobian, one number for each image, in both directions.
class ActNorm(nn.Module):
    """Scale and shift of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x + self.shift) * self.log_scale.exp(), self.log_scale.sum().expand(len(x)) * x[0, 0].numel()

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp() - self.shift, -self.log_scale.sum().expand(len(z)) * z[0, 0].numel()


class Coupling(nn.Module):
    """One half of the channels scales and shifts the other; `swap` says which."""

    def __init__(self, channels: int, swap: bool, width: int = 48) -> None:
        super().__init__()
        self.swap = swap
        self.net = nn.Sequential(
            *(nn.Conv2d(channels // 2, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 1), nn.ReLU()),
            nn.Conv2d(width, channels, 3, padding=1),
        )
        nn.init.zeros_(self.net[-1].weight)  # starts as the identity
        nn.init.zeros_(self.net[-1].bias)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        given, changed = x.chunk(2, 1)[:: -1 if self.swap else 1]
        log_scale, shift = self.net(given).chunk(2, 1)
        return given, changed, 2 * torch.tanh(log_scale / 2), shift

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        return torch.cat((given, changed)[:: -1 if self.swap else 1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given, changed, log_scale, shift = self.halves(x)
        return self.join(given, changed * log_scale.exp() + shift), log_scale.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        given, changed, log_scale, shift = self.halves(z)
        return self.join(given, (changed - shift) * (-log_scale).exp()), -log_scale.sum((1, 2, 3))


# %% The flow: 2x2 pixels become 4 channels, then steps of scale, inverse convolution (its corner changes from step to
# step, so that every pixel reaches every other) and coupling.
class Flow(nn.Module):
    """Images `[N, 1, 8, 8]` to latents `[N, 4, 4, 4]` under N(0, 1)."""

    def __init__(self, steps: int = 8, channels: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for i in range(steps):
            self.layers.append(ActNorm(channels))
            self.layers.append(InvConv2d(channels, 3, corners=CORNERS[i % 4 : i % 4 + 1], bound=0.9))
            self.layers.append(Coupling(channels, swap=i % 2 == 1))

    def log_prob(self, x: Tensor) -> Tensor:
        z, log_det = nn.functional.pixel_unshuffle(x, 2), torch.zeros(len(x))
        for layer in self.layers:
            z, change = layer(z)
            log_det = log_det + change
        return log_det - (z.square() + math.log(2 * math.pi)).sum((1, 2, 3)) / 2

    @torch.no_grad()
    def sample(self, count: int, temperature: float = 0.8) -> Tensor:
        x = temperature * torch.randn(count, 4, 4, 4)
        for layer in reversed(self.layers):
            x, _ = layer.inverse(x)
        return nn.functional.pixel_shuffle(x, 2)


# %% Training: exact maximum likelihood.
flow, held_out = Flow(), draw(1000)
adam = torch.optim.Adam(flow.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=options.steps)


@torch.no_grad()
def nats_per_pixel() -> float:
    return -flow.log_prob(held_out).mean().item() / 64


start, began = nats_per_pixel(), time.monotonic()
for _ in range(options.steps):
    loss = -flow.log_prob(draw(256)).mean() / 64
    adam.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
    adam.step()
    schedule.step()
seconds = time.monotonic() - began
print(
    f"negative log-likelihood in nats per pixel: {start:.3f} before and {nats_per_pixel():.3f} after "
    f"{options.steps} steps, {seconds:.0f} s (the noise alone has {math.log(0.1) + 0.5 * math.log(2 * math.pi * math.e):.3f})"
)


# %% The picture, as a grey-scale PNG: no plotting library needed.
def png(pixels: Tensor) -> bytes:
    """`pixels` `[H, W]` of 0..255."""
    height, width = pixels.shape
    lines = b"".join(b"\0" + bytes(line) for line in pixels.to(torch.uint8).tolist())

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def grid(images: Tensor, columns: int = 16) -> Tensor:
    """`[N, 1, 8, 8]` to rows of images, three times enlarged."""
    large = nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=0.5).view(-1, columns, 10, 10)
    return large.transpose(1, 2).reshape(-1, columns * 10).repeat_interleave(3, 0).repeat_interleave(3, 1)


picture = torch.cat([grid(draw(64)), torch.full((12, 480), 0.5), grid(flow.sample(64))])
pathlib.Path(options.out).write_bytes(png((picture.clamp(0, 1) * 255).round()))
print(f"{options.out}: data above, samples below")
