"""Camino Monte Carlo of packed cylinders: errors and interval coverage of the intra-axonal fraction.

    python3 benches/validation/camino.py DATA        DATA holds camino_mc/ and schemes/

The substrates are parallel cylinders of gamma-distributed radii (110 packings, three
diffusivities) and dispersed bundles of them. Every model here is wrong in some way: the
extra-axonal water is not Gaussian, and tortuosity is only an approximation. The noise-free
fits show that bias; the posteriors (Rician noise, SNR 30, known sigma) show whether 90 %
intervals still cover the truth, which a wrong model need not do.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from microtome import fit, sample

STICK = """
[[compartment]]
name = "intra"
kind = "{kind}"
[[compartment]]
name = "extra"
kind = "zeppelin"
[link]
"intra.lambda_par" = {{ fixed = {diffusivity} }}
"extra.mu" = {{ equal = "intra.mu" }}
"extra.lambda_par" = {{ fixed = {diffusivity} }}
"""
CYLINDER = '"intra.lambda_perp_intrinsic" = {{ fixed = {diffusivity} }}\n'
TORTUOUS = (
    '"extra.lambda_perp" = {{ tortuosity = {{ lambda_par = "extra.lambda_par", intra = "intra.fraction", '
    'extra = "extra.fraction" }} }}\n'
)
MODELS = {
    "stick, tortuous zeppelin": STICK + TORTUOUS,
    "stick, zeppelin": STICK,
    "cylinder_gpd, tortuous zeppelin": STICK + CYLINDER + TORTUOUS,
}
DISPERSED = """
[[compartment]]
name = "intra"
kind = "stick"
dispersion = "{dispersion}"
[[compartment]]
name = "extra"
kind = "zeppelin"
dispersion = "{dispersion}"
[link]
"intra.lambda_par" = {{ fixed = {diffusivity} }}
"extra.mu" = {{ equal = "intra.mu" }}
"extra.odi" = {{ equal = "intra.odi" }}
{more}"extra.lambda_par" = {{ fixed = {diffusivity} }}
"""
BINGHAM = '"extra.psi" = { equal = "intra.psi" }\n"extra.beta_fraction" = { equal = "intra.beta_fraction" }\n'


def report(title, model, work, scheme, signals, truth, voxels):
    path = work / "model.toml"
    path.write_text(model)
    estimate = fit(work, signals, scheme, path)["intra.fraction"].to_numpy()
    error = estimate - truth
    rng = np.random.default_rng(11)
    chosen = np.linspace(0, len(truth) - 1, voxels).astype(int)
    sigma = 1 / 30
    clean = signals[chosen]
    noisy = np.hypot(clean + sigma * rng.normal(size=clean.shape), sigma * rng.normal(size=clean.shape))
    rows = sample(work, noisy, scheme, path, "--noise", "rician", "--sigma", sigma)
    rows = rows[rows.parameter == "intra.fraction"].sort_values("voxel")
    inside = ((rows.q05.to_numpy() <= truth[chosen]) & (truth[chosen] <= rows.q95.to_numpy())).mean()
    print(
        f"| {title} | {np.median(np.abs(error)):.4f} | {error.mean():+.4f} | {rows['sd'].median():.4f} | "
        f"{100 * inside:.0f} % of {voxels} | {(rows.status == 'converged').sum()} |",
        flush=True,
    )


def main():
    data = Path(sys.argv[1])
    scheme = data / "schemes" / "schemefile_hcp_wu_minn.scheme1"
    head = "| model | median error | bias | posterior sd at SNR 30 | truth in the 90 % interval | converged |\n|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, diffusivity in [("D1_7", 1.7), ("D2_0", 2.0), ("D2_3", 2.3)]:
            signals = np.loadtxt(data / "camino_mc" / f"data_camino_{name}.txt")
            truth = np.loadtxt(data / "camino_mc" / f"fractions_camino_{name}.txt")
            print(f"\nParallel cylinders, D = {diffusivity} um^2/ms, {len(truth)} packings\n\n{head}")
            for title, text in MODELS.items():
                kind = "cylinder_gpd" if "cylinder" in title else "stick"
                model = text.format(kind=kind, diffusivity=diffusivity)
                report(title, model, work, scheme, signals, truth, 40)
        signals = np.loadtxt(data / "camino_mc" / "data_camino_dispersed_D1_7.txt.gz")
        parameters = np.loadtxt(data / "camino_mc" / "parameters_camino_dispersed_D1_7.txt")
        for beta in [False, True]:
            chosen = (parameters[:, 2] > 0) == beta
            what = "Bingham (beta > 0)" if beta else "Watson (beta = 0)"
            print(f"\nDispersed cylinders, {what}, {chosen.sum()} bundles\n\n{head}")
            for dispersion, more in [("watson", ""), ("bingham", BINGHAM)]:
                for tortuous in [True, False]:
                    title = f"{dispersion} stick, {'tortuous ' if tortuous else ''}zeppelin"
                    text = DISPERSED.format(dispersion=dispersion, diffusivity=1.7, more=more)
                    text += TORTUOUS.format() if tortuous else ""
                    report(title, text, work, scheme, signals[chosen], parameters[chosen, 0], 40)


if __name__ == "__main__":
    main()
