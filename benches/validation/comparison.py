"""Which criterion finds the right model, on voxels whose truth is known.

Truths are drawn from the priors of ball_stick and of ball_sticks_2 (one and two sticks),
half of the voxels from each, with Rician noise of known sigma. Both models are sampled
with --criteria and compared. Where truths come from the priors, the posterior
probabilities of the models are calibrated when the evidences are right: of the voxels
with a probability of 0.9, nine in ten are won by the right model.

    python benches/validation/comparison.py [VOXELS] [SNR]

Writes into a temporary folder; prints the tables of docs/validation.md.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from microtome import run

SEED = 11
MODELS = ["ball_stick", "ball_sticks_2"]


def sphere(rng, n):
    v = rng.standard_normal((n, 3))
    return v / np.linalg.norm(v, axis=1)[:, None]


def fibonacci(n, turn):
    i = np.arange(n)
    z = 1 - (i + 0.5) / n
    a = np.pi * (3 - 5**0.5) * i + turn
    r = np.sqrt(1 - z * z)
    return np.c_[r * np.cos(a), r * np.sin(a), z]


def scheme(work):
    """6 b = 0, 30 directions at b = 1 and 60 at 2.5 ms/um^2."""
    b = np.r_[np.zeros(6), np.full(30, 1.0), np.full(60, 2.5)]
    g = np.r_[np.zeros((6, 3)), fibonacci(30, 0), fibonacci(60, 0.7)]
    np.savetxt(work / "a.bval", 1000 * b[None], fmt="%g")
    np.savetxt(work / "a.bvec", g.T, fmt="%.10f")
    return b, g


def simulate(rng, b, g, sticks, voxels, sigma):
    """Signals of truths from the default priors, and the angle and the smaller stick."""
    fractions = rng.dirichlet(np.ones(sticks + 1), voxels)
    along, ball = rng.uniform(0.05, 4, voxels), rng.uniform(0.05, 4, voxels)
    signal = fractions[:, -1:] * np.exp(-b * ball[:, None])
    for k in range(sticks):
        cosine = sphere(rng, voxels) @ g.T
        signal = signal + fractions[:, k : k + 1] * np.exp(-b * along[:, None] * cosine**2)
    noise = sigma * rng.standard_normal((2, *signal.shape))
    return np.hypot(signal + noise[0], noise[1]), fractions[:, :-1].min(axis=1)


def main():
    voxels = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    sigma = 1 / float(sys.argv[2]) if len(sys.argv) > 2 else 1 / 25
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        b, g = scheme(work)
        parts = [simulate(rng, b, g, sticks, voxels, sigma) for sticks in (1, 2)]
        np.save(work / "a.npy", np.concatenate([p[0] for p in parts]))
        smallest = np.concatenate([p[1] for p in parts])
        truth = np.repeat([0, 1], voxels)
        for model in MODELS:
            run(
                "sample", "--model", model, "--noise", "rician", "--sigma", sigma, "--dwi", work / "a.npy",
                "--bval", work / "a.bval", "--bvec", work / "a.bvec", "--criteria", "--threads", 1, "--quiet",
                "--max-failed", 100, "--out", work / model,
            )
        print(run("diagnose", "--compare", *(work / m for m in MODELS), "--out", work / "c.parquet"))
        table = pd.read_parquet(work / "c.parquet")
        criteria = [pd.read_parquet(work / m / "criteria.parquet") for m in MODELS]
    one, two = (table[table.model == m].reset_index(drop=True) for m in MODELS)
    terms = [np.stack(c.elpd_loo_i) for c in criteria]
    paired = terms[1] - terms[0]
    difference, error = paired.sum(axis=1), np.sqrt(paired.shape[1] * paired.var(axis=1))
    bridge = criteria[1].ln_evidence - criteria[0].ln_evidence
    laplace = criteria[1].ln_evidence_laplace - criteria[0].ln_evidence_laplace
    waic = criteria[1].elpd_waic - criteria[0].elpd_waic
    prefers = {
        "elpd_loo": difference, "elpd_waic": waic, "stacking weight": two.weight_stacking - 0.5,
        "evidence (bridge)": bridge, "evidence (Laplace)": laplace,
    }
    clear = {
        "elpd_loo": abs(difference) > 2 * error, "elpd_waic": None, "stacking weight": abs(two.weight_stacking - 0.5) > 0.45,
        "evidence (bridge)": abs(bridge) > np.log(19), "evidence (Laplace)": abs(laplace) > np.log(19),
    }
    print(f"{2 * voxels} voxels, SNR {1 / sigma:g}\n")
    print("| criterion | right, one stick | right, two sticks | clear and right | clear and wrong |\n|---|---|---|---|---|")
    for name, value in prefers.items():
        right = (np.asarray(value) > 0) == (truth == 1)
        sure = clear[name]
        share = lambda mask: f"{100 * np.mean(mask):.1f} %"
        row = [share(right[truth == k]) for k in (0, 1)]
        row += ["", ""] if sure is None else [share(sure & right), share(sure & ~right)]
        print(f"| {name} | " + " | ".join(row) + " |")
    probability = np.asarray(two.probability)
    print("\n| Pr(two sticks) | voxels | mean probability | truly two sticks |\n|---|---|---|---|")
    edges = [0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0000001]
    for low, high in zip(edges, edges[1:]):
        inside = (probability >= low) & (probability < high)
        if inside.any():
            print(
                f"| {low:g} to {min(high, 1):g} | {inside.sum()} | {probability[inside].mean():.3f} "
                f"| {truth[inside].mean():.3f} |"
            )
    print("\n| smaller stick of two | voxels | two sticks by elpd_loo | two sticks by evidence |\n|---|---|---|---|")
    for low, high in [(0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.5)]:
        inside = (truth == 1) & (smallest >= low) & (smallest < high)
        if inside.any():
            found = [100 * np.mean(np.asarray(v)[inside] > 0) for v in (difference, bridge)]
            print(f"| {low:g} to {high:g} | {inside.sum()} | {found[0]:.0f} % | {found[1]:.0f} % |")
    mcse = np.concatenate([c.ln_evidence_mcse for c in criteria])
    print(
        f"\nln_evidence_mcse: median {np.median(mcse):.3f}, 99 % quantile {np.quantile(mcse, 0.99):.3f}; "
        f"bridge - Laplace: median {[float(np.median(c.ln_evidence - c.ln_evidence_laplace)) for c in criteria]}"
    )
    print(f"k-hat too high in {[int((c.n_khat_high > 0).sum()) for c in criteria]} voxels")
    print(f"predictive p < 0.05 under the truth: {np.mean(np.where(truth == 0, one.ppp_chi2, two.ppp_chi2) < 0.05):.3f}")


if __name__ == "__main__":
    main()
