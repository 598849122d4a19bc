"""Golden signals of the simulator: `simulation.csv`, read by `models/tests/suite/simulation.rs`.

Cylinder and sphere under two pulses: `exact_pore.py`. Survival on relaxing walls without gradient: roots of the
boundary condition. Plates with relaxing walls or a membrane under two pulses: 200 finite volumes across and
matrix exponentials (about 1e-4). Lengths um, times ms, D um^2/ms, rho and kappa um/ms, G T/m. Needs mpmath,
numpy and scipy.
"""

import csv
import pathlib

import numpy as np
from exact_pore import signal
from mpmath import mpf
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import j0, j1

GAMMA = 0.26752218744

def slab(size, d, rho, membrane, kappa, g, delta, big):
    n = 200
    h = size / n
    x = (np.arange(n) + 0.5) * h - size / 2
    rate = np.zeros((n, n), complex)
    for i in range(n - 1):
        face = x[i] + h / 2
        k = d / h**2
        if membrane is not None and abs(face - membrane) < h / 2:
            # Half a cell on both sides and the membrane, in series.
            k = 1 / (h * (h / d + 1 / kappa))
        rate[i, i] -= k
        rate[i + 1, i + 1] -= k
        rate[i, i + 1] += k
        rate[i + 1, i] += k
    for i in (0, n - 1):
        rate[i, i] -= 1 / (h * (h / (2 * d) + 1 / rho)) if rho else 0
    phase = 1j * GAMMA * g * np.diag(x)
    m = expm((rate + phase) * delta) @ np.ones(n)
    m = expm(rate * (big - delta)) @ m
    m = expm((rate - phase) * delta) @ m
    return m.mean().real


def survival(kind, size, d, rho, t):
    """The sum over the roots of the boundary condition."""
    radius = size / 2 if kind == "planes" else size
    b = rho * radius / d
    f = {
        "planes": lambda x: x * np.sin(x) - b * np.cos(x),
        "cylinder": lambda x: x * j1(x) - b * j0(x),
        "sphere": lambda x: x * np.cos(x) + (b - 1) * np.sin(x),
    }[kind]
    grid = np.arange(1e-6, 60, 0.01)
    signs = f(grid)
    total = 0.0
    for i in np.flatnonzero(signs[:-1] * signs[1:] < 0):
        x = brentq(f, grid[i], grid[i + 1], xtol=1e-14)
        # Square of the mean of a mode over its mean square.
        weight = {
            "planes": 2 * b**2 / (x**2 * (x**2 + b**2 + b)),
            "cylinder": 4 * b**2 / (x**2 * (x**2 + b**2)),
            "sphere": 6 * b**2 / (x**2 * (x**2 + b**2 - b)),
        }[kind]
        total += weight * np.exp(-d * x**2 * t / radius**2)
    return total


def main():
    rows = []
    for kind, size, d, g, delta, big in [
        ("cylinder", 2.0, 2.0, 0.3, 10.0, 30.0),
        ("sphere", 2.0, 2.0, 0.6, 10.0, 30.0),
    ]:
        times = mpf(delta), mpf(big)
        e = float(signal(kind, mpf(2 * size), mpf(d), mpf(GAMMA) * mpf(g) * mpf(delta), *times))
        rows.append((kind, size, d, 0, "", "", g, delta, big, e))
    for size, d, g in [(8.0, 1.0, 0.1)]:
        rows.append(("planes", size, d, 0, "", "", g, 10.0, 30.0, slab(size, d, 0, None, None, g, 10.0, 30.0)))
    for rho, delta, big in [(0.02, 5.0, 15.0), (0.2, 5.0, 15.0)]:
        e = slab(10.0, 2.0, rho, None, None, 0.08, delta, big)
        rows.append(("planes", 10.0, 2.0, rho, "", "", 0.08, delta, big, e))
        for kind, size in [("planes", 10.0), ("cylinder", 5.0), ("sphere", 5.0)]:
            e = survival(kind, size, 2.0, rho, delta + big)
            rows.append((kind, size, 2.0, rho, "", "", 0.0, delta, big, e))
    for kappa in (0.01, 0.5):
        e = slab(10.0, 2.0, 0, -2.0, kappa, 0.2, 5.0, 15.0)
        rows.append(("planes", 10.0, 2.0, 0, -2.0, kappa, 0.2, 5.0, 15.0, e))
    path = pathlib.Path(__file__).with_name("simulation.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = "kind size_um d rho membrane_um kappa g_t_per_m delta_ms big_delta_ms signal".split()
        writer.writerow(names)
        for row in rows:
            writer.writerow([*row[:-1], f"{row[-1]:.9f}"])


if __name__ == "__main__":
    main()
