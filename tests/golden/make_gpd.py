"""The Gaussian phase approximation: `models/src/restricted/gpd_modes.rs` and `tests/golden/gpd.csv`.

With mu the positive zeros of J_1' (cylinder, k = 1) or j_1' (sphere, k = 2), the file holds mu^2,
w = 1/(mu^6 (mu^2 - k)), and the remainders of sum mu^2 w and sum w from mode 8 i on. The whole sums are Taylor
coefficients of f(z) = J_1(z)/(z J_1'(z)) = 2 sum_m mu^2/((mu^2 - k)(mu^2 - z^2)) (Mittag-Leffler).

The table holds apparent diffusivities by the plain series of 2000 terms, which leave less than 1e-16.
Run from anywhere: `python3 tests/golden/make_gpd.py`; needs mpmath.
"""

from pathlib import Path

from mpmath import besselj, exp, findroot, mp, mpf, nstr, pi, sqrt

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


def far_roots(slope, first, count):
    """Zeros beyond those of the table: gaps tend to pi, the last gap is the guess of the next, two secant steps."""
    out = list(first)
    with mp.workdps(40):
        while len(out) < count:
            guess = 2 * out[-1] - out[-2]
            out.append(findroot(slope, (guess, guess + mpf("1e-6")), solver="secant", tol=mpf(10) ** -60))
    return out


def apparent(mu, k, radius, diffusivity, delta, big_delta):
    """-ln E/b, with (gamma G)^2 = b/(tau delta^2)."""
    total = mpf(0)
    for m in mu:
        rate = m**2 * diffusivity / radius**2
        bracket = 2 * rate * delta - 2 + 2 * exp(-rate * delta) + 2 * exp(-rate * big_delta)
        bracket -= exp(-rate * (big_delta - delta)) + exp(-rate * (big_delta + delta))
        total += bracket / (m**6 * (m**2 - k))
    return 2 * radius**6 / (diffusivity**2 * (big_delta - delta / 3) * delta**2) * total


DIAMETERS = ["0.1", "0.5", "1", "2", "3.3", "5", "8", "12", "20", "30", "60"]
DIFFUSIVITIES = ["0.05", "0.6", "1.7", "3"]
# delta, Delta: clinical, strong gradients, touching pulses, short pulses.
PULSES = [("12.9", "21.8"), ("8", "49"), ("20", "20"), ("1", "12"), ("30", "60"), ("1", "1")]


def golden():
    rows = ["shape,diameter,diffusivity,delta_ms,big_delta_ms,apparent"]
    for shape, slope, k in (("cylinder", cylinder_slope, 1), ("sphere", sphere_slope, 2)):
        mu = far_roots(slope, roots(slope), 2000)
        with mp.workdps(40):
            for diameter in DIAMETERS:
                for diffusivity in DIFFUSIVITIES:
                    for delta, big_delta in PULSES:
                        value = apparent(mu, k, mpf(diameter) / 2, mpf(diffusivity), mpf(delta), mpf(big_delta))
                        rows.append(",".join([shape, diameter, diffusivity, delta, big_delta, nstr(value, 17)]))
    Path(__file__).with_name("gpd.csv").write_text("\n".join(rows) + "\n")


def main():
    text = (
        "//! Modes and remainders of `gpd.rs`, written by `tests/golden/make_gpd.py`;\n"
        "//! change that script, not this file.\n\n"
    )
    text += shape("CYLINDER", "cylinder", cylinder_slope, 0, 1)
    text += shape("SPHERE", "sphere", sphere_slope, mpf(1) / 2, 2)
    TARGET.write_text(text)
    golden()


if __name__ == "__main__":
    main()
