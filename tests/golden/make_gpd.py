"""`models/src/restricted/gpd_modes.rs`: modes and remainders of the Gaussian phase approximation.

With mu the positive zeros of J_1' (cylinder, k = 1) or j_1' (sphere, k = 2), the file holds mu^2,
w = 1/(mu^6 (mu^2 - k)), and the remainders of sum mu^2 w and sum w from mode 8 i on. The whole sums are Taylor
coefficients of f(z) = J_1(z)/(z J_1'(z)) = 2 sum_m mu^2/((mu^2 - k)(mu^2 - z^2)) (Mittag-Leffler).
Run from anywhere: `python3 tests/golden/make_gpd.py`; needs mpmath.
"""

from pathlib import Path

from mpmath import besselj, findroot, mp, mpf, nstr, pi, sqrt, taylor

mp.dps = 80
MODES, BLOCK = 48, 8
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
    """Zeros lie within 1 of (m - 3/4) pi (cylinder) or (m - 1/2) pi... : scan, then refine."""
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
    text = repr(float(x))
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    groups = lambda s: "_".join(s[i : i + 3] for i in range(0, len(s), 3))
    head = f"{int(whole):,}".replace(",", "_") + "." + groups(fraction)
    return head + (f"e{int(exponent)}" if exponent else "")


def table(name, doc, values):
    lines = "".join(f"    {number(v)},\n" for v in values)
    return f"/// {doc}\npub(super) const {name}: [f64; {len(values)}] = [\n{lines}];\n"


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
    )


def main():
    text = (
        "//! Modes and remainders of `gpd.rs`, written by `tests/golden/make_gpd.py`;\n"
        "//! change that script, not this file.\n\n"
    )
    text += shape("CYLINDER", "cylinder", cylinder_slope, 0, 1)
    text += shape("SPHERE", "sphere", sphere_slope, mpf(1) / 2, 2)
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
