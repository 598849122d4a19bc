"""`waveform_gpd.csv`: the Gaussian phase approximation under sampled waveforms, by the double sum over samples.

-ln E = (gamma^2/2) sum_m B_m int int g(t).g(t') exp(-mu_m^2 D |t - t'|/R^2) dt dt', B_m = 2 R^2/(mu_m^2 (mu_m^2 - k)),
with J_1'(mu) = 0, k = 1 (cylinder, gradient across) or j_1'(mu) = 0, k = 2 (sphere), 3000 modes. Every pair of samples
is integrated exactly and added up (no recursion). Waveforms, T/m, ms:
cosine: 0.06 cos(2 pi 0.05 (k + 1/2)) for k < 40, zero for 10 samples, then the negative; dt = 1; along x.
pulses: 0.12 for k < 6, -0.12 for 20 <= k < 26, 30 samples, dt = 0.7; along x.
spatial: x the cosine of half the amplitude, y its double frequency (0.05 cos(2 pi 0.1 (k + 1/2))), z 0.04 for k < 9 and
-0.04 for 60 <= k < 69; 90 samples, dt = 1; spheres only.
Run from anywhere: `python3 tests/golden/make_waveforms.py`; needs numpy and scipy.
"""

from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import jnp_zeros, spherical_jn

GAMMA = 2.6752218744e8 * 1e-9
MODES = 3000
TARGET = Path(__file__).resolve().parent / "waveform_gpd.csv"


def train(amplitude, frequency):
    k = np.arange(40) + 0.5
    first = amplitude * np.cos(2 * np.pi * frequency * k)
    return np.concatenate([first, np.zeros(10), -first])


def pair(amplitude, delta, separation, times):
    g = np.zeros(times)
    g[:delta] = amplitude
    g[separation : separation + delta] = -amplitude
    return g


WAVEFORMS = {
    "cosine": (1.0, [train(0.06, 0.05)]),
    "pulses": (0.7, [pair(0.12, 6, 20, 30)]),
    "spatial": (1.0, [train(0.03, 0.05), train(0.05, 0.1), pair(0.04, 9, 60, 90)]),
}


def double_sum(g, h, rate):
    """int int g g' exp(-rate |t - t'|), all pairs of pieces."""
    x = rate * h
    n = len(g)
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    one = -np.expm1(-x) / rate
    across = np.where(lag > 0, np.exp(-x * np.maximum(lag - 1, 0)) * one * one, 0.0)
    own = 2 * (x + np.expm1(-x)) / rate**2 if x > 1e-3 else h * h * (1 - x / 3 + x * x / 12 - x**3 / 60)
    return g @ across @ g + own * (g @ g)


def main():
    slope = lambda x: spherical_jn(1, x, derivative=True)
    sphere = np.array([brentq(slope, np.pi * (m + 0.3), np.pi * (m + 1.1), xtol=1e-14) for m in range(MODES)])
    cylinder = jnp_zeros(1, MODES)
    rows = ["kind,waveform,diameter_um,diffusivity_um2_per_ms,minus_ln_e"]
    for kind, roots, k in [("cylinder_gpd", cylinder, 1), ("sphere_gpd", sphere, 2)]:
        for name, (h, parts) in WAVEFORMS.items():
            if kind == "cylinder_gpd" and len(parts) > 1:
                continue
            for diameter, diffusivity in [(1.5, 1.7), (6.0, 2.0), (12.0, 1.0), (30.0, 2.5)]:
                radius = diameter / 2
                total = 0.0
                for mu in roots:
                    square = mu * mu
                    s = sum(double_sum(g, h, square * diffusivity / radius**2) for g in parts)
                    total += GAMMA**2 * radius**2 / (square * (square - k)) * s
                rows.append(f"{kind},{name},{diameter},{diffusivity},{total!r}")
    TARGET.write_text("\n".join(rows).replace("np.float64(", "").replace(")", "") + "\n")


if __name__ == "__main__":
    main()
