"""Spherical deconvolution beside DIPY: cost, and angles of crossings.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install dipy
    cargo build --release && cargo build --release -p microtome-inference --example deconvolution
    /tmp/peers/bin/python benches/peers/csd.py [--target FOLDER]

Run by hand. One thread; CPU milliseconds a voxel, median of 5. Two numbers of microtome:
"search" is the deconvolution alone, as csdeconv of DIPY; "fit" also has peaks, odi, anisotropy,
residuals. "command" is cpu_s of run.json of `microtome fit` over 100,000 voxels: reading, tables
and start-up are in it.

Synthetic: 1000 voxels, one or two fibres (1.7 and 0.2 um^2/ms) crossing at 45 to 90 degrees,
6 b = 0 and 64 directions at b = 3000 s/mm2, Rician noise of SNR 30, lmax 8, the exact response.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import json
import re
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.csdeconv import ConstrainedSphericalDeconvModel, csdeconv
from numpy.polynomial import legendre

warnings.filterwarnings("ignore")
HERE = Path(__file__).resolve().parent


def half_sphere(n):
    i = np.arange(n)
    z = 1 - (i + 0.5) / n
    phi, r = np.pi * (3 - np.sqrt(5)) * i, np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def voxels(rng, n, b, g):
    u, v = unit(rng.normal(size=(n, 3))), rng.normal(size=(n, 3))
    v = unit(v - np.sum(u * v, 1, keepdims=True) * u)
    angle = np.radians(rng.uniform(45, 90, n))[:, None]
    v = np.cos(angle) * u + np.sin(angle) * v
    share = np.where(rng.random(n) < 0.5, 1.0, 0.5)[:, None]
    s = share * np.exp(-b * (0.2 + 1.5 * (u @ g.T) ** 2))
    s = 1000 * (s + (1 - share) * np.exp(-b * (0.2 + 1.5 * (v @ g.T) ** 2)))
    e = 1000 / 30 * rng.normal(size=(2,) + s.shape)
    return np.hypot(s + e[0], e[1])


def zonal(b):
    t, w = legendre.leggauss(80)
    f = 1000 * np.exp(-b * (0.2 + 1.5 * t * t))
    y = [np.sqrt((2 * l + 1) / (4 * np.pi)) * legendre.legval(t, [0] * l + [1]) for l in range(0, 9, 2)]
    return [float(2 * np.pi * np.sum(w * f * y)) for y in y]


def median_ms(work, n):
    times = []
    for _ in range(5):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) / n * 1e3)
    return float(np.median(times))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default=HERE.parents[1] / "target" / "release", type=Path)
    target = parser.parse_args().target
    rng = np.random.default_rng(1)
    b = np.r_[np.zeros(6), np.full(64, 3.0)]
    g = np.vstack([np.tile([0.0, 0.0, 1.0], (6, 1)), half_sphere(64)])
    y = voxels(rng, 1000, b, g)
    table = gradient_table(b * 1000, bvecs=g)
    model = ConstrainedSphericalDeconvModel(table, (np.array([1.7e-3, 2e-4, 2e-4]), 1000.0), sh_order_max=8)
    weighted = y[:, b > 0]

    def peer():
        for v in weighted:
            csdeconv(v, model._X, model.B_reg, tau=0.1, convergence=50, P=model._P)

    dipy = median_ms(peer, len(y))
    whole = median_ms(lambda: model.fit(y), len(y))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savetxt(folder / "b.csv", np.c_[b * 1000, g], delimiter=",", fmt="%.17g")
        np.savetxt(folder / "signals.csv", y, delimiter=",", fmt="%.17g")
        r = zonal(3.0)
        (folder / "response.csv").write_text("3000," + ",".join(map(repr, r)) + "\n")
        out = subprocess.run([target / "examples" / "deconvolution", folder], check=True, capture_output=True, text=True).stdout
        search, fit = (float(x) for x in re.search(r"search ([\d.]+) ms.*fit ([\d.]+) ms", out).groups())
        np.save(folder / "y.npy", np.tile(y, (100, 1)))
        np.savetxt(folder / "a.bval", b[None] * 1000)
        np.savetxt(folder / "a.bvec", g.T)
        text = f'basis = "mrtrix3"\nb_s_per_mm2 = [3000.0]\n[[tissue]]\nname = "wm"\nzonal = [{r}]\n'
        (folder / "r.toml").write_text(text)
        line = "fit --model csd --dwi y.npy --bval a.bval --bvec a.bvec --response r.toml --threads 1 --quiet --out out"
        subprocess.run([target.resolve() / "microtome", *line.split()], check=True, cwd=folder)
        record = json.loads((folder / "out" / "run.json").read_text())
        command = record["cpu_s"] / record["counts"]["voxels"] * 1e3
    print(f"DIPY csdeconv {dipy:.4f} ms a voxel (Model.fit {whole:.4f})")
    for what, ms in (("search", search), ("fit", fit), ("command", command)):
        print(f"microtome {what:8s} {ms:.4f} ms a voxel: {dipy / ms:.1f} times faster than csdeconv")


if __name__ == "__main__":
    main()
