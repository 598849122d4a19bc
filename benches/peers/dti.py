"""Tensor, kurtosis and perfusion fits beside DIPY: cost, accuracy, agreement.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install dipy pyarrow
    cargo build --release
    /tmp/peers/bin/python benches/peers/dti.py [--real FOLDER] [--microtome BINARY]

Run by hand. Everything on one thread; times are CPU milliseconds a voxel. That of microtome is
the cpu_s of its run.json over all voxels, so reading, tables and start-up are in it; that of
DIPY is the fit alone, in memory, of the same signals.

Synthetic: 500 tensors of tissue (FA about 0.5 to 0.85), 18 b = 0 and 90 directions at b = 1000
("b1", 108 measurements) and also at 2000 and 3000 s/mm2 ("all", 288), Rician noise of SNR 30.
DKI: three-shell signals of two-tensor mixtures, b up to 2000. IVIM: 21 b-values of 0 to
1000 s/mm2, f 0.05 to 0.3, D 0.6 to 1.5, D* 8 to 60 um2/ms, SNR 50.
--real FOLDER holds small_64D.{nii,bval,bvec}: FA of the two WLS voxel by voxel.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from dipy.core.gradients import gradient_table
from dipy.reconst.dki import DiffusionKurtosisModel
from dipy.reconst.dti import TensorModel
from dipy.reconst.ivim import IvimModel

warnings.filterwarnings("ignore")
HERE = Path(__file__).resolve().parent
REPEAT = 40  # copies of the voxels that microtome fits, so that start-up is a small part


def fibonacci(n, turn):
    i = np.arange(n)
    z = 1 - (i + 0.5) / n
    phi = np.pi * (3 - np.sqrt(5)) * i + turn
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def scheme(b0, n, shells):
    b = np.concatenate([np.zeros(b0)] + [np.full(n, 1000.0 * s) for s in shells])
    g = np.concatenate([np.tile([0.0, 0.0, 1.0], (b0, 1))]
                       + [fibonacci(n, k) for k in range(len(shells))])
    return b, g


def rotations(rng, n):
    q, r = np.linalg.qr(rng.normal(size=(n, 3, 3)))
    return q * np.sign(np.einsum("nii->ni", r))[:, None, :]


def tensors(rng, n):
    l = np.stack([rng.uniform(1.3, 2.0, n), rng.uniform(0.4, 0.9, n), rng.uniform(0.2, 0.6, n)], 1)
    q = rotations(rng, n)
    return np.einsum("nij,nj,nkj->nik", q, l, q), l


def signal(d, b, g):
    return np.exp(-1e-3 * b * np.einsum("mi,nij,mj->nm", g, d, g))


def rician(rng, s, sigma):
    return np.hypot(s + sigma * rng.normal(size=s.shape), sigma * rng.normal(size=s.shape))


def fa_md(l):
    md = l.mean(1)
    fa = np.sqrt(1.5 * ((l - md[:, None]) ** 2).sum(1) / (l**2).sum(1))
    return fa, md


def microtome(binary, y, b, g, flags, repeat=REPEAT):
    """The table of a fit, and CPU milliseconds a voxel."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "y.npy", np.tile(y, (repeat, 1)))
        np.savetxt(folder / "b.bval", b[None], fmt="%.17g")
        np.savetxt(folder / "b.bvec", g.T, fmt="%.17g")
        line = [binary, "fit", "--dwi", folder / "y.npy", "--bval", folder / "b.bval",
                "--bvec", folder / "b.bvec", "--out", folder / "out", "--threads", "1",
                "--max-failed", "100", "--quiet"] + flags
        subprocess.run([str(x) for x in line], check=True)
        record = json.loads((folder / "out/run.json").read_text())
        table = pq.read_table(folder / "out/fit.parquet").slice(0, len(y))
        return table, 1e3 * record["cpu_s"] / (len(y) * repeat)


def dipy(fit):
    start = time.process_time()
    result = fit()
    return result, 1e3 * (time.process_time() - start)


def column(table, name):
    return table[name].to_numpy()


def compare_dti(binary, rng):
    d, l = tensors(rng, 500)
    fa, md = fa_md(l)
    for name, shells in (("b1", [1]), ("all", [1, 2, 3])):
        b, g = scheme(18, 90, shells)
        y = rician(rng, signal(d, b, g), 1 / 30)
        gtab = gradient_table(b, bvecs=g, b0_threshold=50)
        for method in ("ols", "wls", "nlls"):
            table, ours = microtome(binary, y, b, g, ["--model", "dti", "--method", method])
            count = 500 if method != "nlls" else 200
            model = TensorModel(gtab, fit_method=method.upper())
            fit, theirs = dipy(lambda: model.fit(y[:count]))
            theirs /= count
            e = [np.median(np.abs(column(table, c) - t)) for c, t in (("fa", fa), ("md", md))]
            p = [np.median(np.abs(v - t[:count])) for v, t in ((fit.fa, fa), (1e3 * fit.md, md))]
            away = np.abs(column(table, "fa")[:count] - fit.fa).max()
            print(f"dti {method:4} {name:3} {len(b):3} measurements: microtome {ours:.4f} ms, DIPY "
                  f"{theirs:.4f} ms, ratio {theirs / ours:.1f}; median errors FA {e[0]:.4f} "
                  f"(DIPY {p[0]:.4f}), MD {e[1]:.4f} ({p[1]:.4f}); FA at most {away:.1e} apart")


def compare_dki(binary, rng):
    n = 200
    b, g = scheme(12, 40, [0.7, 1.4, 2.0])
    (d1, _), (d2, _) = tensors(rng, n), tensors(rng, n)
    f = rng.uniform(0.3, 0.7, n)[:, None]
    y = rician(rng, f * signal(d1, b, g) + (1 - f) * signal(d2, b, g), 1 / 50)
    gtab = gradient_table(b, bvecs=g, b0_threshold=50)
    for method in ("ols", "wls"):
        table, ours = microtome(binary, y, b, g, ["--model", "dki", "--method", method])
        model = DiffusionKurtosisModel(gtab, fit_method=method.upper())

        def measures():
            fit = model.fit(y)
            return fit.fa, fit.mk(), fit.ak(), fit.rk()

        (fa, mk, ak, rk), theirs = dipy(measures)
        theirs /= n
        # DIPY cuts kurtosis to [-3/7, 10] and computes MK to about 1e-4.
        clip = lambda c: column(table, c) if c == "fa" else column(table, c).clip(-3 / 7, 10)
        text = ", ".join(
            f"{c} {np.nanmax(np.abs(clip(c) - v)):.1e}"
            for c, v in (("fa", fa), ("mk", mk), ("ak", ak), ("rk", rk)))
        print(f"dki {method:4}: microtome {ours:.4f} ms, DIPY {theirs:.4f} ms, ratio "
              f"{theirs / ours:.1f}; at most apart: {text}")


def compare_ivim(binary, rng):
    n = 60
    b = np.array([0, 10, 20, 30, 40, 60, 80, 100, 120, 140, 160, 180, 200,
                  300, 400, 500, 600, 700, 800, 900, 1000], float)
    g = np.tile([1.0, 0.0, 0.0], (len(b), 1))
    f, d, fast = (rng.uniform(low, high, n) for low, high in ((0.05, 0.3), (0.6, 1.5), (8, 60)))
    clean = (f[:, None] * np.exp(-1e-3 * b * fast[:, None])
             + (1 - f[:, None]) * np.exp(-1e-3 * b * d[:, None]))
    y = rician(rng, clean, 0.02)
    table, ours = microtome(binary, y, b, g, ["--model", "ivim"])
    model = IvimModel(gradient_table(b, bvecs=g, b0_threshold=0), fit_method="trr")
    fit, theirs = dipy(lambda: model.fit(y))
    theirs /= n
    p = fit.model_params
    error = [np.median(np.abs(column(table, c) - t)) for c, t in
             (("blood.fraction", f), ("tissue.lambda_iso", d), ("blood.lambda_iso", fast))]
    peer = [np.median(np.abs(v - t)) for v, t in
            ((p[:, 1], f), (1e3 * p[:, 3], d), (1e3 * p[:, 2], fast))]
    print(f"ivim: microtome {ours:.4f} ms, DIPY trr {theirs:.4f} ms, ratio {theirs / ours:.0f}; "
          f"median errors f {error[0]:.4f} (DIPY {peer[0]:.4f}), D {error[1]:.4f} ({peer[1]:.4f}), "
          f"D* {error[2]:.2f} ({peer[2]:.2f}) um2/ms")


def compare_real(binary, folder):
    import nibabel as nib

    stem = Path(folder) / "small_64D"
    y = np.asarray(nib.load(f"{stem}.nii").dataobj, dtype=float).reshape(-1, 65)
    b, g = np.loadtxt(f"{stem}.bval").ravel(), np.loadtxt(f"{stem}.bvec")
    g = np.nan_to_num(g.T if g.shape[0] == 3 else g)
    g[b > 50] /= np.linalg.norm(g[b > 50], axis=1)[:, None]
    table, _ = microtome(binary, y, b, g, ["--model", "dti", "--method", "wls"], 1)
    fit = TensorModel(gradient_table(b, bvecs=g, b0_threshold=50), fit_method="WLS").fit(y)
    positive = (y > 0).all(1)
    away = np.abs(column(table, "fa") - fit.fa)
    done = column(table, "status") == "converged"
    print(f"small_64D, wls: {len(y)} voxels, {done.sum()} converged, {positive.sum()} with positive "
          f"signals only: FA at most {away[positive & done].max():.1e} apart; the "
          f"{(~positive & done).sum()} others (another floor of the logarithm) at most "
          f"{away[~positive & done].max(initial=0):.1e}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--microtome", default=HERE.parents[1] / "target/release/microtome")
    arguments.add_argument("--real")
    arguments = arguments.parse_args()
    rng = np.random.default_rng(5)
    compare_dti(arguments.microtome, rng)
    compare_dki(arguments.microtome, rng)
    compare_ivim(arguments.microtome, rng)
    if arguments.real:
        compare_real(arguments.microtome, arguments.real)


if __name__ == "__main__":
    main()
