"""CPU cost of whole commands: `microtome fit` from an array to its tables.

    cargo build --release
    python3 benches/pipeline.py [--microtome BINARY] [--voxels N] [--repeat N] [--models NAMES]

Run by hand; needs NumPy. One thread. Two numbers a model, both CPU milliseconds a voxel and
medians over the repetitions: "cpu_s" is that of the summary of `--json` (reading, hashing,
fitting, tables), "process" is user and system time of the whole process, start-up included.
--keep FOLDER leaves the inputs there, for a profiler.

Synthetic, Rician noise of SNR 30. dti, ball_stick, noddi: 18 b = 0 and 90 directions at each of
b = 1000, 2000, 3000 s/mm2 (288 measurements), tensors, sticks and mixtures of them. csd: 1 b = 0
and 64 directions at b = 3000, one or two fibres, the exact response, lmax 8.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import json
import resource
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.polynomial import legendre

HERE = Path(__file__).resolve().parent
DISTINCT = 10_000  # voxels before they repeat
RUNS = {  # model: flags, voxels
    "dti": ("--model dti --method wls", 100_000),
    "csd": ("--model csd --response r.toml --lmax 8", 100_000),
    "ball_stick": ("--model ball_stick", 20_000),
    "noddi": ("--model noddi", 5_000),
}


def half_sphere(n, turn=0.0):
    i = np.arange(n)
    z = 1 - (i + 0.5) / n
    phi, r = np.pi * (3 - np.sqrt(5)) * i + turn, np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def scheme(b0, n, shells):
    b = np.concatenate([np.zeros(b0)] + [np.full(n, s) for s in shells])
    up = np.tile([0.0, 0.0, 1.0], (b0, 1))
    return b, np.concatenate([up] + [half_sphere(n, k) for k in range(len(shells))])


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def rician(rng, s, snr=30):
    e = rng.normal(size=(2,) + s.shape) / snr
    return 1000 * np.hypot(s + e[0], e[1])


def fibre(mu, b, g, par=1.7, perp=0.2):
    return np.exp(-b * (perp + (par - perp) * (mu @ g.T) ** 2))


def tensors(rng, n, b, g):
    q = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    l = np.stack([rng.uniform(1.3, 2.0, n), rng.uniform(0.4, 0.9, n), rng.uniform(0.2, 0.6, n)], 1)
    return np.exp(-b * sum(l[:, k, None] * (q[:, k] @ g.T) ** 2 for k in range(3)))


def sticks(rng, n, b, g):
    f = rng.uniform(0.3, 0.7, (n, 1))
    s = f * fibre(unit(rng.normal(size=(n, 3))), b, g, 1.7, 0.0)
    return s + (1 - f) * np.exp(-b * rng.uniform(0.7, 2.5, (n, 1)))


def tissue(rng, n, b, g):
    """Eight sticks about an axis, their tortuous surroundings and fluid."""
    mu = unit(rng.normal(size=(n, 3)))
    intra, csf = rng.uniform(0.3, 0.7, (n, 1)), rng.uniform(0.0, 0.2, (n, 1))
    spread = rng.uniform(0.1, 0.5, (n, 1))
    s = 0
    for _ in range(8):
        u = unit(mu + spread * rng.normal(size=(n, 3)))
        outside = np.exp(-b * 1.7 * ((1 - intra) + intra * (u @ g.T) ** 2))
        s = s + (intra * fibre(u, b, g, 1.7, 0.0) + (1 - intra) * outside) / 8
    return (1 - csf) * s + csf * np.exp(-3.0 * b)


def crossings(rng, n, b, g):
    u, v = unit(rng.normal(size=(n, 3))), rng.normal(size=(n, 3))
    v = unit(v - np.sum(u * v, 1, keepdims=True) * u)
    angle = np.radians(rng.uniform(45, 90, n))[:, None]
    v = np.cos(angle) * u + np.sin(angle) * v
    share = np.where(rng.random(n) < 0.5, 1.0, 0.5)[:, None]
    return share * fibre(u, b, g) + (1 - share) * fibre(v, b, g)


def response(b):
    t, w = legendre.leggauss(80)
    f = 1000 * np.exp(-b * (0.2 + 1.5 * t * t))
    y = [np.sqrt((2 * l + 1) / (4 * np.pi)) * legendre.legval(t, [0] * l + [1]) for l in range(0, 9, 2)]
    return [float(2 * np.pi * np.sum(w * f * v)) for v in y]


def inputs(folder, model, voxels, rng):
    if model == "csd":
        b, g = scheme(1, 64, [3.0])
        zonal = response(3.0)
        (folder / "r.toml").write_text(
            f'basis = "mrtrix3"\nb_s_per_mm2 = [3000.0]\n[[tissue]]\nname = "wm"\nzonal = [{zonal}]\n')
    else:
        b, g = scheme(18, 90, [1.0, 2.0, 3.0])
    make = {"dti": tensors, "csd": crossings, "ball_stick": sticks, "noddi": tissue}[model]
    y = rician(rng, make(rng, min(voxels, DISTINCT), b, g))
    np.save(folder / f"{model}.npy", np.resize(y, (voxels, len(b))))
    np.savetxt(folder / f"{model}.bval", b[None] * 1000, fmt="%.17g")
    np.savetxt(folder / f"{model}.bvec", g.T, fmt="%.17g")


def run(binary, folder, model, flags, voxels):
    line = (f"fit --dwi {model}.npy --bval {model}.bval --bvec {model}.bvec {flags} "
            f"--threads 1 --quiet --json --overwrite --out out.{model}")
    subprocess.run(["rm", "-rf", folder / f"out.{model}"], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([binary, *line.split()], cwd=folder, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = json.loads(out.stdout.splitlines()[-1])
    process = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1e3 * record["cpu_s"] / voxels, 1e3 * process / voxels


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--microtome", default=HERE.parent / "target/release/microtome", type=Path)
    parser.add_argument("--voxels", type=int, help="voxels of every model")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--models", default="dti,csd,ball_stick")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    binary = arguments.microtome.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        folder.mkdir(exist_ok=True)
        for model in arguments.models.split(","):
            flags, voxels = RUNS[model]
            voxels = arguments.voxels or voxels
            inputs(folder, model, voxels, np.random.default_rng(1))
            times = [run(binary, folder, model, flags, voxels) for _ in range(arguments.repeat)]
            cpu, process = np.median(times, axis=0)
            print(f"{model:10s} {voxels} voxels: cpu_s {cpu:.5f}, process {process:.5f} ms a voxel", flush=True)


if __name__ == "__main__":
    main()
