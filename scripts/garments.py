#!/usr/bin/env python3
"""Draws pictures of garments, 28x28 grey, for trying `score --against` without a download: a set that is no digits and looks a
little like Fashion-MNIST. Silhouettes of eight kinds of garment with folds, prints and the grain of cloth.

    scripts/garments.py OUT.npz [--count N] [--seed S]

writes `images` [N, 28, 28] and `labels` [N]. Needs nothing but Python 3.9.
"""

import argparse
import io
import math
import random
import struct
import zipfile

SIDE = 28
INSIDE = 2  # samples of a pixel in each direction
CLASSES = ["t-shirt", "trousers", "pullover", "dress", "coat", "shoe", "bag", "boot"]


def outline(kind, r):
    """Corners of the left half of a garment that stands upright, or of all of one seen from the side, within 0..1."""
    j = lambda x, by=0.03: x + r.uniform(-by, by)
    neck, waist, hem = j(0.42, 0.02), j(0.33), j(0.31)
    if kind in ("t-shirt", "pullover", "coat"):
        long = kind != "t-shirt"
        cuff = (j(0.08), j(0.82)) if long else (j(0.08), j(0.38))
        armpit = (j(0.30, 0.02), j(0.36))
        bottom = j(0.95 if kind == "coat" else 0.88)
        return [(0.5, 0.12), (neck, 0.08), (j(0.28), 0.12), cuff, (cuff[0] + 0.12, cuff[1] + 0.02), armpit, (hem, bottom), (0.5, bottom)], True
    if kind == "dress":
        return [(0.5, 0.12), (neck, 0.06), (j(0.36), 0.10), (j(0.34), 0.30), (j(0.40), 0.45), (j(0.20, 0.08), 0.95), (0.5, 0.96)], True
    if kind == "trousers":
        return [(0.5, 0.05), (j(0.32), 0.05), (j(0.30), 0.35), (j(0.28), 0.96), (j(0.42), 0.96), (0.49, j(0.35))], True
    if kind == "bag":
        top = j(0.40)
        return [(0.5, j(0.18)), (j(0.30), top - 0.12), (j(0.28), top), (j(0.10), top), (j(0.08), j(0.88)), (0.5, 0.90)], True
    heel = j(0.80)
    if kind == "shoe":
        return [(0.06, heel), (j(0.10), j(0.48)), (j(0.35), j(0.56)), (j(0.60), j(0.62)), (j(0.93), j(0.72)), (0.96, heel), (0.06, heel + 0.05)], False
    return [(j(0.18), 0.08), (j(0.52), 0.08), (j(0.50), 0.52), (j(0.90), 0.70), (0.93, 0.90), (j(0.16), 0.92)], False


def inside(corners, x, y):
    """Whether a point is in a polygon: an odd number of edges lies to the right of it."""
    odd = False
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            odd = not odd
    return odd


def draw(kind, r):
    """The bytes of one picture."""
    corners, mirrored = outline(kind, r)
    if mirrored:
        corners = corners + [(1 - x, y) for x, y in reversed(corners)]
    light, shade = r.uniform(0.35, 0.95), r.uniform(-0.3, 0.3)
    folds, turn, phase = r.uniform(3, 9), r.uniform(-0.6, 0.6), r.uniform(0, 6.3)
    depth, grain = r.uniform(0.03, 0.15), r.uniform(0.02, 0.08)
    stripes = r.choice([0, 0, 0, r.uniform(5, 14)])
    pixels = bytearray()
    for row in range(SIDE):
        for column in range(SIDE):
            covered = 0
            for sample in range(INSIDE**2):
                x = (column + (sample % INSIDE + 0.5) / INSIDE) / SIDE
                y = (row + (sample // INSIDE + 0.5) / INSIDE) / SIDE
                covered += inside(corners, x, y)
            if not covered:
                pixels.append(0)
                continue
            x, y = (column + 0.5) / SIDE, (row + 0.5) / SIDE
            value = light * (1 + shade * (y - 0.5)) + depth * math.sin(2 * math.pi * folds * (x + turn * y) + phase)
            if stripes and math.sin(2 * math.pi * stripes * y) > 0.3:
                value *= 0.6
            value = (value + r.gauss(0, grain)) * covered / INSIDE**2
            pixels.append(max(0, min(255, round(255 * value))))
    return bytes(pixels)


def npy(shape, data):
    """An array of bytes as a `.npy` file."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    r = random.Random(arguments.seed)
    images, labels = io.BytesIO(), bytearray()
    for i in range(arguments.count):
        labels.append(i % len(CLASSES))
        images.write(draw(CLASSES[i % len(CLASSES)], r))
    with zipfile.ZipFile(arguments.out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy((arguments.count, SIDE, SIDE), images.getvalue()))
        archive.writestr("labels.npy", npy((arguments.count,), bytes(labels)))


if __name__ == "__main__":
    main()
