"""Golden kurtosis of mixtures of Gaussian compartments.

Writes `tests/golden/kurtosis.csv` (mpmath, 30 digits; about three minutes). Run from anywhere:
`python3 tests/golden/make_kurtosis.py`.

A mixture of tensors D_k with fractions f_k has the cumulants
    D = sum_k f_k D_k,   V(n) = 3 sum_k f_k (D_k(n) - D(n))^2,   K(n) = V(n) / D(n)^2
with D(n) = n'Dn. One row a mixture: D (xx, yy, zz, xy, xz, yz), the 15 elements of the
symmetric tensor V, then
    mk   mean of K over the sphere, by integration over both angles
    ak   K along the first eigenvector of D
    rk   mean of K over the circle across it, by integration over its angle
    kfa  |W - Wbar I| / |W| over all 81 elements, W = V / (tr D / 3)^2, I the isotropic
         tensor of order four, Wbar the mean of W(n) over the sphere, by integration
The formulas of Tabesh et al. 2011 are not used.
"""

import csv
import itertools
from pathlib import Path

import mpmath as mp

mp.mp.dps = 30
HERE = Path(__file__).resolve().parent
ELEMENTS = ["xxxx", "yyyy", "zzzz", "xxxy", "xxxz", "xyyy", "yyyz", "xzzz", "yzzz",
            "xxyy", "xxzz", "yyzz", "xxyz", "xyyz", "xyzz"]


def tensor(values, axis, angle):
    """A tensor with eigenvalues in a frame turned by an angle about an axis."""
    axis = mp.matrix(axis) / mp.norm(mp.matrix(axis))
    k = mp.matrix([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    r = mp.eye(3) + mp.sin(angle) * k + (1 - mp.cos(angle)) * k * k
    return r * mp.diag([mp.mpf(v) for v in values]) * r.T


MIXTURES = {
    "one_axis": [("0.6", tensor(["1.9", "0.2", "0.2"], [0, 0, 1], mp.mpf("0.7"))),
                 ("0.4", tensor(["1.1", "0.7", "0.7"], [0, 0, 1], mp.mpf("0.7")))],
    "crossing": [("0.6", tensor(["1.7", "0.3", "0.3"], [0, 0, 1], mp.mpf("0.2"))),
                 ("0.4", tensor(["1.7", "0.3", "0.3"], [1, 2, 3], mp.mpf("1.4")))],
    "generic": [("0.3", tensor(["2.1", "0.4", "0.1"], [1, -1, 2], mp.mpf("0.9"))),
                ("0.5", tensor(["1.3", "0.9", "0.5"], [2, 1, -1], mp.mpf("2.0"))),
                ("0.2", tensor(["3.0", "3.0", "3.0"], [0, 0, 1], mp.mpf("0")))],
    "two_balls": [("0.7", mp.eye(3) * mp.mpf("0.8")), ("0.3", mp.eye(3) * mp.mpf("2.5"))],
    "narrow": [("0.8", tensor(["2.0", "0.06", "0.03"], [3, 1, 2], mp.mpf("1.1"))),
               ("0.2", tensor(["1.2", "0.1", "0.06"], [3, 1, 2], mp.mpf("1.1")))],
}


def quadratic(m, n):
    return (n.T * m * n)[0]


def measures(parts):
    parts = [(mp.mpf(f), d) for f, d in parts]
    d = mp.zeros(3)
    for f, m in parts:
        d += f * m

    def v(n):
        return 3 * sum(f * (quadratic(m, n) - quadratic(d, n)) ** 2 for f, m in parts)

    def element(idx):
        total = mp.mpf(0)
        orders = list(itertools.permutations(idx))
        for i, j, k, l in orders:
            total += 3 * sum(f * (m - d)[i, j] * (m - d)[k, l] for f, m in parts)
        return total / len(orders)

    values, vectors = mp.eigsy(d)
    first = max(range(3), key=lambda i: values[i])
    e1 = vectors[:, first]
    e2, e3 = [vectors[:, i] for i in range(3) if i != first]

    def kurtosis(n):
        return v(n) / quadratic(d, n) ** 2

    def circle(phi):
        return kurtosis(e2 * mp.cos(phi) + e3 * mp.sin(phi))

    def mean_on_sphere(f):
        """z about e1, so that the integrand is smooth in both."""
        def ring(z):
            r = mp.sqrt(1 - z * z)
            # A periodic analytic function: the trapezoidal rule converges geometrically.
            n = 160
            return sum(f(e1 * z + (e2 * mp.cos(p) + e3 * mp.sin(p)) * r)
                       for p in (2 * mp.pi * i / n for i in range(n))) / n
        return mp.quad(ring, [0, mp.mpf("0.3"), 1])

    mk = mean_on_sphere(kurtosis)
    ak = kurtosis(e1)
    rk = mp.quad(circle, [0, mp.pi / 2, mp.pi]) / mp.pi
    md = (d[0, 0] + d[1, 1] + d[2, 2]) / 3
    mean = mean_on_sphere(v) / md**2
    norm = rest = mp.mpf(0)
    for idx in itertools.product(range(3), repeat=4):
        w = element(idx) / md**2
        i, j, k, l = idx
        isotropic = mp.mpf((i == j) * (k == l) + (i == k) * (j == l) + (i == l) * (j == k)) / 3
        norm += w * w
        rest += (w - mean * isotropic) ** 2
    kfa = mp.sqrt(rest / norm)
    row = [d[0, 0], d[1, 1], d[2, 2], d[0, 1], d[0, 2], d[1, 2]]
    row += [element(["xyz".index(c) for c in e]) for e in ELEMENTS]
    return row + [mk, ak, rk, kfa]


def main():
    header = ["mixture", "d_xx", "d_yy", "d_zz", "d_xy", "d_xz", "d_yz"]
    header += [f"v_{e}" for e in ELEMENTS] + ["mk", "ak", "rk", "kfa"]
    with open(HERE / "kurtosis.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        for name, parts in MIXTURES.items():
            out.writerow([name] + [mp.nstr(x, 18) for x in measures(parts)])


if __name__ == "__main__":
    main()
