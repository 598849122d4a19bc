"""The coefficients of `kernels/src/normal_numbers.rs` and `kernels/src/walk/wall_law.rs`.

Chebyshev interpolants, printed as powers, each with its largest relative error. Needs mpmath.
"""

from mpmath import chop, cos, erfc, exp, log, lu_solve, matrix, mp, mpf, nstr, pi, sin, sqrt

mp.dps = 60


def powers(f, low, high, terms):
    nodes = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * j + 1) / (2 * terms)) for j in range(terms)]
    table = matrix([[t**i for i in range(terms)] for t in nodes])
    return [float(c) for c in lu_solve(table, matrix([f(t) for t in nodes]))]


def show(name, f, low, high, terms):
    c = powers(f, low, high, terms)
    error = mpf(0)
    for i in range(2001):
        t = low + (high - low) * i / 2000
        error = max(error, abs(sum(c[j] * t**j for j in range(terms)) / f(t) - 1))
    print(f"{name} ({terms} terms, relative error {nstr(error, 3)}):")
    for v in c:
        print("   ", repr(v) + ",")


def scaled_erfc(u):
    return exp(u * u) * erfc(u) if u < 1e4 else 1 / (u * sqrt(pi)) * (1 - 1 / (2 * u * u))


C = mpf("0.5")


def of_inverse(z):
    # erfcx(u) / z with z = 1 / (1 + u/2).
    z = max(z, mpf("1e-12"))
    return scaled_erfc((1 / z - 1) / C) / z


def main():
    tiny = mpf("1e-40")
    third = lambda t: log(1 + t) / t if abs(t) > tiny else mpf(1)
    show("log(1 + t)/t", third, 1 / sqrt(mpf(2)) - 1, sqrt(mpf(2)) - 1, 12)
    edge = (pi / 4) ** 2
    show("sin(x)/x by x^2", lambda z: sin(sqrt(z)) / sqrt(z) if z > tiny else mpf(1), mpf(0), edge, 5)
    show("cos(x) by x^2", lambda z: cos(sqrt(z)) if z > tiny else mpf(1), mpf(0), edge, 6)
    show("erfcx", of_inverse, mpf(0), mpf(1), 20)


if __name__ == "__main__":
    main()
