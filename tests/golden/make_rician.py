"""Coefficients and golden table of the logarithm of the Bessel function I0.

Writes `kernels/src/special/coefficients.rs` (polynomials of special.rs) and
`tests/golden/log_bessel.csv` (x, ln i0e(x), r(x) = I1/I0, r'(x), 20 digits).
Run from anywhere: `python3 tests/golden/make_rician.py`; needs mpmath.

Definitions, with u = 1/x (Abramowitz & Stegun 1964, 9.6 and 9.7):

    ln i0e(x) = -1/2 ln(2 pi x) + u k(u)
    r(x)      = 1 - u/2 - u^2 h(u)
    I0(x)     = P(x^2),  I1(x) = x Q(x^2)

k and h are fitted on two ranges of x, P and Q on the third; every fit is the
Chebyshev interpolant, turned into powers at 40 digits.
"""

from functools import lru_cache
from pathlib import Path

from mpmath import besseli, binomial, cos, log, mp, mpf, nstr, pi, sqrt

mp.dps = 50
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Below SMALL_MAX the power series in x^2, from LARGE_MIN the series in 1/x, between them a
# second fit in 1/x. Each fit has the fewest coefficients with an error below TOLERANCE.
SMALL_MAX, LARGE_MIN = 8, 20
TOLERANCE = mpf("1.05e-16")


def asymptotic(nu, x):
    """sqrt(2 pi x) exp(-x) I_nu(x) for large x (A&S 9.7.1)."""
    term = total = mpf(1)
    for j in range(1, 200):
        term *= -(4 * nu * nu - (2 * j - 1) ** 2) / (8 * j * x)
        total += term
        if abs(term) < mpf(10) ** -48:
            return total
    raise ArithmeticError(f"the asymptotic series does not converge at x = {x}")


@lru_cache(None)
def truth(x):
    """ln i0e, r, r' at x > 0."""
    x = mpf(x)
    if x > 100:
        a0, a1 = asymptotic(0, x), asymptotic(1, x)
        value, r = log(a0) - log(2 * pi * x) / 2, a1 / a0
    else:
        i0, i1 = besseli(0, x), besseli(1, x)
        value, r = log(i0) - x, i1 / i0
    return value, r, 1 - r / x - r * r


def k(u):
    if u == 0:
        return mpf(1) / 8
    return (truth(1 / u)[0] + log(2 * pi / u) / 2) / u


def h(u):
    if u == 0:
        return mpf(1) / 8
    return (1 - u / 2 - truth(1 / u)[1]) / u**2


def chebyshev_powers(f, low, high, n):
    """Interpolant of f at n Chebyshev nodes of [low, high], in powers of
    t = (2 v - low - high) / (high - low)."""
    angles = [pi * (2 * j + 1) / (2 * n) for j in range(n)]
    values = [f((low + high) / 2 + (high - low) / 2 * cos(a)) for a in angles]
    series = [2 * sum(v * cos(i * a) for v, a in zip(values, angles)) / n for i in range(n)]
    series[0] /= 2
    # Chebyshev to powers by T_{i+1} = 2 t T_i - T_{i-1}.
    powers = [mpf(0)] * n
    before, now = [mpf(1)], [mpf(0), mpf(1)]
    for i, c in enumerate(series):
        basis = before if i == 0 else now
        for j, b in enumerate(basis):
            powers[j] += c * b
        if i > 0:
            following = [mpf(0)] + [2 * b for b in now]
            for j, b in enumerate(before):
                following[j] -= b
            before, now = now, following
    return powers


def horner(powers, t):
    total = mpf(0)
    for c in reversed(powers):
        total = total * t + c
    return total


def in_powers_of_v(powers, low, high):
    """The polynomial in t as a polynomial in v, for low = 0: t = a v - 1."""
    a = 2 / mpf(high - low)
    shift = -mpf(low + high) / (high - low)
    n = len(powers)
    out = [mpf(0)] * n
    for i, c in enumerate(powers):
        for j in range(i + 1):
            out[j] += c * binomial(i, j) * a**j * shift ** (i - j)
    return out


def fits():
    w_max = mpf(SMALL_MAX) ** 2
    u_large, u_small = mpf(1) / LARGE_MIN, mpf(1) / SMALL_MAX
    jobs = {
        "P": (lambda w: besseli(0, sqrt(w)), mpf(0), w_max, lambda w, v: 1 / v),
        "Q": (lambda w: besseli(1, sqrt(w)) / sqrt(w), mpf(0), w_max, lambda w, v: 1 / v),
        "K_MIDDLE": (k, u_large, u_small, lambda u, v: u),
        "H_MIDDLE": (h, u_large, u_small, lambda u, v: u * u),
        "K_LARGE": (k, mpf(0), u_large, lambda u, v: u),
        "H_LARGE": (h, mpf(0), u_large, lambda u, v: u * u),
    }
    result = {}
    for name, (f, low, high, weight) in jobs.items():
        grid = [mpf(i) / 100 - 1 for i in range(1, 200)]
        arguments = [(low + high) / 2 + (high - low) / 2 * t for t in grid]
        values = [f(v) for v in arguments]
        for n in range(6, 40):
            powers = chebyshev_powers(f, low, high, n)
            error = max(
                abs((horner(powers, t) - value) * weight(v, value))
                for t, v, value in zip(grid, arguments, values)
            )
            if error < TOLERANCE:
                break
        if name in "PQ":
            powers = in_powers_of_v(powers, low, high)
        result[name] = (powers, error)
    return result


def rust_number(c):
    """The shortest decimal of the nearest f64, digits grouped as clippy wants them."""
    text = repr(float(c))
    mantissa, _, power = text.partition("e")
    whole, _, decimals = mantissa.partition(".")
    groups = "_".join(decimals[i : i + 3] for i in range(0, len(decimals), 3))
    return f"{whole}.{groups}" + (f"e{int(power)}" if power else "")


def write_coefficients():
    about = {
        "P": "$I_0(x)$ in powers of $x^2$, $x <$ [`SMALL_MAX`]",
        "Q": "$I_1(x)/x$ in powers of $x^2$, $x <$ [`SMALL_MAX`]",
        "K_MIDDLE": "$k(u)$ in powers of $t$, between the ranges",
        "H_MIDDLE": "$h(u)$ in powers of $t$, between the ranges",
        "K_LARGE": "$k(u)$ in powers of $t$, $x \\ge$ [`LARGE_MIN`]",
        "H_LARGE": "$h(u)$ in powers of $t$, $x \\ge$ [`LARGE_MIN`]",
    }
    u_large, u_small = mpf(1) / LARGE_MIN, mpf(1) / SMALL_MAX
    lines = [
        "//! Polynomial coefficients of `special.rs`, written by",
        "//! `tests/golden/make_rician.py`; change that script, not this file.",
        "",
        "/// Below this argument the series in x² is used.",
        f"pub(super) const SMALL_MAX: f64 = {SMALL_MAX}.0;",
        "/// From this argument the series in 1/x is used.",
        f"pub(super) const LARGE_MIN: f64 = {LARGE_MIN}.0;",
        "/// t = scale/x + shift between the ranges.",
        f"pub(super) const MIDDLE_T: [f64; 2] = [{rust_number(2 / (u_small - u_large))}, "
        f"{rust_number(-(u_small + u_large) / (u_small - u_large))}];",
        "/// t = scale/x + shift for large x.",
        f"pub(super) const LARGE_T: [f64; 2] = [{rust_number(2 / u_large)}, -1.0];",
    ]
    for name, (powers, error) in fits().items():
        lines.append(f"/// {about[name]}; error of the fit {nstr(error, 2)}.")
        lines.append(f"pub(super) const {name}: [f64; {len(powers)}] = [")
        lines += [f"    {rust_number(c)}," for c in powers]
        lines.append("];")
    (ROOT / "kernels/src/special/coefficients.rs").write_text("\n".join(lines) + "\n")


def write_table():
    points = [0.0] + [10.0 ** (-12 + i) for i in range(9)]
    points += [i / 64 for i in range(1, 65)]
    points += [1 + i / 16 for i in range(1, 480)]
    points += [10 ** (1.49 + i / 40) for i in range(181)] + [1e6]
    for b in (SMALL_MAX, LARGE_MIN):
        points += [b + s * d for d in (2.0**-48, 2.0**-40, 2.0**-30, 2.0**-20, 2.0**-10) for s in (-1, 1)]
    points = sorted({float(x) for x in points})
    lines = ["x,ln_i0e,ratio,ratio_derivative"]
    for x in points:
        # repr(x) is exact for the f64; the truth belongs to that f64.
        row = truth(x) if x > 0 else (mpf(0), mpf(0), mpf(1) / 2)
        if 0 < x < 1e-3:
            # r' = 1/2 - 3 x^2/16 + ... : the defining formula cancels even at 50 digits below this.
            row = (row[0], row[1], mpf(1) / 2 - 3 * mpf(x) ** 2 / 16 + 5 * mpf(x) ** 4 / 96)
        lines.append(",".join([repr(x)] + [nstr(v, 20, strip_zeros=False) for v in row]))
    (HERE / "log_bessel.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_coefficients()
    write_table()
