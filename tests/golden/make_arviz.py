"""The tables of `inference/tests/suite/arviz.rs`: draws and what ArviZ says about them.

Writes `arviz_draws.csv` (one chain a line: case, chain, draws) and
`arviz_expected.csv` (case, quantity, value) next to this file. Needs arviz 0.23,
numpy and scipy; the versions are in the first line of both tables.
"""

import pathlib
import platform
import warnings

import arviz as az
import numpy as np
import scipy

HERE = pathlib.Path(__file__).parent
DIGITS = 9


def autoregressive(rng, chains, draws, rho):
    noise = rng.standard_normal((chains, draws))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for i in range(1, draws):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho * rho) * noise[:, i]
    return x


def cases():
    rng = np.random.default_rng(20240611)
    out = {
        "iid": rng.standard_normal((4, 500)),
        "ar_slow": autoregressive(rng, 4, 200, 0.9),
        "ar_antithetic": autoregressive(rng, 4, 200, -0.5),
        "cauchy": rng.standard_cauchy((4, 250)),
        "odd": autoregressive(rng, 4, 101, 0.4),
        "short": rng.standard_normal((2, 50)),
        "ties": rng.poisson(2.0, (4, 250)).astype(float) / 3.0,
        "binary": np.where(rng.random((4, 60)) < 0.5, -1.0, 1.0),
        "constant": np.full((4, 25), 0.3),
        "drift": rng.standard_normal((3, 120)) + np.linspace(-2, 2, 120),
        "offset": 1e6 + 1e-2 * rng.standard_normal((4, 100)),
        "single": rng.standard_normal((1, 101)),
        "walk": np.cumsum(rng.standard_normal((4, 150)), axis=1),
        "seven": rng.standard_normal((3, 7)),
        "five": rng.standard_normal((4, 5)),
        "four": rng.standard_normal((4, 4)),
        "three": rng.standard_normal((4, 3)),
        "exponential": np.exp(2 * autoregressive(rng, 4, 130, 0.6)),
    }
    stuck = rng.standard_normal((4, 100))
    stuck[2] = 1.25
    out["stuck"] = stuck
    shifted = rng.standard_normal((4, 100))
    shifted[0] += 1.5
    out["shifted"] = shifted
    wide = rng.standard_normal((4, 100))
    wide[3] *= 4
    out["wide"] = wide
    missing = rng.standard_normal((2, 12))
    missing[1, 3] = np.nan
    out["missing"] = missing
    infinite = rng.standard_normal((4, 40))
    infinite[1, 7] = np.inf
    out["infinite"] = infinite
    # Neither the reference nor the engine may depend on digits that the table lacks.
    return {name: np.array([[float(f"{v:.{DIGITS}g}") for v in chain] for chain in x]) for name, x in out.items()}


def energies():
    rng = np.random.default_rng(7)
    x = np.vstack([rng.gamma(5.0, size=200), 3 + autoregressive(rng, 1, 200, 0.95)[0]])
    return np.array([[float(f"{v:.{DIGITS}g}") for v in chain] for chain in x])


def expected(x):
    row = {
        "mean": x.mean(),
        "sd": x.std(ddof=1),
        "rhat": az.rhat(x),
        "ess_bulk": az.ess(x, method="bulk"),
        "ess_tail": az.ess(x, method="tail"),
        "ess_mean": az.ess(x, method="mean"),
        "ess_sd": az.ess(x, method="sd"),
        "mcse_mean": az.mcse(x, method="mean"),
        "mcse_sd": az.mcse(x, method="sd"),
    }
    for p in (0.05, 0.5, 0.95):
        row[f"q{round(100 * p):02}"] = np.quantile(x, p)
    for p in (0.05, 0.3, 0.5, 0.95):
        row[f"ess_quantile:{p}"] = az.ess(x, method="quantile", prob=p)
        row[f"mcse_quantile:{p}"] = az.mcse(x, method="quantile", prob=p)
    return row


def main():
    warnings.simplefilter("ignore")
    header = (
        f"# arviz {az.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"python {platform.python_version()}; tests/golden/make_arviz.py\n"
    )
    with open(HERE / "arviz_draws.csv", "w") as draws, open(HERE / "arviz_expected.csv", "w") as table:
        draws.write(header + "# case,chain,draws...\n")
        table.write(header + "# case,quantity,value\n")
        everything = cases()
        for name, x in [*everything.items(), ("energy", energies())]:
            for c, chain in enumerate(x):
                draws.write(f"{name},{c}," + ",".join(f"{v:.{DIGITS}g}" for v in chain) + "\n")
        for name, x in everything.items():
            for quantity, value in expected(x).items():
                table.write(f"{name},{quantity},{float(value)!r}\n")
        for c, value in enumerate(az.bfmi(energies())):
            table.write(f"energy,ebfmi:{c},{float(value)!r}\n")


if __name__ == "__main__":
    main()
