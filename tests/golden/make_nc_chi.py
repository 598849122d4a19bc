"""Coefficients and golden tables of the non-central chi and Student-t likelihoods.

Writes `kernels/src/nc_chi/coefficients.rs` (polynomials of nc_chi/bessel.rs),
`tests/golden/nc_chi.csv` (coils N, x, ln f, r = I_N/I_{N-1}, r', 20 digits) and
`tests/golden/noise.csv` (kind, N or nu, y, S, sigma, ln p, d ln p/dS, -d2 ln p/dS2, and
d ln p / d ln sigma). Run from anywhere: `python3 tests/golden/make_nc_chi.py`; needs mpmath.

Definitions, with v = N - 1 (Abramowitz & Stegun 1964, 9.6 and 9.7):

    f(x)  = Gamma(N) (2/x)^v I_v(x) exp(-x) = 0F1(; N; x^2/4) exp(-x)
    I_M(x) / I_{M+1}(x) = (s + G(t)) / x,   s = sqrt(x^2 + (M+1)^2),  t = (M+1)/s

G is fitted on 0 <= t <= 1 for two start orders M by its Chebyshev interpolant, turned into
powers at 40 digits.
"""

from functools import lru_cache
from pathlib import Path

from mpmath import besseli, cos, diff, exp, gamma, log, loggamma, mp, mpf, nstr, pi, quad, sqrt

mp.dps = 50
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

ORDERS = {"LOW": 16, "HIGH": 64}
# Of the largest value of s + G; the error of the ratio is at most half of it.
TOLERANCE = mpf("5e-17")


def scaled_bessel(nu, x):
    """sqrt(2 pi x) exp(-x) I_nu(x)."""
    if x < 4000 + 4 * nu * nu:
        return sqrt(2 * pi * x) * exp(-x) * besseli(nu, x)
    term = total = mpf(1)
    for j in range(1, 400):
        term *= -(4 * nu * nu - (2 * j - 1) ** 2) / (8 * j * x)
        total += term
        if abs(term) < mpf(10) ** -48:
            return total
    raise ArithmeticError(f"the asymptotic series does not converge at x = {x}")


@lru_cache(None)
def truth(coils, x):
    """ln f, r, r' at x >= 0."""
    nu, x = coils - 1, mpf(x)
    if x == 0:
        return mpf(0), mpf(0), mpf(1) / (2 * coils)
    below, above = scaled_bessel(nu, x), scaled_bessel(nu + 1, x)
    value = loggamma(coils) + nu * log(2 / x) + log(below) - log(2 * pi * x) / 2
    r = above / below
    return value, r, 1 - (2 * nu + 1) * r / x - r * r


def remainder(order, t):
    """G(t)."""
    m = mpf(order + 1)
    if t == 0:
        return mpf(order) + mpf(1) / 2
    s = m / t
    x = sqrt(s * s - m * m)
    if x < mpf(10) ** -12:
        return m
    return x * scaled_bessel(order, x) / scaled_bessel(order + 1, x) - s


def chebyshev_powers(f, n):
    """Interpolant of f at n Chebyshev nodes of [0, 1], in powers of 2 t - 1."""
    angles = [pi * (2 * j + 1) / (2 * n) for j in range(n)]
    values = [f((1 + cos(a)) / 2) for a in angles]
    series = [2 * sum(v * cos(i * a) for v, a in zip(values, angles)) / n for i in range(n)]
    series[0] /= 2
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


def fit(order):
    grid = [mpf(i) / 200 for i in range(1, 200)]
    values = [remainder(order, t) for t in grid]
    for n in range(8, 40):
        powers = chebyshev_powers(lambda t: remainder(order, t), n)
        error = max(
            abs(horner(powers, 2 * t - 1) - v) / (v + (order + 1) / t)
            for t, v in zip(grid, values)
        )
        if error < TOLERANCE:
            return powers, error
    raise ArithmeticError(f"order {order} needs more coefficients")


def rust_number(c):
    """The shortest decimal of the nearest f64, digits grouped as clippy wants them."""
    text = repr(float(c))
    mantissa, _, power = text.partition("e")
    whole, _, decimals = mantissa.partition(".")
    groups = "_".join(decimals[i : i + 3] for i in range(0, len(decimals), 3))
    return f"{whole}.{groups}" + (f"e{int(power)}" if power else "")


def write_coefficients():
    lines = [
        "//! Polynomial coefficients of `bessel.rs`, written by",
        "//! `tests/golden/make_nc_chi.py`; change that script, not this file.",
    ]
    for name, order in ORDERS.items():
        powers, error = fit(order)
        lines += [
            "",
            f"/// Start order M of [`G_{name}`].",
            f"pub(super) const M_{name}: usize = {order};",
            f"/// $G$ in powers of $2t - 1$; relative error of the ratio {nstr(error, 2)}.",
            f"pub(super) const G_{name}: [f64; {len(powers)}] = [",
        ]
        lines += [f"    {rust_number(c)}," for c in powers]
        lines.append("];")
    folder = ROOT / "kernels/src/nc_chi"
    folder.mkdir(exist_ok=True)
    (folder / "coefficients.rs").write_text("\n".join(lines) + "\n")


def write_bessel_table():
    points = [0.0, 1e-12, 1e-6] + [10 ** (-3 + i / 4) for i in range(38)]
    points += [0.37 * i for i in range(1, 40)] + [1e8, 1e12]
    lines = ["coils,x,ln_f,ratio,ratio_derivative"]
    for coils in (1, 2, 3, 4, 5, 8, 12, 16, 17, 18, 32, 33, 48, 63, 64):
        for x in sorted({float(p) for p in points}):
            row = truth(coils, x)
            lines.append(
                ",".join([str(coils), repr(x)] + [nstr(v, 20, strip_zeros=False) for v in row])
            )
    (HERE / "nc_chi.csv").write_text("\n".join(lines) + "\n")


def ln_p_nc_chi(coils, y, s, sigma):
    """From the density as it is written in Constantinides et al. 1997."""
    nu, w = coils - 1, 1 / sigma**2
    if s == 0:
        bessel = -nu * log(2) - loggamma(coils) + nu * log(y * w)
        return coils * log(y) + log(w) - w * y * y / 2 + bessel
    s = abs(s)
    bessel = log(besseli(nu, y * s * w))
    return coils * log(y) - nu * log(s) + log(w) - w * (y * y + s * s) / 2 + bessel


def ln_p_student(nu, y, s, sigma):
    d = (y - s) / sigma
    return (
        loggamma((nu + 1) / 2)
        - loggamma(nu / 2)
        - log(nu * pi) / 2
        - log(sigma)
        - (nu + 1) / 2 * log(1 + d * d / nu)
    )


def write_noise_table():
    lines = ["kind,parameter,y,s,sigma,ln_p,score,curvature,ln_sigma_slope"]

    def row(kind, parameter, density, y, s, sigma):
        y_, s_, sigma_, p = mpf(y), mpf(s), mpf(sigma), mpf(parameter)
        if kind == "nc_chi":
            p = int(parameter)
        step = mpf(10) ** -12 * sigma_

        def ln_p(a):
            return density(p, y_, a, sigma_)

        value = ln_p(s_)
        score = (ln_p(s_ - 2 * step) - 8 * ln_p(s_ - step) + 8 * ln_p(s_ + step) - ln_p(s_ + 2 * step)) / (12 * step)
        bend = (
            -ln_p(s_ - 2 * step)
            + 16 * ln_p(s_ - step)
            - 30 * value
            + 16 * ln_p(s_ + step)
            - ln_p(s_ + 2 * step)
        ) / (12 * step**2)
        slope = diff(lambda u: density(p, y_, s_, exp(u)), log(sigma_))
        numbers = [value, score, -bend, slope]
        lines.append(
            ",".join([kind, repr(parameter), repr(y), repr(s), repr(sigma)] + [nstr(v, 17) for v in numbers])
        )

    for coils in (1, 2, 4, 12, 32, 64):
        for y, s, sigma in [
            (0.3, 0.0, 0.1), (0.02, 0.05, 0.1), (0.4, 0.2, 0.1), (1.0, 1.1, 0.05), (1.3, 0.9, 0.3),
            (0.9, -0.7, 0.2), (120.0, 95.0, 7.0), (5.0, 5.0, 0.01),
        ]:
            row("nc_chi", coils, ln_p_nc_chi, y, s, sigma)
    for nu in (1.0, 2.5, 5.0, 30.0):
        for y, s, sigma in [
            (0.3, 0.0, 0.1), (1.0, 1.0, 0.05), (0.4, 0.45, 0.1), (2.0, 1.0, 0.02), (-0.3, 0.2, 0.3),
            (120.0, 95.0, 7.0),
        ]:
            row("student_t", nu, ln_p_student, y, s, sigma)
    (HERE / "noise.csv").write_text("\n".join(lines) + "\n")


def check():
    """The densities integrate to one and the scaled function is the written one."""
    for coils in (1, 3, 8):
        mass = quad(lambda y: exp(ln_p_nc_chi(coils, y, mpf("0.2"), mpf("0.1"))), [0, 0.3, 0.6, 1, 2])
        assert abs(mass - 1) < mpf(10) ** -20, (coils, mass)
        y, s, w = mpf("0.4"), mpf("0.2"), mpf(100)
        f, x = truth(coils, float(y * s * w))[0], y * s * w
        ours = (
            (2 * coils - 1) * log(y) + coils * log(w) - (coils - 1) * log(2) - log(gamma(coils))
            - w * (y - s) ** 2 / 2 + f
        )
        assert abs(ours - ln_p_nc_chi(coils, y, s, mpf("0.1"))) < mpf(10) ** -14, coils


if __name__ == "__main__":
    check()
    write_coefficients()
    write_bessel_table()
    write_noise_table()
