"""Confirms predicted standard deviations of diameters by fits of simulated voxels (docs/design.md).

    python3 design_activeax.py SCHEME.csv ... [--voxels N] [--sample]

For every scheme: 4 diameters x N voxels (250), axes uniform on the sphere, intra-axonal fraction
0.5 to 0.7, Rician noise of SNR 20, seed 4; predicted standard deviations by `microtome info
design`, errors of `microtome fit`, with --sample posterior standard deviations of `microtome
sample --method nuts`. Needs microtome in PATH, numpy, pandas and pyarrow. Works in a folder of its own.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

DIAMETERS = (2, 4, 6, 10)
SIGMA = 0.05
MODEL = ["--model", "activeax_ex_vivo"]
NOISE = ["--noise", "rician"]
COLUMN = "intra.diameter"


def truth(voxels):
    rng = np.random.default_rng(4)
    rows = []
    for d in DIAMETERS:
        for _ in range(voxels):
            theta, phi = np.arccos(rng.uniform(-1, 1)), rng.uniform(-np.pi, np.pi)
            intra = rng.uniform(0.5, 0.7)
            rows.append((theta, phi, d, intra, 0.9 - intra, 0.05, 0.05, 1.0))
    names = ["mu_theta", "mu_phi", "diameter", "fraction"]
    columns = ["intra." + n for n in names] + ["extra.fraction", "csf.fraction", "still.fraction", "s0"]
    return pd.DataFrame(rows, columns=columns)


def run(*words):
    subprocess.run(["microtome", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemes", nargs="+")
    parser.add_argument("--voxels", type=int, default=250)
    parser.add_argument("--sample", action="store_true")
    args = parser.parse_args()
    table = truth(args.voxels)
    for scheme in args.schemes:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            p = folder / "truth.csv"
            table.to_csv(p, index=False)
            run("predict", *MODEL, "--scheme", scheme, "--parameters", p, "--out", folder / "clean.npy")
            clean = np.load(folder / "clean.npy")
            rng = np.random.default_rng(1)
            shape = clean.shape
            noisy = np.hypot(clean + SIGMA * rng.normal(size=shape), SIGMA * rng.normal(size=shape))
            np.save(folder / "noisy.npy", noisy)
            run("info", "design", *MODEL, *NOISE, "--sigma", SIGMA, "--scheme", scheme,
                "--parameters", p, "--out", folder / "sd.csv")
            sd = pd.read_csv(folder / "sd.csv").query("parameter == @COLUMN").sort_values("set")
            data = [*MODEL, *NOISE, "--sigma", SIGMA, "--scheme", scheme, "--dwi", folder / "noisy.npy"]
            if args.sample:
                run("sample", "--quiet", "--method", "nuts", *data, "--out", folder / "posterior")
                found = pq.read_table(folder / "posterior" / "summary.parquet").to_pandas()
                found = found.query("parameter == @COLUMN").sort_values("voxel")
            else:
                run("fit", "--quiet", *data, "--out", folder / "fit")
                found = pq.read_table(folder / "fit" / "fit.parquet").to_pandas().sort_values("voxel")
            print(scheme)
            for k, d in enumerate(DIAMETERS):
                rows = slice(k * args.voxels, (k + 1) * args.voxels)
                predicted = sd.iloc[rows]
                cr, posterior = rms(predicted.sd_cramer_rao), rms(predicted.sd_posterior)
                line = f"  {d:>3} um   cramer-rao {cr:.3f}   posterior {posterior:.3f}"
                if args.sample:
                    mean, spread = found["mean"].to_numpy()[rows], found["sd"].to_numpy()[rows]
                    print(f"{line}   sampled sd {rms(spread):.3f}   error of the mean {rms(mean - d):.3f}")
                else:
                    error = found[COLUMN].to_numpy()[rows] - d
                    print(f"{line}   rmse {rms(error):.3f}   median error {np.median(abs(error)):.3f}")


if __name__ == "__main__":
    main()
