"""Do two halves of the measurements of a voxel agree within what their posteriors say?

    python3 benches/validation/split_halves.py DATA [MODEL ...]      DATA holds isbi2015_wm_challenge/

The White Matter Modelling Challenge 2015: every shell is split into two halves (as in isbi.py), each half is
sampled by itself (Rician noise, sigma from its b = 0 images), and the difference of the two means of a
parameter is put in units of the sd that the two posteriors give it. 90 % should be below 1.645. There is no
truth, so agreement shows that intervals are wide enough for the noise, not that the model is right: what a
wrong model gets wrong in the same way in both halves can't be seen.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from microtome import sample


def main():
    data = Path(sys.argv[1]) / "isbi2015_wm_challenge"
    models = sys.argv[2:] or ["ball_stick", "noddi"]
    lines = [l for l in (data / "isbi_schemefile.txt").read_text().splitlines() if l.strip()]
    table = np.loadtxt(lines[1:])
    te, unweighted = table[:, 6], table[:, 3] == 0
    halves = np.zeros(len(table), int)
    for key in np.unique(table[:, 3:], axis=0):
        members = np.flatnonzero((table[:, 3:] == key).all(axis=1))
        halves[members] = np.arange(len(members)) % 2
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for model in models:
            z = {}
            for region in ("genu", "fornix"):
                signals = np.loadtxt(data / f"{region}.txt", skiprows=1).T
                found = []
                for half in (0, 1):
                    here = halves == half
                    scheme = work / "half.scheme"
                    scheme.write_text("VERSION: STEJSKALTANNER\n" + "\n".join(np.array(lines[1:])[here]) + "\n")
                    y = signals[:, here].copy()
                    for echo in np.unique(te):
                        b0 = (te[here] == echo) & unweighted[here]
                        y[:, te[here] == echo] /= y[:, b0].mean(axis=1, keepdims=True)
                    np.save(work / "sigma.npy", y[:, unweighted[here]].std(axis=1, ddof=1))
                    rows = sample(work, y, scheme, model, "--noise", "rician", "--sigma", work / "sigma.npy",
                                  "--draws", 250, "--method", "nuts", "--threads", 1, "--max-failed", 100)
                    found.append(rows.set_index(["parameter", "voxel"]))
                for name, voxel in found[0].index:
                    a, b = (f.loc[(name, voxel)] for f in found)
                    if ".mu_" not in name and a["sd"] > 0 and b["sd"] > 0:
                        difference = abs(a["mean"] - b["mean"]) / np.hypot(a["sd"], b["sd"])
                        z.setdefault(name, []).append(difference)
            everything = np.concatenate(list(z.values()))
            print(f"{model}: {100 * np.mean(everything < 1.645):.0f} % of {len(everything)} differences below 1.645; "
                  + ", ".join(f"{n} {np.sum(np.array(v) < 1.645)} of {len(v)} (median {np.median(v):.1f})" for n, v in z.items()), flush=True)


if __name__ == "__main__":
    main()
