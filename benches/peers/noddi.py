"""NODDI beside AMICO: cost, median errors and biases on synthetic voxels of known truth.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install dmri-amico pyarrow
    cargo build --release
    /tmp/peers/bin/python benches/peers/noddi.py DATA [--voxels 5000] [--microtome BINARY]

DATA holds schemes/schemefile_hcp_wu_minn.scheme1 (18 b = 0, 90 directions at 1000, 2000 and
3000 s/mm2); the script says so and stops when it is absent. Run by hand.

Signals are those of `microtome predict --model noddi` ("mean signal") and, as AMICO's forward model
is another one (docs/presets/noddi.md), those of its form: the Gaussian signal of the mean tensor
("mean tensor"). Each program is right only for its own. odi 0.05 to 0.5, f_intra 0.3 to 0.8, f_iso 0 to 0.4 and Rician noise
of SNR 30. One thread each. Time is CPU milliseconds a voxel: of microtome the cpu_s of its
run.json, with start-up, reading and tables; of AMICO `Evaluation.fit()` alone, its dictionary and
loading left out (they are printed beside it). The same voxels without noise show the error of
AMICO's grid and penalty ("mean tensor") and of its forward model, too ("mean signal").
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import contextlib
import io
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.special import dawsn

HERE = Path(__file__).resolve().parent
SIGMA = 1 / 30
NAMES = ("odi", "f_intra", "f_iso")


def truths(rng, n):
    odi, f_intra, f_iso = (rng.uniform(low, high, n) for low, high in ((0.05, 0.5), (0.3, 0.8), (0, 0.4)))
    theta, phi = np.arccos(rng.uniform(-1, 1, n)), rng.uniform(-np.pi, np.pi, n)
    return np.stack([odi, f_intra, f_iso, theta, phi], axis=1)


def mean_tensor(binary, folder, scheme, truth):
    """The same tissue in the form of the MATLAB toolbox and AMICO."""
    odi, f, w, theta, phi = truth.T
    sticks, water = truth.copy(), truth.copy()
    sticks[:, 1:3], water[:, 2] = (1, 0), 1
    stick, csf = signals(binary, folder, scheme, sticks), signals(binary, folder, scheme, water)
    b = -np.log(csf) / 3.0
    g = np.loadtxt(scheme, skiprows=1)[:, :3]
    g = g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-12)
    mu = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1)
    kappa = 1 / np.tan(np.pi * odi / 2)
    tau = -1 / (2 * kappa) + 1 / (2 * dawsn(np.sqrt(kappa)) * np.sqrt(kappa))
    par, perp = 1.7 * (1 - f * (1 - tau)), 1.7 * (1 - f * (1 + tau) / 2)
    zeppelin = np.exp(-b * (perp[:, None] + (par - perp)[:, None] * (mu @ g.T) ** 2))
    f, w = f[:, None], w[:, None]
    return w * csf + (1 - w) * (f * stick + (1 - f) * zeppelin)


def signals(binary, folder, scheme, truth):
    odi, f_intra, f_iso, theta, phi = truth.T
    columns = np.stack([theta, phi, odi, (1 - f_iso) * f_intra, (1 - f_iso) * (1 - f_intra), f_iso], axis=1)
    header = "intra.mu_theta,intra.mu_phi,intra.odi,intra.fraction,extra.fraction,csf.fraction"
    np.savetxt(folder / "p.csv", columns, delimiter=",", header=header, comments="", fmt="%.17g")
    line = [binary, "predict", "--model", "noddi", "--scheme", scheme, "--parameters", folder / "p.csv",
            "--out", folder / "clean.npy", "--overwrite", "--quiet"]
    subprocess.run([str(x) for x in line], check=True)
    return np.load(folder / "clean.npy")


def microtome(binary, folder, scheme, y, flags):
    np.save(folder / "y.npy", y)
    out = folder / "out"
    line = [binary, "fit", "--model", "noddi", "--dwi", folder / "y.npy", "--scheme", scheme, "--out", out,
            "--threads", "1", "--overwrite", "--quiet", *flags]
    subprocess.run([str(x) for x in line], check=True)
    table = pq.read_table(out / "fit.parquet").to_pandas()
    f_iso = table["csf.fraction"].to_numpy()
    found = np.stack([table["intra.odi"], table["intra.fraction"] / (1 - f_iso), f_iso], axis=1)
    return found, 1e3 * json.loads((out / "run.json").read_text())["cpu_s"] / len(y)


def amico_fit(folder, scheme, y):
    """Estimates (odi, f_intra, f_iso), CPU ms a voxel of fit(), CPU seconds of everything before."""
    import nibabel as nib

    with contextlib.redirect_stdout(io.StringIO()):
        import amico

        start = time.process_time()
        amico.setup()
        nib.save(nib.Nifti1Image(y[:, None, None, :].astype(np.float32), np.eye(4)), folder / "dwi.nii")
        nib.save(nib.Nifti1Image(np.ones((len(y), 1, 1), np.uint8), np.eye(4)), folder / "mask.nii")
        (folder / "s.scheme").write_text(Path(scheme).read_text())
        evaluation = amico.Evaluation(str(folder), ".", output_path=str(folder / "amico"))
        evaluation.set_config("nthreads", 1)
        evaluation.set_config("BLAS_nthreads", 1)
        evaluation.load_data("dwi.nii", "s.scheme", mask_filename="mask.nii", b0_thr=0)
        evaluation.set_model("NODDI")
        evaluation.generate_kernels(regenerate=True)
        evaluation.load_kernels()
        before = time.process_time() - start
        start = time.process_time()
        evaluation.fit()
        ms = 1e3 * (time.process_time() - start) / len(y)
        maps = np.asarray(evaluation.RESULTS["MAPs"]).reshape(len(y), -1)
    ndi, odi, fwf = maps[:, 0], maps[:, 1], maps[:, 2]
    return np.stack([odi, ndi, fwf], axis=1), ms, before


def errors(found, truth):
    e = found - truth[:, :3]
    return "; ".join(f"{n} {np.median(np.abs(e[:, k])):.4f} ({e[:, k].mean():+.4f})" for k, n in enumerate(NAMES))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--voxels", type=int, default=5000)
    arguments.add_argument("--microtome", default=HERE.parents[1] / "target/release/microtome")
    arguments = arguments.parse_args()
    scheme = arguments.data / "schemes" / "schemefile_hcp_wu_minn.scheme1"
    if not scheme.exists():
        raise SystemExit(f"skipped: {scheme} is absent")
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        os.environ["HOME"] = str(folder)  # AMICO keeps rotation matrices there
        truth = truths(rng, arguments.voxels)
        own = signals(arguments.microtome, folder, scheme, truth)
        theirs = mean_tensor(arguments.microtome, folder, scheme, truth)
        noise = SIGMA * rng.normal(size=(2, *own.shape))
        rician = lambda clean: np.hypot(clean + noise[0], noise[1])
        print("median absolute errors (mean error)")
        cases = {
            "mean signal, SNR 30": rician(own),
            "mean signal, no noise": own,
            "mean tensor, SNR 30": rician(theirs),
            "mean tensor, no noise": theirs,
        }
        for what, y in cases.items():
            found, ms, before = amico_fit(folder, scheme, y)
            print(f"{what}: AMICO: {ms:.3f} ms ({before:.1f} s before): {errors(found, truth)}", flush=True)
            flags = {"Rician": ["--noise", "rician", "--sigma", str(SIGMA)], "Gaussian": []}
            for name in ("Rician", "Gaussian") if "SNR" in what else ("Gaussian",):
                for count in sorted({500, len(y)}):
                    found, ours = microtome(arguments.microtome, folder, scheme, y[:count], flags[name])
                    print(f"{what}: microtome, {name}, {count} voxels: {ours:.3f} ms, ratio {ms / ours:.2f}: "
                          f"{errors(found, truth[:count])}", flush=True)


if __name__ == "__main__":
    main()
