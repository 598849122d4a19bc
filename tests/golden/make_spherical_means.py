"""`tests/golden/spherical_means.csv`: mean of a zeppelin over the sphere and its derivatives, from the closed forms.

Needs mpmath; 40 digits. Units: ms/um^2, um^2/ms.
"""

from pathlib import Path

from mpmath import erf, erfi, exp, mp, mpf, nstr, pi, sqrt

mp.dps = 40


def average(x):
    """The integral of exp(-x t^2) over (0, 1)."""
    if x == 0:
        return mpf(1)
    if x > 0:
        return sqrt(pi / (4 * x)) * erf(sqrt(x))
    return sqrt(pi / (-4 * x)) * erfi(sqrt(-x))


def slope(x):
    return mpf(-1) / 3 if x == 0 else (exp(-x) - average(x)) / (2 * x)


def main():
    rows = ["lambda_par,lambda_perp,b_ms_per_um2,mean,d_lambda_par,d_lambda_perp"]
    for par, perp in [("1.7", "0.4"), ("2.5", "0"), ("0.2", "2.6"), ("0.9", "0.9"), ("1.0001", "1")]:
        for b in ["0.000001", "0.4", "3", "30"]:
            x = mpf(b) * (mpf(par) - mpf(perp))
            e = exp(-mpf(b) * mpf(perp))
            numbers = [e * average(x), mpf(b) * e * slope(x), -mpf(b) * e * (average(x) + slope(x))]
            rows.append(",".join([par, perp, b, *(nstr(v, 17) for v in numbers)]))
    Path(__file__).with_name("spherical_means.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
