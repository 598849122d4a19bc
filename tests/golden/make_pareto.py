"""The table of `inference/tests/suite/pareto.rs`: log ratios and what ArviZ makes of them.

Writes `pareto.csv` next to this file, two lines a case: `case,reff,khat,ratios...`
and `case,weights,ln_weights...`. Needs arviz 0.23, numpy and scipy.
"""

import pathlib
import warnings

import arviz as az
import numpy as np
import scipy

HERE = pathlib.Path(__file__).parent


def cases():
    rng = np.random.default_rng(20240817)
    normal = rng.standard_normal
    out = {
        "light": (0.5 * normal(1000), 1.0),
        "moderate": (1.5 * normal(1000), 0.8),
        "heavy": (4.0 * normal(1000), 0.3),
        "antithetic": (normal(500), 1.7),
        "bounded": (np.log(rng.random(800)), 1.0),
        "short_tail": (-np.abs(normal(600)) ** 0.2, 1.0),
        "student": (rng.standard_t(2.0, 700), 1.0),
        "cauchy": (rng.standard_cauchy(400), 1.0),
        "offset": (10.0 + normal(300), 1.0),
        "far_below": (-5e4 + 300 * normal(300), 1.0),
        "some_zero": (np.where(rng.random(400) < 0.3, -np.inf, normal(400)), 1.0),
        "mostly_zero": (np.where(rng.random(400) < 0.97, -np.inf, normal(400)), 1.0),
        "all_but_one_zero": (np.where(np.arange(100) == 41, 2.0, -np.inf), 1.0),
        "constant": (np.full(100, 0.25), 1.0),
        "two_values": (np.where(rng.random(200) < 0.1, 1.0, 0.0), 1.0),
        "ties": (np.round(normal(600) * 4) / 4, 1.0),
        "least_tail": (normal(21), 1.0),
        "twenty_four": (normal(24), 0.5),
        "too_few": (normal(20), 1.0),
        "five": (normal(5), 1.0),
        "quarter_edge": (normal(42), 1.0),
        # The exceedances are differences of weights close to 1: below this spread the
        # fit of either side is made of their rounding.
        "small_spread": (1e-3 * normal(500), 1.0),
        "long": (1.2 * normal(2000), 0.6),
    }
    return {name: (np.array([float(f"{v:.7g}") for v in x]), reff) for name, (x, reff) in out.items()}


def main():
    warnings.simplefilter("ignore")
    with open(HERE / "pareto.csv", "w") as table:
        table.write(
            f"# arviz {az.__version__}, numpy {np.__version__}, scipy {scipy.__version__}; "
            "tests/golden/make_pareto.py\n"
        )
        for name, (x, reff) in cases().items():
            smoothed, khat = az.psislw(x.copy(), reff=reff)
            table.write(f"{name},{reff},{float(khat)!r}," + ",".join(f"{v:.7g}" for v in x) + "\n")
            table.write(f"{name},weights," + ",".join(f"{v:.13g}" for v in smoothed) + "\n")


if __name__ == "__main__":
    main()
