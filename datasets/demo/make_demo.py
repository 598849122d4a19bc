#!/usr/bin/env python3
"""Simulates the demonstration block that microtome embeds.

Needs numpy only. Run it in this folder: `python3 make_demo.py`. It writes
demo.nii.gz, demo.bval, demo.bvec and truth.csv, the same numbers every time (the
seed is fixed; compressed bytes may differ between zlib versions).

The signal of a voxel with the fibre direction mu, with b in ms/um^2 and
diffusivities in um^2/ms, is

    S = s0 * (f * exp(-b * lambda_par * (g . mu)^2) + (1 - f) * exp(-b * lambda_iso))

and the image holds the Rician magnitude with sigma = 1000 / 30. Directions g are
those of demo.bvec, in FSL's frame. The affine has a negative determinant (x to
the left), so FSL's axes are the voxel axes and mu is in that frame.
"""

import gzip
import io
import struct

import numpy as np

DIMS = (12, 12, 4)
SHELLS_S_PER_MM2 = (700.0, 1500.0, 3000.0)
DIRECTIONS = 28
SIGMA = 1000.0 / 30.0
SLOPE = 0.0625
VOXEL_MM = 2.5


def fibonacci_axes(n, turn):
    """n axes spread over the half sphere z > 0, turned about z."""
    k = np.arange(n)
    z = 1.0 - (k + 0.5) / n
    phi = turn + k * np.pi * (3.0 - np.sqrt(5.0))
    r = np.sqrt(1.0 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def scheme(rng):
    """b-values (s/mm^2) and directions: a b = 0 before every 14 of the others."""
    b, g = [], []
    for s, value in enumerate(SHELLS_S_PER_MM2):
        axes = fibonacci_axes(DIRECTIONS, 2.0 * np.pi * s / 3.0)
        signs = rng.choice([-1.0, 1.0], size=(DIRECTIONS, 1))
        b += [value] * DIRECTIONS
        g += list(axes * signs)
    order = rng.permutation(len(b))
    b, g = np.array(b)[order], np.array(g)[order]
    where = np.arange(6) * 14
    b = np.insert(b, where, 0.0)
    g = np.insert(g, where, 0.0, axis=0)
    g = np.round(g, 6)
    return b, g


def truth():
    """Smooth maps on the grid, each an array of shape DIMS."""
    i, j, k = np.meshgrid(*[np.arange(n, dtype=float) for n in DIMS], indexing="ij")
    x, y = i - 5.5, j + 4.0
    radius = np.hypot(x, y)
    tilt = 0.25 * np.sin(np.pi * k / 6.0)
    mu = np.stack([y / radius, -x / radius, tilt], axis=-1)
    mu /= np.linalg.norm(mu, axis=-1, keepdims=True)
    # The bundle is densest at a radius of 9 voxels.
    fraction = 0.2 + 0.55 * np.exp(-(((radius - 9.0) / 3.0) ** 2)) * (0.9 + 0.1 * np.cos(np.pi * k / 3.0))
    lambda_par = 1.7 + 0.25 * np.sin(2.0 * np.pi * i / 11.0 + 0.3 * k)
    lambda_iso = 1.0 + 0.2 * np.cos(np.pi * j / 11.0)
    s0 = 1000.0 * (1.0 + 0.12 * np.cos(np.pi * i / 11.0) - 0.08 * np.sin(np.pi * j / 11.0))
    return mu, fraction, lambda_par, lambda_iso, s0


def nifti(data):
    """The bytes of an int16 NIfTI-1 image."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 4, *data.shape, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, -1.0, VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, 352.0, SLOPE, 0.0)
    header[123] = 2
    header[148:167] = b"microtome demo data"
    struct.pack_into("<2h", header, 252, 0, 1)
    half = [VOXEL_MM * (n - 1) / 2.0 for n in DIMS]
    struct.pack_into("<4f", header, 280, -VOXEL_MM, 0.0, 0.0, half[0])
    struct.pack_into("<4f", header, 296, 0.0, VOXEL_MM, 0.0, -half[1])
    struct.pack_into("<4f", header, 312, 0.0, 0.0, VOXEL_MM, -half[2])
    header[344:348] = b"n+1\0"
    return bytes(header) + data.astype("<i2").tobytes(order="F")


def main():
    rng = np.random.default_rng(20240607)
    b, g = scheme(rng)
    mu, fraction, lambda_par, lambda_iso, s0 = truth()
    t2 = np.einsum("ijkc,mc->ijkm", mu, g) ** 2
    bu = b / 1000.0
    intra = np.exp(-bu * lambda_par[..., None] * t2)
    extra = np.exp(-bu * lambda_iso[..., None])
    f = fraction[..., None]
    clean = s0[..., None] * (f * intra + (1.0 - f) * extra)
    noise = rng.normal(scale=SIGMA, size=(2,) + clean.shape)
    magnitude = np.hypot(clean + noise[0], noise[1])

    stored = np.round(magnitude / SLOPE)
    assert stored.max() < 32767
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as out:
        out.write(nifti(stored))
    with open("demo.nii.gz", "wb") as out:
        out.write(buffer.getvalue())

    with open("demo.bval", "w", newline="\n") as out:
        out.write(" ".join(f"{v:.0f}" for v in b) + "\n")
    with open("demo.bvec", "w", newline="\n") as out:
        for axis in range(3):
            out.write(" ".join(f"{v:.6f}" for v in g[:, axis]) + "\n")

    columns = {
        "stick.lambda_par": lambda_par,
        "stick.fraction": fraction,
        "ball.lambda_iso": lambda_iso,
        "ball.fraction": 1.0 - fraction,
        "s0": s0,
        "stick.mu_x": mu[..., 0],
        "stick.mu_y": mu[..., 1],
        "stick.mu_z": mu[..., 2],
    }
    flat = [values.ravel(order="F") for values in columns.values()]
    with open("truth.csv", "w", newline="\n") as out:
        out.write("voxel," + ",".join(columns) + "\n")
        for voxel, row in enumerate(zip(*flat)):
            out.write(f"{voxel}," + ",".join(f"{v:.8g}" for v in row) + "\n")


if __name__ == "__main__":
    main()
