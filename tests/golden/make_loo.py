"""The tables of `inference/tests/suite/comparison.rs`: log likelihoods, and what ArviZ says.

Writes `loo.csv` (per case: a line `case,reff,elpd,se,p,elpd_waic,se_waic,p_waic`, then one
line a measurement: `case,term,khat,log likelihoods...`) and `stacking.csv` (per case: a
line a model, `case,weight,terms...`) next to this file. Needs arviz 0.23, numpy, scipy.
"""

import pathlib
import warnings

import arviz as az
import numpy as np
import scipy

HERE = pathlib.Path(__file__).parent
DIGITS = 9


def rounded(x):
    return np.array([[float(f"{v:.{DIGITS}g}") for v in row] for row in x])


def normal_model(rng, y, draws, scale=1.0):
    """Log likelihoods of a normal mean model: [measurement, draw]."""
    mean = y.mean() + rng.standard_normal(draws) / np.sqrt(len(y))
    return -0.5 * ((y[:, None] - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def idata(ll, chains):
    n, s = ll.shape
    values = ll.T.reshape(chains, s // chains, n)
    posterior = {"a": values.mean(axis=2)}
    return az.from_dict(posterior=posterior, log_likelihood={"y": values})


def loo_cases():
    rng = np.random.default_rng(20170517)
    few = rng.standard_normal(9)
    outlier = np.concatenate([rng.standard_normal(6), [7.0]])
    wide = 40 * rng.standard_normal((4, 400))
    return {
        "well": (rounded(normal_model(rng, few, 400)), 1.0),
        "efficiency": (rounded(normal_model(rng, few, 400)), 0.37),
        "outlier": (rounded(normal_model(rng, outlier, 800, 0.7)), 0.9),
        # Spans more than the range of exponentials.
        "extreme": (rounded(-(wide**2)), 1.0),
        "short": (rounded(normal_model(rng, few[:4], 20)), 1.0),
    }


def main():
    warnings.simplefilter("ignore")
    header = f"# arviz {az.__version__}, numpy {np.__version__}, scipy {scipy.__version__}; tests/golden/make_loo.py\n"
    with open(HERE / "loo.csv", "w") as table:
        table.write(header)
        for case, (ll, reff) in loo_cases().items():
            data = idata(ll, 4)
            loo = az.loo(data, pointwise=True, reff=reff)
            waic = az.waic(data, pointwise=True)
            numbers = [reff, loo.elpd_loo, loo.se, loo.p_loo, waic.elpd_waic, waic.se, waic.p_waic]
            table.write(f"{case}," + ",".join(repr(float(v)) for v in numbers) + "\n")
            for i, row in enumerate(ll):
                term, khat = float(loo.loo_i[i]), float(loo.pareto_k[i])
                table.write(f"{case},{term!r},{khat!r}," + ",".join(f"{v:.{DIGITS}g}" for v in row) + "\n")
    rng = np.random.default_rng(5)
    with open(HERE / "stacking.csv", "w") as table:
        table.write(header)
        for case, models, shift in [("two", 2, 0.1), ("three", 3, 0.2), ("vertex", 3, 2.0), ("five", 5, 0.05)]:
            y = rng.standard_normal(40)
            runs = {}
            for k in range(models):
                centre = (k - 0.5 * models) * shift
                draws = centre + 0.1 * rng.standard_normal(400)
                scale = 1 + 0.4 * k
                ll = -0.5 * ((y[:, None] - draws) / scale) ** 2 - np.log(scale)
                runs[f"m{k}"] = az.loo(idata(rounded(ll), 4), pointwise=True, reff=1.0)
            weights = az.compare(runs, ic="loo", method="stacking")["weight"]
            for name, loo in runs.items():
                terms = ",".join(repr(float(v)) for v in loo.loo_i.values)
                table.write(f"{case},{float(weights[name])!r},{terms}\n")


if __name__ == "__main__":
    main()
