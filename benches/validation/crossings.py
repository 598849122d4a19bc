"""Two equal fibres that cross, deconvolved with deeper and shallower side lobes.

python3 benches/validation/crossings.py

64 directions at b = 3000 s/mm2 and 4 b = 0 images, lmax 8, Rician noise of SNR 30, 60 voxels
an angle; fibres are zeppelins of 1.7 and 0.2 um2/ms, and the response is exact. A crossing is
resolved when the two largest peaks are within a third of the angle of the two fibres. Cells: share
of resolved voxels, mean angular error of their peaks.
"""

import tempfile
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.polynomial.legendre import Legendre, leggauss

from microtome import run

LMAX, VOXELS, SNR = 8, 60, 30.0
ANGLES = (40, 45, 50, 60, 75, 90)
LOBES = (0.0, 0.005, 0.01, 0.02, 0.05)


def fibre(t, b=3.0):
    """The signal of a fibre by the cosine to it; b in ms/um2."""
    return np.exp(-b * (0.2 + 1.5 * t**2))


def directions(n):
    """Points of a spiral on the half sphere."""
    k = np.arange(n) + 0.5
    z, phi = k / n, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], 1)


def response(path):
    """Zonal coefficients of the fibre, as `microtome response` writes them."""
    t, w = leggauss(200)
    zonal = [2 * np.pi * np.sum(w * fibre(t) * Legendre.basis(l)(t)) * np.sqrt((2 * l + 1) / (4 * np.pi)) for l in range(0, LMAX + 1, 2)]
    rows = f"[[{np.sqrt(4 * np.pi)}], {[float(z) for z in zonal]}]"
    path.write_text(f'basis = "mrtrix3"\nb_s_per_mm2 = [0.0, 3000.0]\n[[tissue]]\nname = "wm"\nzonal = {rows}\n')


def voxels(angle, g, rng):
    """Signals [voxel, measurement] and their fibres [voxel, 2, 3]."""
    signals, fibres = [], []
    for _ in range(VOXELS):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        u, v = q[0], np.cos(np.radians(angle)) * q[0] + np.sin(np.radians(angle)) * q[1]
        clean = np.concatenate([np.ones(4), 0.5 * fibre(g @ u) + 0.5 * fibre(g @ v)])
        noise = rng.normal(size=(2, len(clean))) / SNR
        signals.append(np.hypot(clean + noise[0], noise[1]))
        fibres.append([u, v])
    return np.array(signals), np.array(fibres)


def main():
    g = directions(64)
    rng = np.random.default_rng(11)
    data = {angle: voxels(angle, g, rng) for angle in ANGLES}
    print("| side lobes | " + " | ".join(f"{a}°" for a in ANGLES) + " |\n|---|" + "---|" * len(ANGLES))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        response(work / "r.toml")
        np.savetxt(work / "a.bval", np.concatenate([np.zeros(4), np.full(64, 3000.0)])[None], fmt="%g")
        np.savetxt(work / "a.bvec", np.concatenate([np.zeros((4, 3)), g]).T)
        for lobes in LOBES:
            cells = []
            for angle, (signals, fibres) in data.items():
                np.save(work / "y.npy", signals)
                run("fit", "--model", "csd", "--response", work / "r.toml", "--lmax", LMAX, "--side-lobes", lobes,
                    "--dwi", work / "y.npy", "--bval", work / "a.bval", "--bvec", work / "a.bvec", "--out", work / "o", "--overwrite", "--quiet")
                table = pd.read_parquet(work / "o" / "fit.parquet")
                peaks = np.stack([table[[f"peak_{k}_{a}" for a in "xyz"]].to_numpy() for k in (1, 2)], 1)
                peaks /= np.linalg.norm(peaks, axis=2, keepdims=True)
                errors = []
                for p, f in zip(peaks, fibres):
                    pairs = [[np.degrees(np.arccos(min(1.0, abs(p[i] @ f[j])))) for i, j in enumerate(order)] for order in permutations((0, 1))]
                    errors.append(min(pairs, key=sum))
                errors = np.array(errors)
                good = np.all(errors < angle / 3, axis=1)
                mean = f"{errors[good].mean():.1f}°" if good.any() else "-"
                cells.append(f"{good.mean():.2f}, {mean}")
            print(f"| {lobes:g} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
