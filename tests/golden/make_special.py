"""`tests/golden/special.csv`: Bessel functions, their zeros, Dawson's integral, erf and Kummer's function.

Columns: function, order (or 0), argument (or the number of a zero, from 1), value. Zeros are those of the
derivative, without the one at the origin. Run from anywhere: `python3 tests/golden/make_special.py`; needs mpmath.
"""

from pathlib import Path

from mpmath import besselj, besseljzero, erf, exp, findroot, hyp1f1, mp, mpf, nstr, pi, quad, sqrt

mp.dps = 60


def spherical(n, x):
    return sqrt(pi / (2 * x)) * besselj(n + mpf(1) / 2, x)


def spherical_slope(n, x):
    """(n j_{n-1} - (n+1) j_{n+1})/(2n+1)."""
    return (n * spherical(n - 1, x) - (n + 1) * spherical(n + 1, x)) / (2 * n + 1)


def sphere_zero(n, k):
    """The k-th positive zero of j_n', by a scan and bisection that shares nothing with the library."""
    x = mpf(n) / 2 + mpf("0.1") if n else mpf(2)
    found, step = 0, mpf("0.25")
    before = spherical_slope(n, x)
    while True:
        x += step
        now = spherical_slope(n, x)
        if before * now < 0:
            found += 1
            if found == k:
                return findroot(lambda y: spherical_slope(n, y), (x - step, x), solver="anderson", tol=mpf(10) ** -50)
        before = now


def dawson(x):
    """e^{-x²} times the integral, by the confluent function: x M(1; 3/2; -x²)."""
    return x * hyp1f1(1, mpf(3) / 2, -x * x)


def kummer(x):
    return hyp1f1(mpf(1) / 2, mpf(3) / 2, x)


def kummer_log_slope(x):
    """d ln M/dx = M(3/2; 5/2; x)/(3 M)."""
    return hyp1f1(mpf(3) / 2, mpf(5) / 2, x) / (3 * kummer(x))


ORDERS = [0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 31, 50, 77, 99]
ARGUMENTS = [
    "1e-8", "1e-3", "0.03", "0.1", "0.4", "0.75", "0.999", "1", "1.3", "2", "2.4", "3.1", "4.5", "6", "7.7", "9.2",
    "12", "14.9", "16", "20.3", "25", "33.3", "41", "50.5", "64", "77.7", "90", "100",
]
REAL = [
    "1e-9", "1e-5", "0.001", "0.02", "0.1", "0.2", "0.3", "0.37", "0.49", "0.499999", "0.5", "0.500001", "0.6", "0.7",
    "0.75", "0.9", "0.92413887", "0.999", "1", "1.001", "1.2", "1.5", "1.7", "2", "2.1", "2.5", "2.9", "3", "3.3", "3.7",
    "4", "4.4", "5", "5.5", "6", "6.6", "7", "7.77", "8", "9", "9.1", "10", "11", "11.9", "11.99999", "12", "12.1", "13",
    "15", "17.3", "20", "25", "30", "40", "55", "70", "100", "143", "144", "145", "200", "350", "500", "700", "800",
]
LARGE = ["1000", "3000", "10000", "1e5", "1e7"]
ZEROS = [(n, k) for n in (0, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 80, 97) for k in (1, 2, 3, 6, 10, 20, 30)]
# The largest zero that the library lists.
REACH = 100


def row(name, order, argument, value):
    return f"{name},{order},{argument},{nstr(value, 19)}"


def main():
    rows = ["function,order,argument,value"]
    for n in ORDERS:
        for text in ARGUMENTS:
            x = mpf(text)
            for name, value in (("bessel_j", besselj(n, x)), ("spherical_j", spherical(n, x))):
                if abs(value) > mpf(10) ** -290:
                    rows.append(row(name, n, text, value))
    for text in REAL + LARGE:
        x = mpf(text)
        rows.append(row("dawson", 0, text, dawson(x)))
        rows.append(row("kummer_scaled", 0, text, dawson(sqrt(x)) / sqrt(x)))
        rows.append(row("kummer_log_slope", 0, text, (sqrt(x) / dawson(sqrt(x)) - 1) / (2 * x)))
    for text in REAL:
        x = mpf(text)
        rows.append(row("erf", 0, text, erf(x)))
        rows.append(row("kummer_scaled", 0, "-" + text, kummer(-x)))
        rows.append(row("kummer_log_slope", 0, "-" + text, kummer_log_slope(-x)))
    # Two definitions of the same function.
    assert abs(kummer(mpf(3)) - quad(lambda t: exp(3 * t * t), [0, 1])) < mpf(10) ** -40
    assert abs(kummer_log_slope(mpf(3)) - (sqrt(mpf(3)) / dawson(sqrt(mpf(3))) - 1) / 6) < mpf(10) ** -40
    for n, k in ZEROS:
        # A lower bound of the zero spares the search of those beyond the list.
        if n + (k - 1) * 3.1 > REACH:
            continue
        value = besseljzero(n, k + 1 if n == 0 else k, derivative=1)
        if value < REACH:
            rows.append(row("root_cylinder", n, k, value))
        value = sphere_zero(n, k)
        if value < REACH:
            rows.append(row("root_sphere", n, k, value))
    Path(__file__).with_name("special.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
