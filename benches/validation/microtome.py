"""Runs the release binary from Python, for the scripts of this folder."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("MICROTOME", ROOT / "target" / "release" / "microtome"))


def run(*arguments):
    """Runs a verb; a failure shows its message. Exit code 2 (some voxels failed) is a result."""
    done = subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def fit(work, signals, scheme, model, *more):
    """`fit.parquet` of signals [voxel, measurement] as a table."""
    dwi, out = work / "dwi.npy", work / "fit"
    np.save(dwi, np.ascontiguousarray(signals))
    run("fit", "--dwi", dwi, "--scheme", scheme, "--model", model, "--out", out, "--overwrite", "--quiet", *more)
    return pd.read_parquet(out / "fit.parquet")


def sample(work, signals, scheme, model, *more):
    """`summary.parquet` of signals [voxel, measurement] as a table."""
    dwi, out = work / "dwi.npy", work / "sample"
    np.save(dwi, np.ascontiguousarray(signals))
    run("sample", "--dwi", dwi, "--scheme", scheme, "--model", model, "--out", out, "--overwrite", "--quiet", *more)
    return pd.read_parquet(out / "summary.parquet")


def predict(work, table, scheme, model):
    """Signals of the parameters in a table of results."""
    parameters, out = work / "parameters.csv", work / "signals.npy"
    known = {"voxel", "status", "r2", "sigma", "ln_likelihood", "iterations", "i", "j", "k", "fa", "md", "ad", "rd"}
    columns = [c for c in table if c not in known and not c.endswith(".sd")]
    table[columns].to_csv(parameters, index=False, float_format="%.17g")
    run(
        "predict", "--model", model, "--scheme", scheme, "--parameters", parameters, "--out", out, "--overwrite",
        "--quiet",
    )
    return np.load(out)
