"""Golden table of deconvolutions: SciPy's nnls on the same lobes.

deconvolution.csv: one row a voxel: case, residual sum of squares, then the volumes of the
tissues. The scheme is written to deconvolution_scheme.csv (b in ms/um^2, direction) and the
signals to deconvolution_signals.csv. The model: 300 lobes on a Fibonacci half-sphere,
convolved with a fibre response (exact zonal harmonics of exp(-b (0.2 + 1.5 t^2))), and two
isotropic tissues exp(-b 0.8) and exp(-b 3.0); lmax 6, side lobes 0.02.

Run: python3 make_deconvolution.py
"""
import numpy as np
from numpy.polynomial import legendre as L
from scipy.optimize import nnls
from scipy.special import sph_harm_y

LMAX, DEPTH, BETWEEN = 6, 0.02, 5e-5


def half(p):
    i = np.arange(p)
    z = 1 - (i + 0.5) / p
    r, t = np.sqrt(1 - z * z), np.pi * (3 - 5**0.5) * i
    return np.c_[r * np.cos(t), r * np.sin(t), z]


def basis(n):
    th, ph = np.arccos(np.clip(n[:, 2], -1, 1)), np.arctan2(n[:, 1], n[:, 0])
    out = []
    for l in range(0, LMAX + 1, 2):
        for m in range(-l, l + 1):
            y = sph_harm_y(l, abs(m), th, ph)
            out.append(np.sqrt(2) * y.imag if m < 0 else (y.real if m == 0 else np.sqrt(2) * y.real))
    return np.array(out).T


def spread(values):
    return np.concatenate([[v] * (4 * k + 1) for k, v in enumerate(values)])


def zonal(f):
    t, w = L.leggauss(80)
    ls = range(0, LMAX + 1, 2)
    return np.array([2 * np.pi * np.sum(w * f(t) * np.sqrt((2 * l + 1) / (4 * np.pi)) * L.legval(t, [0] * l + [1])) for l in ls])


def lobe():
    """Least-distance programming (Lawson & Hanson, ch. 23.4)."""
    t = np.cos(np.linspace(0, np.pi / 2, 361))
    d = np.arange(1, 2 * LMAX + 2, 4.0)
    e = np.array([(2 * l + 1) * (L.legval(t, [0] * l + [1]) + DEPTH - BETWEEN) for l in range(0, LMAX + 1, 2)]).T
    a = e[:, 1:] / np.sqrt(d[1:])
    m = np.vstack([a.T, -e.sum(1)])
    f = np.r_[np.zeros(LMAX // 2), 1.0]
    u, _ = nnls(m, f)
    r = m @ u - f
    return np.r_[1.0, 1 - r[:-1] / r[-1] / np.sqrt(d[1:])]


b = np.r_[np.zeros(3), np.full(40, 1.0), np.full(60, 3.0)]
g = np.vstack([half(3), half(40), half(60)])
peak = np.sqrt(np.arange(1, 2 * LMAX + 2, 4.0) / (4 * np.pi))
X = np.zeros((len(b), (LMAX + 1) * (LMAX + 2) // 2 + 2))
for i in range(len(b)):
    r = zonal(lambda t: np.exp(-b[i] * (0.2 + 1.5 * t * t)))
    if b[i] == 0:
        r[1:] = 0
    X[i, :-2] = basis(g[i : i + 1])[0] * spread(r / peak)
    X[i, -2:] = np.exp(-b[i] * 0.8), np.exp(-b[i] * 3.0)
table = np.zeros((302, X.shape[1]))
table[:300, :-2] = basis(half(300)) * spread(lobe())
table[300, -2] = table[301, -1] = 1
M = X @ table.T
rng = np.random.default_rng(3)
S, out = [], []
for case in range(12):
    u, v = rng.normal(size=(2, 3))
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    f = rng.dirichlet([2, 1, 1, 0.5])
    s = f[0] * np.exp(-b * (0.2 + 1.5 * (g @ u) ** 2)) + f[1] * np.exp(-b * (0.2 + 1.5 * (g @ v) ** 2))
    s = s + f[2] * np.exp(-b * 0.8) + f[3] * np.exp(-b * 3.0) + rng.normal(size=len(b)) * (0.02 if case % 2 else 0)
    c, norm = nnls(M, s, maxiter=10000)
    x = table.T @ c
    S.append(s)
    out.append([case, norm**2, x[0] * np.sqrt(4 * np.pi), x[-2], x[-1]])
np.savetxt("deconvolution_scheme.csv", np.c_[b, g], delimiter=",", fmt="%.17g")
np.savetxt("deconvolution_signals.csv", S, delimiter=",", fmt="%.17g")
np.savetxt("deconvolution.csv", out, delimiter=",", fmt="%.12g")
