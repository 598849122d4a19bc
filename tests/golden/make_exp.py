"""The ten coefficients of `kernels/src/exp.rs`.

Prints the Chebyshev fit of (e^r - 1 - r)/r^2 on |r| <= 0.3467, a little more than
ln(2)/2, with the first coefficient (one rounding off) set to 1/2. Needs mpmath.
"""

from mpmath import cos, exp, log, lu_solve, matrix, mp, mpf, nstr, pi

mp.dps = 50
TERMS = 10
R_MAX = log(mpf(2)) / 2 * mpf("1.0005")


def quotient(r):
    # The series: the quotient cancels near zero.
    term = total = mpf(1) / 2
    for k in range(3, 60):
        term *= r / k
        total += term
    return total


def main():
    nodes = [R_MAX * cos(pi * (2 * j + 1) / (2 * TERMS)) for j in range(TERMS)]
    # Powers of the interpolant by the Vandermonde system, exact enough at 50 digits.
    powers = lu_solve(matrix([[r**i for i in range(TERMS)] for r in nodes]), matrix([quotient(r) for r in nodes]))
    powers = [mpf(1) / 2, *list(powers)[1:]]
    for c in powers:
        print(repr(float(c)))
    error = mpf(0)
    for i in range(-1000, 1001):
        r = R_MAX * i / 1000
        fit = 1 + r + r**2 * sum(powers[j] * r**j for j in range(TERMS))
        error = max(error, abs(fit - exp(r)))
    print("error of exp:", nstr(error, 3))


if __name__ == "__main__":
    main()
