"""NUTS on posteriordb models: the example `posteriordb` beside nutpie, min bulk ESS a CPU second.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install nutpie pymc numba "arviz<1"
    cargo build --release -p microtome-inference --example posteriordb
    /tmp/peers/bin/python benches/peers/nutpie_posteriordb.py DATA [--runs 5] [--binary EXAMPLE] [--only NAME]

DATA holds the data files of the ten posteriors (arK.json, ...). Run by hand.

Both draw 4 chains x (1000 + 1000) on one thread, with the same wanted acceptance and both of
nutpie's metrics (diagonal is its default, low-rank its option); the better of the two counts.
Models are PyMC's through nutpie's numba backend, but garch11, arma11 and lotka_volterra, which PyMC
can write with `scan` only, have a density and gradient by hand in numba behind nutpie's own
interface: the fastest that nutpie can be given. Seconds are CPU seconds of the process
around `nutpie.sample(return_raw_trace=True)` after a warm-up run, compilation excluded, and of
`sample_density` there. ESS is ArviZ's for nutpie and `inference::diagnostics` (equal to ArviZ) here.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import dataclasses
import json
import math
import re
import subprocess
import time
import warnings
from pathlib import Path

import arviz as az
import numba
import numpy as np
import nutpie
import pymc as pm
import pytensor.tensor as pt

warnings.filterwarnings("ignore")
HERE = Path(__file__).resolve().parent
SIG = numba.types.int64(
    numba.types.uint64,
    numba.types.CPointer(numba.types.double),
    numba.types.CPointer(numba.types.double),
    numba.types.CPointer(numba.types.double),
    numba.types.voidptr,
)


def eight_schools(d):
    y, sigma = np.array(d["y"], float), np.array(d["sigma"], float)
    with pm.Model() as m:
        z = pm.Normal("z", 0, 1, shape=len(y))
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        theta = pm.Deterministic("theta", mu + tau * z)
        pm.Normal("y", theta, sigma, observed=y)
    return m, ["theta", "mu", "tau"]


def ark(d):
    y, k = np.array(d["y"]), d["K"]
    x = np.column_stack([y[k - i : len(y) - i] for i in range(1, k + 1)])
    with pm.Model() as m:
        alpha = pm.Normal("alpha", 0, 10)
        beta = pm.Normal("beta", 0, 10, shape=k)
        sigma = pm.HalfCauchy("sigma", 2.5)
        pm.Normal("y", alpha + pt.dot(x, beta), sigma, observed=y[k:])
    return m, ["alpha", "beta", "sigma"]


def blr(d):
    x, y = np.array(d["X"]), np.array(d["y"])
    with pm.Model() as m:
        beta = pm.Normal("beta", 0, 10, shape=x.shape[1])
        sigma = pm.HalfNormal("sigma", 10)
        pm.Normal("y", pt.dot(x, beta), sigma, observed=y)
    return m, ["beta", "sigma"]


def kilpisjarvi(d):
    x, y = np.array(d["x"], float), np.array(d["y"])
    with pm.Model() as m:
        alpha = pm.Normal("alpha", d["pmualpha"], d["psalpha"])
        beta = pm.Normal("beta", d["pmubeta"], d["psbeta"])
        sigma = pm.HalfFlat("sigma", initval=1.0)
        pm.Normal("y", alpha + beta * x, sigma, observed=y)
    return m, ["alpha", "beta", "sigma"]


def kidscore(d):
    hs, iq = np.array(d["mom_hs"], float), np.array(d["mom_iq"])
    x = np.column_stack([np.ones_like(hs), hs, iq, hs * iq])
    with pm.Model() as m:
        beta = pm.Flat("beta", shape=4, initval=np.zeros(4))
        sigma = pm.HalfCauchy("sigma", 2.5)
        pm.Normal("y", pt.dot(x, beta), sigma, observed=np.array(d["kid_score"], float))
    return m, ["beta", "sigma"]


def mixture(d):
    with pm.Model() as m:
        mu = pm.Normal("mu", 0, 2, shape=2, transform=pm.distributions.transforms.ordered,
                       initval=np.array([-1.0, 1.0]))
        sigma = pm.HalfNormal("sigma", 2, shape=2)
        theta = pm.Beta("theta", 5, 5)
        pm.NormalMixture("y", w=pt.stack([theta, 1 - theta]), mu=mu, sigma=sigma,
                         observed=np.array(d["y"]))
    return m, ["mu", "sigma", "theta"]


def gp_regr(d):
    x, y = np.array(d["x"], float), np.array(d["y"])
    square = (x[:, None] - x[None, :]) ** 2
    with pm.Model() as m:
        rho = pm.Gamma("rho", 25, 4)
        alpha = pm.HalfNormal("alpha", 2)
        sigma = pm.HalfNormal("sigma", 1)
        cov = alpha**2 * pt.exp(-square / (2 * rho**2)) + sigma * pt.eye(len(x))
        pm.MvNormal("y", 0, cov=cov, observed=y)
    return m, ["rho", "alpha", "sigma"]


def garch(d):
    y, first = np.array(d["y"]), d["sigma1"] ** 2
    n = len(y)

    @numba.cfunc(SIG, fastmath=True, error_model="numpy")
    def density(dim, x_, g_, lp_, user):
        x, g, lp = numba.carray(x_, (4,)), numba.carray(g_, (4,)), numba.carray(lp_, (1,))
        mu, a0 = x[0], math.exp(x[1])
        a1 = 1 / (1 + math.exp(-x[2]))
        u = 1 / (1 + math.exp(-x[3]))
        b1 = (1 - a1) * u
        s = np.empty(n)
        s[0] = first
        for t in range(1, n):
            r = y[t - 1] - mu
            s[t] = a0 + a1 * r * r + b1 * s[t - 1]
        total = 0.0
        dm = d0 = d1 = db = back = 0.0
        for t in range(n - 1, -1, -1):
            r, w = y[t] - mu, 1 / s[t]
            z = r * w
            total -= 0.5 * (math.log(s[t]) + r * z)
            dm += z - 2 * a1 * r * back
            d1 += r * r * back
            db += s[t] * back
            d0 += back
            back = b1 * back + 0.5 * (z * z - w)
        total += x[1] + math.log(a1 * (1 - a1)) + math.log(u * (1 - u)) + math.log(1 - a1)
        g[0] = dm
        g[1] = d0 * a0 + 1
        g[2] = (d1 - u * db) * a1 * (1 - a1) + 1 - 2 * a1 - a1
        g[3] = db * (1 - a1) * u * (1 - u) + 1 - 2 * u
        lp[0] = total
        return 0 if math.isfinite(total) else 4

    def values(x):
        a1 = 1 / (1 + np.exp(-x[..., 2]))
        return [x[..., 0], x[..., 1], a1, (1 - a1) / (1 + np.exp(-x[..., 3]))]

    return density, 4, None, values


def arma(d):
    y = np.array(d["y"])
    n = len(y)

    @numba.cfunc(SIG, fastmath=True, error_model="numpy")
    def density(dim, x_, g_, lp_, user):
        x, g, lp = numba.carray(x_, (4,)), numba.carray(g_, (4,)), numba.carray(lp_, (1,))
        mu, phi, theta, s = x[0], x[1], x[2], math.exp(x[3])
        e, dm, dp, dt = y[0] - mu - phi * mu, -1 - phi, -mu, 0.0
        q, gm, gp, gt = e * e, e * dm, e * dp, 0.0
        for t in range(1, n):
            last = e
            e = y[t] - mu - phi * y[t - 1] - theta * last
            dm = -1 - theta * dm
            dp = -y[t - 1] - theta * dp
            dt = -last - theta * dt
            q += e * e
            gm += e * dm
            gp += e * dp
            gt += e * dt
        w = 1 / (s * s)
        c = s / 2.5
        lp[0] = (-n * x[3] - 0.5 * q * w - 0.5 * (mu / 10) ** 2 - (phi * phi + theta * theta) / 8
                 - math.log1p(c * c) + x[3])
        g[0] = -gm * w - mu / 100
        g[1] = -gp * w - phi / 4
        g[2] = -gt * w - theta / 4
        g[3] = q * w - n - 2 * c * c / (1 + c * c) + 1
        return 0 if math.isfinite(lp[0]) else 4

    return density, 4, None, lambda x: [x[..., i] for i in range(4)]


def lotka_volterra(d):
    times, y = np.array(d["ts"], float), np.vstack([d["y_init"], d["y"]])
    ly, steps, h = np.log(y), 8, 0.125
    assert np.all(np.diff(np.concatenate([[0.0], times])) == 1.0)
    n = len(ly)

    @numba.njit(inline="always")
    def back(p, z0, z1, w0, w1, dp):
        dp[0] += w0 * z0
        dp[1] -= w0 * z0 * z1
        dp[2] -= w1 * z1
        dp[3] += w1 * z0 * z1
        return ((p[0] - p[1] * z1) * w0 + p[3] * z1 * w1,
                -p[1] * z0 * w0 + (-p[2] + p[3] * z0) * w1)

    @numba.cfunc(SIG, fastmath=True, error_model="numpy")
    def density(dim, x_, g_, lp_, user):
        x, g, lp = numba.carray(x_, (8,)), numba.carray(g_, (8,)), numba.carray(lp_, (1,))
        p = np.empty(8)
        for i in range(8):
            p[i] = math.exp(x[i])
        k = (n - 1) * steps
        st = np.empty((k, 8))
        u, v = p[4], p[5]
        z = np.empty((n, 2))
        z[0, 0], z[0, 1] = u, v
        for i in range(k):
            a0, a1 = (p[0] - p[1] * v) * u, (-p[2] + p[3] * u) * v
            u2, v2 = u + 0.5 * h * a0, v + 0.5 * h * a1
            b0, b1 = (p[0] - p[1] * v2) * u2, (-p[2] + p[3] * u2) * v2
            u3, v3 = u + 0.5 * h * b0, v + 0.5 * h * b1
            c0, c1 = (p[0] - p[1] * v3) * u3, (-p[2] + p[3] * u3) * v3
            u4, v4 = u + h * c0, v + h * c1
            e0, e1 = (p[0] - p[1] * v4) * u4, (-p[2] + p[3] * u4) * v4
            st[i, 0], st[i, 1], st[i, 2], st[i, 3] = u, v, u2, v2
            st[i, 4], st[i, 5], st[i, 6], st[i, 7] = u3, v3, u4, v4
            u += h / 6 * (a0 + 2 * (b0 + c0) + e0)
            v += h / 6 * (a1 + 2 * (b1 + c1) + e1)
            if (i + 1) % steps == 0:
                z[(i + 1) // steps, 0], z[(i + 1) // steps, 1] = u, v
        if not (u > 0 and v > 0):
            return 4
        w = (1 / (p[6] * p[6]), 1 / (p[7] * p[7]))
        dp = np.zeros(4)
        q0 = q1 = l0 = l1 = 0.0
        at = k
        for t in range(n - 1, -1, -1):
            r0, r1 = ly[t, 0] - math.log(z[t, 0]), ly[t, 1] - math.log(z[t, 1])
            q0 += r0 * r0
            q1 += r1 * r1
            l0 += r0 * w[0] / z[t, 0]
            l1 += r1 * w[1] / z[t, 1]
            if t == 0:
                break
            for _ in range(steps):
                at -= 1
                s = st[at]
                d0, d1 = back(p, s[6], s[7], h / 6 * l0, h / 6 * l1, dp)
                c0, c1 = back(p, s[4], s[5], h / 3 * l0 + h * d0, h / 3 * l1 + h * d1, dp)
                b0, b1 = back(p, s[2], s[3], h / 3 * l0 + 0.5 * h * c0,
                              h / 3 * l1 + 0.5 * h * c1, dp)
                a0, a1 = back(p, s[0], s[1], h / 6 * l0 + 0.5 * h * b0,
                              h / 6 * l1 + 0.5 * h * b1, dp)
                l0 += a0 + b0 + c0 + d0
                l1 += a1 + b1 + c1 + d1
        total = -n * (x[6] + x[7]) - 0.5 * (q0 * w[0] + q1 * w[1])
        for i in range(8):
            if i < 4:
                m, sd = (1.0, 0.5) if i % 2 == 0 else (0.05, 0.05)
                zz = (p[i] - m) / sd
                total += -0.5 * zz * zz + x[i]
                g[i] = (dp[i] - zz / sd) * p[i] + 1
            else:
                m = math.log(10.0) if i < 6 else -1.0
                total -= 0.5 * (x[i] - m) ** 2
                g[i] = -(x[i] - m)
        g[4] += l0 * p[4]
        g[5] += l1 * p[5]
        g[6] += q0 * w[0] - n
        g[7] += q1 * w[1] - n
        lp[0] = total
        return 0 if math.isfinite(total) else 4

    rate = 2 * math.pi / 10
    mean = y[1:].mean(axis=0)
    start = np.log([rate, rate / mean[1], rate, rate / mean[0], *y[0], 1.0, 1.0])
    return density, 8, start, lambda x: [x[..., i] for i in range(8)]


MODELS = [
    ("eight_schools-eight_schools_noncentered", "eight_schools", eight_schools, 0.95),
    ("arK-arK", "arK", ark, 0.8),
    ("garch-garch11", "garch", garch, 0.8),
    ("gp_pois_regr-gp_regr", "gp_pois_regr", gp_regr, 0.8),
    ("hudson_lynx_hare-lotka_volterra", "hudson_lynx_hare", lotka_volterra, 0.8),
    ("kidiq-kidscore_interaction", "kidiq", kidscore, 0.8),
    ("low_dim_gauss_mix-low_dim_gauss_mix", "low_dim_gauss_mix", mixture, 0.8),
    ("arma-arma11", "arma", arma, 0.8),
    ("sblrc-blr", "sblrc", blr, 0.8),
    ("kilpisjarvi_mod-kilpisjarvi", "kilpisjarvi_mod", kilpisjarvi, 0.8),
]


def compiled(make, data):
    """A compiled model and the function from a trace to `[value][chain, draw]`."""
    made = make(data)
    if isinstance(made[0], pm.Model):
        model, names = made

        def values(trace):
            post = trace.posterior
            out = []
            for name in names:
                v = post[name].to_numpy()
                out.extend(np.moveaxis(v.reshape(*v.shape[:2], -1), 2, 0))
            return out

        return nutpie.compile_pymc_model(model, backend="numba"), values
    density, dim, start, values = made
    with pm.Model() as flat:
        pm.Normal("x", shape=dim)
    base = nutpie.compile_pymc_model(flat, backend="numba")

    def point(seed):
        rng = np.random.default_rng(seed)
        if start is None:
            return rng.uniform(-2, 2, dim)
        return start + rng.uniform(-0.1, 0.1, dim)

    base = dataclasses.replace(base, compiled_logp_func=density, initial_point_func=point)
    return base, lambda trace: values(trace.posterior["x"].to_numpy())


def nutpie_runs(model, values, runs, low_rank, target):
    rates, costs, divergences = [], [], 0
    for seed in range(-1, runs):
        settings = dict(draws=1000, tune=1000, chains=4, cores=1, seed=seed + 1000,
                        target_accept=target, low_rank_modified_mass_matrix=low_rank,
                        progress_bar=False)
        clock = time.process_time()
        nutpie.sample(model, return_raw_trace=True, **settings)
        seconds = time.process_time() - clock
        if seed < 0:
            continue
        trace = nutpie.sample(model, return_raw_trace=False, **settings)
        ess = min(float(az.ess(np.asarray(v), method="bulk")) for v in values(trace))
        divergences += int(trace.sample_stats.diverging.sum())
        rates.append(ess / seconds)
        costs.append(seconds)
    return np.median(rates), np.median(costs), divergences


def ours(binary, name, data, runs, low_rank, target):
    text = subprocess.run(
        [binary, name, data, os.devnull, "--repeat", str(runs), "--seed", "1000", "--metric",
         "low-rank" if low_rank else "diagonal", "--target-accept", str(target)],
        capture_output=True, text=True, check=True, env={**os.environ, "RAYON_NUM_THREADS": "1"},
    ).stdout
    found = re.search(r"median of \d+: ([\d.]+) CPU s, (\d+) min", text)
    divergences = sum(int(v) for v in re.findall(r"(\d+) divergences", text))
    return float(found[2]), float(found[1]), divergences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--binary", default=str(HERE.parents[1] / "target/release/examples/posteriordb"))
    parser.add_argument("--only")
    a = parser.parse_args()
    print(f"{'model':<26} {'metric':<9} {'nutpie ESS/s':>12} {'CPU s':>7} {'div':>4}"
          f" {'microtome':>10} {'CPU s':>7} {'div':>4}")
    for name, file, make, target in MODELS:
        if a.only and a.only not in name:
            continue
        path = a.data / f"{file}.json"
        model, values = compiled(make, json.loads(path.read_text()))
        best = [0.0, 0.0]
        for low_rank in (False, True):
            here = ours(a.binary, name, str(path), a.runs, low_rank, target)
            there = nutpie_runs(model, values, a.runs, low_rank, target)
            best = [max(best[0], there[0]), max(best[1], here[0])]
            print(f"{name.split('-')[1]:<26} {'low-rank' if low_rank else 'diagonal':<9}"
                  f" {there[0]:>12.0f} {there[1]:>7.3f} {there[2]:>4}"
                  f" {here[0]:>10.0f} {here[1]:>7.3f} {here[2]:>4}", flush=True)
        print(f"{name.split('-')[1]:<26} ratio of the better metrics: {best[1] / best[0]:.2f}", flush=True)


if __name__ == "__main__":
    main()
