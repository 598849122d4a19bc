"""The Gaussian phase approximation: `models/src/restricted/gpd_modes.rs` and `tests/golden/gpd.csv`.

With mu the positive zeros of J_1' (cylinder, k = 1) or j_1' (sphere, k = 2), the file holds mu^2,
w = 1/(mu^6 (mu^2 - k)), and the remainders of sum mu^2 w and sum w from mode 8 i on. The whole sums are Taylor
coefficients of f(z) = J_1(z)/(z J_1'(z)) = 2 sum_m mu^2/((mu^2 - k)(mu^2 - z^2)) (Mittag-Leffler). For short
times the file holds c_n/Gamma(n/2 + 4) with f(iq) ~ sum_n c_n q^-n.

The table holds apparent diffusivities by the plain series of 2000 terms, which leave less than 1e-16, and in
pores that are wide against the length sqrt(D delta) by 20000 terms, which leave less than 1e-11.
Run from anywhere: `python3 tests/golden/make_gpd.py`; needs mpmath and numpy.
"""

from pathlib import Path

import numpy as np
from mpmath import atan, besselj, exp, findroot, gamma, mp, mpf, nstr, pi, sqrt

mp.dps = 80
MODES, BLOCK, TERMS = 48, 8, 14
TARGET = Path(__file__).resolve().parent.parent.parent / "models/src/restricted/gpd_modes.rs"


def series(order, shift, terms):
    """Coefficients in w = z^2 of Gamma(order + 1 + shift) 0F1(; order + 1 + shift; -w/4): J or j up to a power."""
    nu, out = order + 1 + shift, [mpf(1)]
    for k in range(1, terms):
        out.append(-out[-1] / (4 * k * (nu + k - 1)))
    return out


def whole_sums(shift):
    """[z^4] and [z^6] of f/2: f = A/B with y_1 = z A(w), z y_1' = z B(w)."""
    a = series(1, shift, 5)
    b = [(2 * k + 1) * c for k, c in enumerate(a)]
    f = []
    for i in range(5):
        f.append((a[i] - sum(f[j] * b[i - j] for j in range(i))) / b[0])
    assert f[0] == 1
    return f[1] / 2, f[2] / 2, f[3] / 2


def cylinder_slope(x):
    return (besselj(0, x) - besselj(2, x)) / 2


def sphere_slope(x):
    half = mpf(1) / 2
    return (besselj(half, x) - 2 * besselj(2 + half, x)) / sqrt(x)


def roots(slope):
    """The first zeros: a scan, then refinement."""
    out, x, before = [], mpf("0.5"), slope(mpf("0.5"))
    while len(out) < MODES:
        x += mpf("0.5")
        now = slope(x)
        if before * now < 0:
            out.append(findroot(slope, (x - mpf("0.5"), x), solver="anderson", tol=mpf(10) ** -140))
        before = now
    return out


def number(x):
    """A float literal without more digits than a double has, grouped as clippy likes."""
    text, sign = repr(abs(float(x))), "-" if x < 0 else ""
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    groups = lambda s: "_".join(s[i : i + 3] for i in range(0, len(s), 3))
    head = sign + f"{int(whole):,}".replace(",", "_") + "." + groups(fraction)
    return head + (f"e{int(exponent)}" if exponent else "")


def table(name, doc, values):
    lines = "".join(f"    {number(v)},\n" for v in values)
    return f"/// {doc}\npub(super) const {name}: [f64; {len(values)}] = [\n{lines}];\n"


def wide(name, word, value, slope):
    """c_n/Gamma(n/2 + 4) of value/slope = sum_n c_n q^(1 - n), both as powers of 1/q; the factor of f is 1/q."""
    c = []
    for i in range(TERMS):
        c.append((value[i] - sum(c[j] * slope[i - j] for j in range(i))) / slope[0])
    assert c[0] == 1
    doc = f"c_n/Γ(n/2 + 4) of the {word}, n from 1 on."
    return table(f"{name}_SHORT", doc, [x / gamma(mpf(i + 1) / 2 + 4) for i, x in enumerate(c)])


def hankel(nu):
    """I_nu(q) sqrt(2 pi q) e^-q as powers of 1/q."""
    out = [mpf(1)]
    for i in range(1, TERMS):
        out.append(-out[-1] * (4 * nu**2 - (2 * i - 1) ** 2) / (8 * i))
    return out


def cylinder_wide():
    return wide("CYLINDER", "cylinder", hankel(1), [(a + b) / 2 for a, b in zip(hankel(0), hankel(2))])


def sphere_wide():
    """i_1 ~ 1 - 1/q and i_1' ~ 1 - 2/q + 2/q^2, both over 2 q e^-q."""
    pad = [mpf(0)] * TERMS
    return wide("SPHERE", "sphere", [mpf(1), mpf(-1)] + pad, [mpf(1), mpf(-2), mpf(2)] + pad)


def shape(name, word, slope, shift, k):
    mu = roots(slope)
    squares = [m**2 for m in mu]
    weights = [1 / (s**3 * (s - k)) for s in squares]
    first, second, third = whole_sums(shift)
    assert abs(first - sum(1 / (s * (s - k)) for s in squares)) < mpf(10) ** -5
    slow, fast = [], []
    for i in range(0, MODES + 1, BLOCK):
        slow.append(second - sum(s * w for s, w in zip(squares[:i], weights[:i])))
        fast.append(third - sum(weights[:i]))
        # What is left is about the integral of 1/(pi m)^6 and 1/(pi m)^8.
        if i:
            assert 0.5 < slow[-1] * 5 * pi * (pi * i) ** 5 / 1 < 2, (i, slow[-1])
            assert 0.5 < fast[-1] * 7 * pi * (pi * i) ** 7 / 1 < 2, (i, fast[-1])
    return (
        table(f"{name}_SQUARES", f"µ² of the {word}.", squares)
        + table(f"{name}_WEIGHTS", f"1/µ⁶(µ² - {k}) of the {word}.", weights)
        + table(f"{name}_SLOW", f"Σ 1/µ⁴(µ² - {k}) of the {word} from mode 8i on.", slow)
        + table(f"{name}_FAST", f"Σ 1/µ⁶(µ² - {k}) of the {word} from mode 8i on.", fast)
        + f"/// Σ 1/µ²(µ² - {k}) of the {word}.\npub(super) const {name}_SPREAD: f64 = {number(first)};\n"
    )


def far_roots(slope, first, count):
    """Zeros beyond those of the table: gaps tend to pi, the last gap is the guess of the next, two secant steps."""
    out = list(first)
    with mp.workdps(40):
        while len(out) < count:
            guess = 2 * out[-1] - out[-2]
            out.append(findroot(slope, (guess, guess + mpf("1e-6")), solver="secant", tol=mpf(10) ** -60))
    return out


def asymptotic_root(k, m):
    """The zero number m, counted from 1, where it is large: McMahon's series, or tan x = 2x/(2 - x^2)."""
    if k == 1:
        beta, nu = (m - mpf(1) / 4) * pi, 4
        out = beta - (nu + 3) / (8 * beta) - 4 * (7 * nu**2 + 82 * nu - 9) / (3 * (8 * beta) ** 3)
        return out - 32 * (83 * nu**3 + 2075 * nu**2 - 3039 * nu + 3537) / (15 * (8 * beta) ** 5)
    x = m * pi
    for _ in range(12):
        x = m * pi + atan(2 * x / (2 - x**2))
    return x


def decay(x):
    """e^-x, without the time for what is below all digits."""
    return exp(-x) if x < 100 else mpf(0)


def apparent(mu, k, radius, diffusivity, delta, big_delta):
    """-ln E/b, with (gamma G)^2 = b/(tau delta^2)."""
    total = mpf(0)
    for m in mu:
        rate = m**2 * diffusivity / radius**2
        bracket = 2 * rate * delta - 2 + 2 * decay(rate * delta) + 2 * decay(rate * big_delta)
        bracket -= decay(rate * (big_delta - delta)) + decay(rate * (big_delta + delta))
        total += bracket / (m**6 * (m**2 - k))
    return 2 * radius**6 / (diffusivity**2 * (big_delta - delta / 3) * delta**2) * total


DIAMETERS = ["0.1", "0.5", "1", "2", "3.3", "5", "8", "12", "20", "30", "60"]
DIFFUSIVITIES = ["0.05", "0.6", "1.7", "3"]
# delta, Delta: clinical, strong gradients, touching pulses, short pulses.
PULSES = [("12.9", "21.8"), ("8", "49"), ("20", "20"), ("1", "12"), ("30", "60"), ("1", "1")]

# Pores that are wide against sqrt(D delta), or even against sqrt(D Delta).
WIDE_DIAMETERS = ["20", "60", "100", "300"]
WIDE_DIFFUSIVITIES = ["0.001", "0.05", "0.6", "1.7"]
WIDE_PULSES = [("0.5", "100"), ("0.1", "10"), ("0.1", "500"), ("0.01", "60"), ("1", "1"), ("12", "20"), ("2", "5.9")]


def bend(u):
    """u - 1 + e^-u without cancellation, in extended precision."""
    small = np.minimum(u, 1)
    total, term = np.zeros_like(u), small**2 / 2
    for j in range(3, 26):
        total, term = total + term, -term * small / j
    return np.where(u < 1, total, u - 1 + np.exp(-u))


def wide_rows(shape, mu, k):
    """Rows with D delta/R^2 between 4e-7, where 20000 terms end, and 4e-4, where 2000 do."""
    out = []
    with mp.workdps(34):
        mu = mu[:MODES] + [asymptotic_root(k, m) for m in range(MODES + 1, 20001)]
        square = np.array([np.longdouble(nstr(m**2, 25)) for m in mu])
    for diameter in WIDE_DIAMETERS:
        for diffusivity in WIDE_DIFFUSIVITIES:
            for delta, big_delta in WIDE_PULSES:
                width, d, short, long = (np.longdouble(v) for v in (diameter, diffusivity, delta, big_delta))
                rate = 4 * d / width**2
                if not 4e-7 < rate * short < 4e-4:
                    continue
                u, v = square * rate * short, square * rate * (long - short)
                terms = (2 * bend(u) - np.exp(-v) * np.expm1(-u) ** 2) / (square**3 * (square - k))
                value = width**2 / 2 / ((rate * short) ** 2 * (long - short / 3)) * np.sum(terms[::-1])
                out.append(",".join([shape, diameter, diffusivity, delta, big_delta, f"{value:.17g}"]))
    return out


def golden():
    rows = ["shape,diameter,diffusivity,delta_ms,big_delta_ms,apparent"]
    for shape, slope, k in (("cylinder", cylinder_slope, 1), ("sphere", sphere_slope, 2)):
        mu = far_roots(slope, roots(slope), 2000)
        with mp.workdps(40):
            for diameter in DIAMETERS:
                for diffusivity in DIFFUSIVITIES:
                    for delta, big_delta in PULSES:
                        if 4 * mpf(diffusivity) * mpf(delta) / mpf(diameter) ** 2 < mpf("4e-4"):
                            continue
                        value = apparent(mu, k, mpf(diameter) / 2, mpf(diffusivity), mpf(delta), mpf(big_delta))
                        rows.append(",".join([shape, diameter, diffusivity, delta, big_delta, nstr(value, 17)]))
        rows += wide_rows(shape, mu, k)
    Path(__file__).with_name("gpd.csv").write_text("\n".join(rows) + "\n")


def main():
    text = (
        "//! Modes and remainders of `gpd.rs`, written by `tests/golden/make_gpd.py`;\n"
        "//! change that script, not this file.\n\n"
    )
    text += shape("CYLINDER", "cylinder", cylinder_slope, 0, 1)
    text += cylinder_wide()
    text += shape("SPHERE", "sphere", sphere_slope, mpf(1) / 2, 2)
    text += sphere_wide()
    TARGET.write_text(text)
    golden()


if __name__ == "__main__":
    main()
