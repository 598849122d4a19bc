"""Voxels of ball and stick with Rician noise for timings of `microtome sample`.

    python3 ball_stick_voxels.py FOLDER

Writes FOLDER/{bval,bvec} (18 without weighting, then 90 directions of a Fibonacci half sphere at each
of b = 1000, 2000, 3000 s/mm^2, every shell turned by one radian) and FOLDER/{moderate,typical}1000.npy,
1000 voxels x 288 measurements with S0 = 1 and sigma = 1/30. Uniform parameters: moderate has
f in [0.3, 0.7], d_stick in [1, 2.5], d_ball in [0.7, 2.5] um^2/ms; typical f in [0.1, 0.9] and both
diffusivities in [0.5, 2.8] um^2/ms; directions are uniform on the sphere. Needs numpy.
"""

import sys
from pathlib import Path

import numpy as np

SIGMA = 1 / 30


def directions(count, turn):
    i = np.arange(count)
    z = 1 - (i + 0.5) / count
    phi = np.pi * (3 - np.sqrt(5)) * i + turn
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], 1)


def scheme():
    shells = [(b, directions(90, shell)) for shell, b in enumerate((1000.0, 2000.0, 3000.0))]
    bval = np.concatenate([np.zeros(18), *(np.full(90, b) for b, _ in shells)])
    bvec = np.concatenate([np.zeros((18, 3)), *(d for _, d in shells)])
    return bval, bvec


def voxels(bval, bvec, f, d_stick, d_ball, seed, count=1000):
    rng = np.random.default_rng(seed)
    f, d_stick, d_ball = (rng.uniform(*range_, count) for range_ in (f, d_stick, d_ball))
    mu = rng.normal(size=(count, 3))
    mu /= np.linalg.norm(mu, axis=1)[:, None]
    b = bval / 1000
    stick = np.exp(-b * d_stick[:, None] * (mu @ bvec.T) ** 2)
    ball = np.exp(-b * d_ball[:, None])
    signal = f[:, None] * stick + (1 - f)[:, None] * ball
    noise = SIGMA * rng.normal(size=signal.shape)
    return np.hypot(signal + noise, SIGMA * rng.normal(size=signal.shape))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    bval, bvec = scheme()
    np.savetxt(folder / "bval", bval[None], fmt="%g")
    np.savetxt(folder / "bvec", bvec.T, fmt="%.12g")
    moderate = voxels(bval, bvec, (0.3, 0.7), (1, 2.5), (0.7, 2.5), 1)
    typical = voxels(bval, bvec, (0.1, 0.9), (0.5, 2.8), (0.5, 2.8), 2)
    np.save(folder / "moderate1000.npy", moderate)
    np.save(folder / "typical1000.npy", typical)


if __name__ == "__main__":
    main()
