"""The smoothed total variation posterior of the reference image by nutpie, beside chains of
microtome:

    python3 benches/peers/nutpie_tv.py SHARED/reference/bayes OWN [CHAINS] [TUNE] [DRAWS]

OWN is the folder of `microtome reconstruct --posterior smoothed_tv` of ct_y.npy (45 views of 92
pixels, projector siddon, sigma, weight and rounding of ct.json). Prints z-scores of means and
standard deviations, in Monte Carlo standard errors of both, over all voxels, and nutpie's
effective draws a CPU second. Needs nutpie, scipy, arviz.
"""
import json
import sys
import time

import arviz as az
import numpy as np
import nutpie
from nutpie.compiled_pyfunc import from_pyfunc
from scipy.sparse import csr_matrix

folder, own = sys.argv[1:3]
chains, tune, draws = (int(v) for v in (sys.argv[3:6] or (2, 500, 500)))
meta = json.load(open(f"{folder}/ct.json"))
n, sigma, lam, eps = meta["n"], meta["sigma"], meta["lam"], meta["eps"]
load = lambda name: np.load(f"{folder}/ct_{name}.npy")
y = load("y").ravel()
a = csr_matrix((load("A_data"), load("A_indices"), load("A_indptr")), shape=(y.size, n * n))
at = a.T.tocsr()


def make_logp():
    def logp(x):
        r = (a @ x - y) / sigma**2
        image = x.reshape(n, n)
        dx, dy = np.zeros((n, n)), np.zeros((n, n))
        dx[:, :-1] = np.diff(image, axis=1)
        dy[:-1] = np.diff(image, axis=0)
        root = np.sqrt(dx**2 + dy**2 + eps**2)
        px, py = dx / root, dy / root
        slope = -(px + py)
        slope[:, 1:] += px[:, :-1]
        slope[1:] += py[:-1]
        value = -0.5 * sigma**2 * (r @ r) - lam * root.sum()
        return value, -(at @ r) - lam * slope.ravel()

    return logp


def make_expand(*_):
    return lambda x: {"x": x}


start = load("gauss_mean").ravel()
model = from_pyfunc(
    n * n, make_logp, make_expand, [np.dtype("float64")], [(n * n,)], ["x"],
    make_initial_point_fn=lambda seed: start + 0.01 * np.random.default_rng(seed).normal(size=n * n),
)
begun = time.process_time()
trace = nutpie.sample(
    model, chains=chains, tune=tune, draws=draws, cores=1, seed=3, progress_bar=False
)
seconds = time.process_time() - begun
x = trace.posterior["x"]
of = lambda f, v=x: np.asarray(f(v.to_dataset(name="x"))["x"]).ravel()
ess, rhat = of(az.ess), of(az.rhat)
mean, sd = x.mean(("chain", "draw")).values.ravel(), x.std(("chain", "draw"), ddof=1).values.ravel()
# ArviZ 0.23 with NumPy 2.4 has no error of an sd: that of the variance, over twice the sd.
error = {"mean": of(az.mcse), "sd": of(az.mcse, (x - x.mean(("chain", "draw"))) ** 2) / (2 * sd)}
mine = {k: np.load(f"{own}/{k}.npy").ravel().astype(float) for k in ("mean", "sd", "mcse", "sd_mcse")}
for what, theirs, ours, se in [("mean", mean, mine["mean"], mine["mcse"]),
                               ("sd", sd, mine["sd"], mine["sd_mcse"])]:
    z = (ours - theirs) / np.hypot(se, error[what])
    print(f"{what}: mean z^2 {np.mean(z**2):.2f}, largest |z| {np.abs(z).max():.2f} of {z.size}, "
          f"beyond 4: {np.sum(np.abs(z) > 4)}; on every 16th voxel {np.abs(z[::16]).max():.2f}")
print(f"sd of microtome over nutpie's: median {np.median(mine['sd'] / sd):.4f}")
print(f"nutpie {chains} x ({tune} + {draws}): {seconds:.1f} CPU s, least bulk ESS {ess[::16].min():.0f}"
      f" (every 16th voxel), {ess[::16].min() / seconds:.1f} a CPU s, worst R-hat {rhat.max():.3f}")
