"""Coverage of 90 % intervals where the truth is drawn from the sampler's own prior, by the verbs alone.

    python3 benches/validation/coverage.py SCHEME [MODEL [VOXELS [CASE ...]]]

`predict --prior-draws` draws the truths, `sample` gives the intervals: q05 to q95 of each scalar, and the
axial cap `mu_cone90_deg` about `mu_axis` of each direction. Cases: `right` (the sampler knows the noise; the
bar is 87 to 93 %), and wrong ones without a bar: `sigma+10`, `sigma-10` (it is told a sigma 10 % wrong) and
`correlated` (neighbouring measurements share half of their noise). Exchangeable compartments are not matched
here; `microtome diagnose --sbc` does that.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from microtome import ROOT, run

SIGMA = 0.04
# The default prior of s0 is set from the data; here it is the one that truths are drawn from.
SCALE = '[prior]\ns0 = { lognormal = [0.0, 0.5] }\n'


def model_file(work, model):
    """A copy of a preset with a proper prior of s0."""
    text = (ROOT / "models" / "presets" / f"{model}.toml").read_text()
    text = text.replace("[prior]\n", SCALE) if "[prior]\n" in text else text + SCALE
    path = work / f"{model}.toml"
    path.write_text(text)
    return path


def rician(signals, rng, correlation):
    """Magnitudes of signals with noise that neighbouring measurements share."""

    def channel():
        white = rng.normal(size=signals.shape)
        for k in range(1, signals.shape[1]):
            white[:, k] = correlation * white[:, k - 1] + np.sqrt(1 - correlation**2) * white[:, k]
        return SIGMA * white

    return np.hypot(signals + channel(), channel())


def covered(truth, summary):
    """Share of truths inside, by parameter."""
    rows = {name: g.set_index("voxel") for name, g in summary.groupby("parameter")}
    out = {}
    for name, g in rows.items():
        if name in truth:
            x = truth.loc[g.index, name]
            out[name] = ((g["q05"] <= x) & (x <= g["q95"])).to_numpy()
        if name.endswith(".mu_cone90_deg"):
            c = name.removesuffix("_cone90_deg")
            axis = np.stack([rows[f"{c}_axis_{k}"]["mean"] for k in "xyz"], axis=1)
            mu = truth.loc[g.index, [f"{c}_{k}" for k in "xyz"]].to_numpy()
            angle = np.degrees(np.arccos(np.clip(np.abs((axis * mu).sum(axis=1)), 0, 1)))
            out[c] = angle <= g["mean"].to_numpy()
    return {name: np.mean(inside) for name, inside in out.items()}


def main():
    scheme = Path(sys.argv[1])
    model = sys.argv[2] if len(sys.argv) > 2 else "ball_stick"
    voxels = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    cases = sys.argv[4:] or ["right", "sigma+10", "sigma-10", "correlated"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        path = model_file(work, model)
        clean, table = work / "clean.npy", work / "truth.csv"
        run("predict", "--model", path, "--scheme", scheme, "--prior-draws", voxels, "--seed", 17, "--quiet",
            "--parameters-out", table, "--out", clean)
        truth = pd.read_csv(table)
        for case in cases:
            noise = rician(np.load(clean), np.random.default_rng(5), 0.5 if case == "correlated" else 0.0)
            np.save(work / "noisy.npy", noise)
            told = SIGMA * {"sigma+10": 1.1, "sigma-10": 0.9}.get(case, 1.0)
            run("sample", "--model", path, "--noise", "rician", "--sigma", told, "--scheme", scheme, "--threads", 1,
                "--draws", 250, "--method", "nuts", "--dwi", work / "noisy.npy", "--out", work / case, "--quiet", "--max-failed", 100)
            summary = pd.read_parquet(work / case / "summary.parquet")
            states = summary.drop_duplicates("voxel")["status"].value_counts()
            shares = covered(truth, summary)
            print(f"{model}, {case}, {voxels} voxels: " + ", ".join(f"{n} {100 * s:.1f} %" for n, s in shares.items())
                  + "; " + ", ".join(f"{n} {status}" for status, n in states.items()), flush=True)


if __name__ == "__main__":
    main()
