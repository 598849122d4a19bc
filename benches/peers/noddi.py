"""NODDI beside AMICO: cost, median errors and biases on synthetic voxels of known truth.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install dmri-amico pyarrow
    cargo build --release
    /tmp/peers/bin/python benches/peers/noddi.py DATA [--voxels 5000] [--microtome BINARY]

DATA holds schemes/schemefile_hcp_wu_minn.scheme1 (18 b = 0, 90 directions at 1000, 2000 and
3000 s/mm2); the script says so and stops when it is absent. Run by hand.

Signals are those of `microtome predict --model noddi` (AMICO's own forward model differs, see
docs/presets/noddi.md) with odi 0.05 to 0.5, f_intra 0.3 to 0.8, f_iso 0 to 0.4 and Rician noise
of SNR 30. One thread each. Time is CPU milliseconds a voxel: of microtome the cpu_s of its
run.json, with start-up, reading and tables; of AMICO `Evaluation.fit()` alone, its dictionary and
loading left out (they are printed beside it). The same voxels without noise show the error that
is AMICO's own: grid, penalty and forward model.
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

HERE = Path(__file__).resolve().parent
SIGMA = 1 / 30
NAMES = ("odi", "f_intra", "f_iso")


def truths(rng, n):
    odi, f_intra, f_iso = (rng.uniform(low, high, n) for low, high in ((0.05, 0.5), (0.3, 0.8), (0, 0.4)))
    theta, phi = np.arccos(rng.uniform(-1, 1, n)), rng.uniform(-np.pi, np.pi, n)
    return np.stack([odi, f_intra, f_iso, theta, phi], axis=1)


def signals(binary, folder, scheme, truth):
    odi, f_intra, f_iso, theta, phi = truth.T
    columns = np.stack([theta, phi, odi, (1 - f_iso) * f_intra, (1 - f_iso) * (1 - f_intra), f_iso], axis=1)
    header = "intra.mu_theta,intra.mu_phi,intra.odi,intra.fraction,extra.fraction,csf.fraction"
    np.savetxt(folder / "p.csv", columns, delimiter=",", header=header, comments="", fmt="%.17g")
    line = [binary, "predict", "--model", "noddi", "--scheme", scheme, "--parameters", folder / "p.csv",
            "--out", folder / "clean.npy", "--quiet"]
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
        clean = signals(arguments.microtome, folder, scheme, truth)
        noisy = np.hypot(clean + SIGMA * rng.normal(size=clean.shape), SIGMA * rng.normal(size=clean.shape))
        print("median absolute errors (mean error)")
        flags = {
            "microtome, Rician": ["--noise", "rician", "--sigma", str(SIGMA)],
            "microtome, Gaussian": [],
        }
        for what, y in (("SNR 30", noisy), ("no noise", clean)):
            theirs, ms, before = amico_fit(folder, scheme, y)
            print(f"{what}: AMICO: {ms:.3f} ms ({before:.1f} s before): {errors(theirs, truth)}")
            for name, more in flags.items():
                if what == "no noise" and "Rician" in name:
                    continue
                for count in sorted({500, len(y)}):
                    found, ours = microtome(arguments.microtome, folder, scheme, y[:count], more)
                    print(f"{what}: {name}, {count} voxels: {ours:.3f} ms, ratio {ms / ours:.2f}: "
                          f"{errors(found, truth[:count])}", flush=True)


if __name__ == "__main__":
    main()
