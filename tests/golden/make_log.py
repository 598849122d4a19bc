"""The seven coefficients of `kernels/src/log.rs`.

Prints the Chebyshev fit of R(z)/z on 0 <= z <= (3 - 2 sqrt 2)^2, where z = s^2 and
ln((1 + s)/(1 - s)) = 2 s + s R(s^2). Needs mpmath.
"""

from mpmath import atanh, cos, lu_solve, matrix, mp, mpf, nstr, pi, sqrt

mp.dps = 50
TERMS = 7
Z_MAX = (3 - 2 * sqrt(mpf(2))) ** 2


def quotient(z):
    if z == 0:
        return mpf(2) / 3
    s = sqrt(z)
    return (2 * atanh(s) / s - 2) / z


def main():
    nodes = [Z_MAX / 2 * (1 + cos(pi * (2 * j + 1) / (2 * TERMS))) for j in range(TERMS)]
    # Powers of the interpolant by the Vandermonde system, exact enough at 50 digits.
    powers = lu_solve(matrix([[z**i for i in range(TERMS)] for z in nodes]), matrix([quotient(z) for z in nodes]))
    for c in powers:
        print(repr(float(c)))
    error = mpf(0)
    for i in range(1001):
        z = Z_MAX * i / 1000
        fit = sum(powers[j] * z**j for j in range(TERMS))
        error = max(error, abs(fit - quotient(z)) * z**mpf(1.5))
    print("error of ln:", nstr(error, 3))


if __name__ == "__main__":
    main()
