"""White Matter Modelling Challenge 2015: prediction of held-out measurements by eleven models.

    python3 benches/validation/isbi.py DATA        DATA holds isbi2015_wm_challenge/

The 3612 measurements of each voxel (b to 45,800 s/mm2, six echo times) are divided by the
mean b = 0 signal of their echo time, split into two halves of every shell, and each half is
predicted from a fit to the other (Rician likelihood, sigma from the b = 0 images of the
training half). Printed is the root mean square error of prediction in units of sigma,
after the floor of the magnitude is added to the prediction (sqrt(S^2 + sigma^2)): 1 would
be a perfect model. The challenge itself had a hidden quarter of the data, which was not
published with the rest, so these numbers compare models with each other, not with its
table.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from microtome import fit, predict

FREE_NODDI = """
[[compartment]]
name = "intra"
kind = "{kind}"
{dispersion}
[[compartment]]
name = "extra"
kind = "zeppelin"
{dispersion}
[[compartment]]
name = "csf"
kind = "ball"
[link]
"extra.mu" = {{ equal = "intra.mu" }}
{links}
"csf.lambda_iso" = {{ fixed = 3.0 }}
"""
WATSON = ('dispersion = "watson"', '"extra.odi" = { equal = "intra.odi" }')
BINGHAM = (
    'dispersion = "bingham"',
    '"extra.odi" = { equal = "intra.odi" }\n"extra.psi" = { equal = "intra.psi" }\n'
    '"extra.beta_fraction" = { equal = "intra.beta_fraction" }',
)
MODELS = {
    "dti (tensor)": "tensor",
    "ball_stick": "ball_stick",
    "ball_sticks_2": "ball_sticks_2",
    "ball_sticks_3": "ball_sticks_3",
    "stick_zeppelin_ball": "stick_zeppelin_ball",
    "noddi": "noddi",
    "standard_model": "standard_model",
    "standard model and free water": FREE_NODDI.format(kind="stick", dispersion=WATSON[0], links=WATSON[1]),
    "standard model and free water, Bingham": FREE_NODDI.format(kind="stick", dispersion=BINGHAM[0], links=BINGHAM[1]),
    "cylinder_gpd, zeppelin, free water": FREE_NODDI.format(kind="cylinder_gpd", dispersion="", links=""),
    "cylinder_gpd, zeppelin, free water, Watson": FREE_NODDI.format(kind="cylinder_gpd", dispersion=WATSON[0], links=WATSON[1]),
}


def main():
    data = Path(sys.argv[1]) / "isbi2015_wm_challenge"
    lines = [l for l in (data / "isbi_schemefile.txt").read_text().splitlines() if l.strip()]
    table = np.loadtxt(lines[1:])
    te = table[:, 6]
    unweighted = table[:, 3] == 0
    print("| model | genu | fornix |\n|---|---|---|")
    halves = np.zeros(len(table), int)
    for key in np.unique(table[:, 3:], axis=0):
        members = np.flatnonzero((table[:, 3:] == key).all(axis=1))
        halves[members] = np.arange(len(members)) % 2
    errors = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        schemes = []
        for half in (0, 1):
            path = work / f"half{half}.scheme"
            path.write_text("VERSION: STEJSKALTANNER\n" + "\n".join(np.array(lines[1:])[halves == half]) + "\n")
            schemes.append(path)
        for region in ("genu", "fornix"):
            signals = np.loadtxt(data / f"{region}.txt", skiprows=1).T
            for name, text in MODELS.items():
                model = text
                if "[[" in text:
                    model = work / "model.toml"
                    model.write_text(text)
                squares, count = 0.0, 0
                for train in (0, 1):
                    here, there = halves == train, halves != train
                    level = np.ones_like(signals)
                    for echo in np.unique(te):
                        b0 = (te == echo) & unweighted & here
                        level[:, te == echo] = signals[:, b0].mean(axis=1, keepdims=True)
                    y = signals / level
                    sigma = y[:, here & unweighted].std(axis=1, ddof=1)
                    np.save(work / "sigma.npy", sigma)
                    result = fit(work, y[:, here], schemes[train], model, "--noise", "rician", "--sigma", work / "sigma.npy")
                    expected = predict(work, result, schemes[1 - train], model)
                    floor = np.sqrt(expected**2 + sigma[:, None] ** 2)
                    residual = (y[:, there] - floor) / sigma[:, None]
                    squares += np.square(residual[:, ~unweighted[there]]).sum()
                    count += residual[:, ~unweighted[there]].size
                errors[name, region] = np.sqrt(squares / count)
    for name in sorted(MODELS, key=lambda n: errors[n, "genu"]):
        print(f"| {name} | {errors[name, 'genu']:.3f} | {errors[name, 'fornix']:.3f} |")


if __name__ == "__main__":
    main()
