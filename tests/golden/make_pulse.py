"""The tables of `kernels/src/restricted/coefficients.rs`.

`python3 make_pulse.py exponential` prints, for strips |Im z| <= q in the left half-plane, the coefficients of

    exp(z) = sum_j c_j T_j(2u - 1),  u = 1/(1 - z h),

by least squares on the boundary of the strip, weighted until the largest error is smallest (Lawson), with the
value and the slope at z = 0 exact. `python3 make_pulse.py modes` prints the smallest degree of the polynomial
basis that brings the signal to 1e-9 of its limit (P by rows, Q by columns; largest of the three geometries and
of three gaps); it takes some minutes. Needs numpy and scipy.
"""

import sys

import numpy as np
from scipy.linalg import expm
from scipy.special import eval_jacobi, roots_legendre

STRIPS = [1, 2, 4, 8, 16, 32]
TARGET = 1e-10
P = [1e-4, 5e-4, 2e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10, 100]
Q = [0.3, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
GAPS = [0, 0.5, 5]


def boundary(q, n=500):
    side = 1j * q * np.cos(np.linspace(0, np.pi / 2, n // 2))
    x = np.concatenate([np.linspace(0, 40, n), np.logspace(np.log10(40), 5, n // 2)])
    z = np.concatenate([side, 1j * q - x])
    return np.concatenate([z, z.conj()])


def fit(q, m, h):
    z = boundary(q)
    u = 1 / (1 - h * z)
    t = np.ones((len(z), m + 1), complex)
    t[:, 1] = 2 * u - 1
    for k in range(2, m + 1):
        t[:, k] = 2 * t[:, 1] * t[:, k - 1] - t[:, k - 2]
    scale = abs(t).max(0)
    k = np.arange(m + 1)
    # p(0) = 1 and p'(0) = 1; T_k' = k^2 at one, du/dz = h at zero.
    constraints = np.array([np.ones(m + 1), 2 * h * k**2.0]) / scale
    particular = np.linalg.lstsq(constraints, np.ones(2), rcond=None)[0]
    free = np.linalg.svd(constraints)[2][2:].T
    real = np.concatenate([(t / scale).real, (t / scale).imag])
    goal = np.concatenate([np.exp(z).real, np.exp(z).imag]) - real @ particular
    weight = np.ones(len(z))
    best = (np.inf, None)
    for _ in range(15):
        root = np.sqrt(np.concatenate([weight, weight]))
        y = np.linalg.lstsq(root[:, None] * (real @ free), root * goal, rcond=1e-15)[0]
        c = particular + free @ y
        error = abs(t / scale @ c - np.exp(z))
        if error.max() < best[0]:
            best = (error.max(), c / scale)
        weight *= error + 1e-3 * error.max()
        weight /= weight.mean()
    return best


def literal(x):
    """As rustfmt and clippy want it: digits in groups of three."""
    text = repr(float(x))
    mantissa, _, exponent = text.partition("e")
    whole, _, digits = mantissa.partition(".")
    groups = "_".join(digits[i : i + 3] for i in range(0, len(digits), 3))
    return f"{whole}.{groups}" + (f"e{int(exponent)}" if exponent else "")


def exponential():
    for q in STRIPS:
        for m in range(20, 90, 2):
            trials = [(*fit(q, m, g / m), g / m) for g in (0.8, 0.9, 1, 1.1, 1.25, 1.4)]
            error, c, h = min(trials, key=lambda trial: trial[0])
            if error < TARGET:
                break
        print(f"    // Degree {m}, error {error:.1e}.")
        print(f"    Strip {{ half_width: {float(q)}, step: {literal(h)}, coefficients: &[")
        for value in c:
            print(f"        {literal(value)},")
        print("    ] },")


def geometry(kind, degree):
    """Eigenvalues of every order and couplings of neighbouring orders in the space of polynomials."""
    x, w = roots_legendre(max(60, 2 * degree + 8))
    if kind == "planes":
        values, slopes = [], []
        for j in range(degree + 1):
            values.append(np.sqrt(2 * j + 1) * eval_jacobi(j, 0, 0, x))
            slopes.append(np.sqrt(2 * j + 1) * (j + 1) / 2 * eval_jacobi(j - 1, 1, 1, x) if j else 0 * x)
        tables = [(np.array(values[i::2]), np.array(slopes[i::2]), 0 * x) for i in (0, 1)]
        measure, factor = w / 2, [1]
    else:
        r, d = (x + 1) / 2, {"cylinder": 2, "sphere": 3}[kind]
        measure, factor, tables = w / 2 * r ** (d - 1) * d, [], []
        for n in range(degree + 1):
            b = n + d / 2 - 1
            k = np.arange((degree - n) // 2 + 1)[:, None]
            f = eval_jacobi(k, 0, b, 2 * r * r - 1)
            df = np.where(k > 0, (k + b + 1) * 2 * r * eval_jacobi(np.maximum(k - 1, 0), 1, b + 1, 2 * r * r - 1), 0)
            norm = np.sqrt(2 * (2 * k + b + 1) / d)
            slope = r**n * df + (n * r ** (n - 1) * f if n else 0)
            tables.append((norm * r**n * f, norm * slope, n * (n + d - 2) / r**2 + 0 * r))
            turn = (n + 1) / np.sqrt((2 * n + 1) * (2 * n + 3)) if d == 3 else (0.5 if n else np.sqrt(0.5))
            factor.append(turn)
        x = r
    eigenvalues, functions = [], []
    for n, (f, slope, angular) in enumerate(tables):
        stiffness = slope * measure @ slope.T + f * (measure * angular) @ f.T
        first = 1 if n == 0 else 0
        value, vector = np.zeros(len(f)), np.eye(len(f))
        value[first:], vector[first:, first:] = np.linalg.eigh(stiffness[first:, first:])
        eigenvalues.append(value)
        functions.append(vector.T @ f)
    couplings = [a * (f * measure * x) @ g.T for a, f, g in zip(factor, functions, functions[1:])]
    return eigenvalues, couplings


def signals(modes, p, q):
    eigenvalues, couplings = modes
    at = np.cumsum([0, *map(len, eigenvalues)])
    flat = np.concatenate(eigenvalues)
    a = -p * np.diag(flat)
    for n, b in enumerate(couplings):
        a[at[n + 1] : at[n + 2], at[n] : at[n + 1]] += q * b.T
        a[at[n] : at[n + 1], at[n + 1] : at[n + 2]] -= q * b
    w = expm(a)[:, 0]
    return np.array([(w * w * np.exp(-p * g * flat)).sum() for g in GAPS])


def degrees():
    tables = {(kind, m): geometry(kind, m) for kind in ("planes", "cylinder", "sphere") for m in range(2, 54, 2)}
    for p in P:
        row = []
        for q in Q:
            limit = int(min(52, max(16, 10 + 1.2 * q + 3 * p**-0.25)) // 2 * 2)
            needed = 4
            for kind in ("planes", "cylinder", "sphere"):
                exact = signals(tables[kind, limit], p, q)
                for m in range(limit - 2, 2, -2):
                    # Rounding of the dense exponential grows with P.
                    if abs(signals(tables[kind, m], p, q) - exact).max() > 1e-9 + 1e-11 * p:
                        needed = max(needed, m + 2)
                        break
            row.append(needed)
        print(f"    {row}, // P = {p}", flush=True)


if __name__ == "__main__":
    {"exponential": exponential, "modes": degrees}[sys.argv[1]]()
