"""Coefficients of the functions of single precision.

Writes `kernels/src/single/coefficients.rs`: exp2 on [-1/2, 1/2], and the fits of
make_rician.py with fewer coefficients and two ranges instead of three.
Run from anywhere: `python3 tests/golden/make_single.py`; needs mpmath.
"""

from make_rician import ROOT, chebyshev_powers, h, horner, in_powers_of_v, k
from mpmath import besseli, mpf, nstr, sqrt

# Below SMALL_MAX the power series in x^2, above the series in 1/x. Each fit has the fewest
# coefficients with an error below TOLERANCE, two roundings of single precision.
SMALL_MAX = 6
TOLERANCE = mpf("1.3e-7")


def fits():
    w_max, u_max = mpf(SMALL_MAX) ** 2, mpf(1) / SMALL_MAX
    jobs = {
        "EXP2": (lambda x: mpf(2) ** x, mpf("-0.5"), mpf("0.5"), lambda x, v: 1 / v),
        "P": (lambda w: besseli(0, sqrt(w)), mpf(0), w_max, lambda w, v: 1 / v),
        "Q": (lambda w: besseli(1, sqrt(w)) / sqrt(w), mpf(0), w_max, lambda w, v: 1 / v),
        "K": (k, mpf(0), u_max, lambda u, v: u),
        "H": (h, mpf(0), u_max, lambda u, v: u * u),
    }
    result = {}
    for name, (f, low, high, weight) in jobs.items():
        grid = [mpf(i) / 100 - 1 for i in range(1, 200)]
        arguments = [(low + high) / 2 + (high - low) / 2 * t for t in grid]
        values = [f(v) for v in arguments]
        for n in range(3, 20):
            powers = chebyshev_powers(f, low, high, n)
            error = max(
                abs((horner(powers, t) - value) * weight(v, value))
                for t, v, value in zip(grid, arguments, values)
            )
            if error < TOLERANCE:
                break
        if low == 0:
            powers = in_powers_of_v(powers, low, high)
        else:
            powers = [c * (2 / (high - low)) ** i for i, c in enumerate(powers)]
        result[name] = (powers, error)
    return result


def rust_number(c):
    """Nine digits, which name one number of single precision, grouped as clippy wants them."""
    text = f"{float(c):.8e}"
    mantissa, _, power = text.partition("e")
    whole, _, decimals = mantissa.partition(".")
    decimals = decimals.rstrip("0") or "0"
    groups = "_".join(decimals[i : i + 3] for i in range(0, len(decimals), 3))
    return f"{whole}.{groups}" + (f"e{int(power)}" if int(power) else "")


def main():
    about = {
        "EXP2": "$2^x$ in powers of x, $|x| \\le \\tfrac12$",
        "P": "$I_0(x)$ in powers of $x^2$, $x <$ [`SMALL_MAX`]",
        "Q": "$I_1(x)/x$ in powers of $x^2$, $x <$ [`SMALL_MAX`]",
        "K": "$k(u)$ in powers of $u = 1/x$, $x \\ge$ [`SMALL_MAX`]",
        "H": "$h(u)$ in powers of $u = 1/x$, $x \\ge$ [`SMALL_MAX`]",
    }
    lines = [
        "//! Polynomial coefficients of `single/functions.rs`, written by",
        "//! `tests/golden/make_single.py`; change that script, not this file.",
        "#![allow(clippy::excessive_precision, clippy::approx_constant)]",
        "",
        "/// Below this argument the series in x² is used.",
        f"pub(super) const SMALL_MAX: f32 = {SMALL_MAX}.0;",
    ]
    for name, (powers, error) in fits().items():
        lines.append(f"/// {about[name]}; error of the fit {nstr(error, 2)}.")
        lines.append(f"pub(super) const {name}: [f32; {len(powers)}] = [")
        lines += [f"    {rust_number(c)}," for c in powers]
        lines.append("];")
    (ROOT / "kernels/src/single/coefficients.rs").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
