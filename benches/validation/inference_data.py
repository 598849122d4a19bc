"""Converts a run by the code of docs/arviz.md and compares ArviZ with summary.parquet.

python3 benches/validation/inference_data.py DIR [VOXELS]

DIR is the --out folder of `microtome sample`; VOXELS (default 24) of it are compared.
Needs arviz (0.23, or 1 and later), pandas, pyarrow; to_netcdf needs h5py and h5netcdf, or netCDF4.
Exits with 1 when a number differs by more than 1e-6.
"""

import re
import sys
import tempfile
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd

PAGE = Path(__file__).resolve().parents[2] / "docs" / "arviz.md"
LIMIT = 1e-6
AXES = [("x", "x"), ("x", "y"), ("x", "z"), ("y", "y"), ("y", "z"), ("z", "z")]


def documented(name):
    """The function `name` of the page, and how many of its lines have code."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        if f"def {name}(" in block:
            scope = {}
            exec(block, scope)
            return scope[name], sum(1 for line in block.splitlines() if line.strip())
    raise SystemExit(f"{PAGE} has no function {name}")


def scalar(x):
    """The one number of what ArviZ gives back."""
    return float(np.asarray(x).ravel()[0])


class Peer:
    """ArviZ's statistics of draws [chain, draw], under either major version."""

    def __init__(self):
        self.is_old = int(az.__version__.split(".")[0]) < 1
        if not self.is_old:
            from arviz_stats.base import array_stats

            self.stats = array_stats

    def __call__(self, quantity, x):
        if self.is_old:
            return {
                "rhat": lambda: az.rhat(x),
                "ess_bulk": lambda: az.ess(x, method="bulk"),
                "ess_tail": lambda: az.ess(x, method="tail"),
                "mcse_mean": lambda: az.mcse(x, method="mean"),
                "mcse_sd": lambda: az.mcse(x, method="sd"),
                "mcse_q05": lambda: az.mcse(x, method="quantile", prob=0.05),
                "mcse_q95": lambda: az.mcse(x, method="quantile", prob=0.95),
                "ebfmi": lambda: np.min(az.bfmi(x)),
            }[quantity]()
        axes = {"chain_axis": 0, "draw_axis": 1}
        return {
            "rhat": lambda: self.stats.rhat(x, **axes),
            "ess_bulk": lambda: self.stats.ess(x, method="bulk", **axes),
            # Its tail is that of `prob`; 0.23 has 5 % and 95 %.
            "ess_tail": lambda: self.stats.ess(x, method="tail", prob=(0.05, 0.95), **axes),
            "mcse_mean": lambda: self.stats.mcse(x, method="mean", **axes),
            "mcse_sd": lambda: self.stats.mcse(x, method="sd", **axes),
            "mcse_q05": lambda: self.stats.mcse(x, method="quantile", prob=0.05, **axes),
            "mcse_q95": lambda: self.stats.mcse(x, method="quantile", prob=0.95, **axes),
            "ebfmi": lambda: np.min(self.stats.bfmi(x, **axes)),
        }[quantity]()


def main(folder, most):
    peer = Peer()
    name = "inference_data" if peer.is_old else "data_tree"
    convert, lines = documented(name)
    data = convert(folder)
    posterior, statistics = data["posterior"], data["sample_stats"]
    assert dict(posterior.sizes).keys() == {"chain", "draw", "voxel"}, posterior.sizes
    print(f"arviz {az.__version__}: {name} of docs/arviz.md, {lines} lines, {dict(posterior.sizes)}")
    with tempfile.TemporaryDirectory() as work:
        data.to_netcdf(f"{work}/posterior.nc")
    summary = pd.read_parquet(f"{folder}/summary.parquet")
    if "method" in summary:
        summary = summary[summary.method == "nuts"]
    voxels = [v for v in summary.voxel.unique() if v in posterior.voxel.values]
    voxels = voxels[:: max(1, len(voxels) // most)][:most]
    worst, compared = {}, {}

    def compare(quantity, ours, theirs, where):
        if np.isnan(ours) and np.isnan(theirs):
            return
        difference = abs(ours - theirs) / abs(theirs)
        compared[quantity] = compared.get(quantity, 0) + 1
        if not difference <= worst.get(quantity, (0.0, ""))[0]:
            worst[quantity] = (difference, where)

    for voxel in voxels:
        rows = summary[summary.voxel == voxel].set_index("parameter")
        draws = {c: posterior[c].sel(voxel=voxel).transpose("chain", "draw").values for c in posterior.data_vars}
        energy = statistics["energy"].sel(voxel=voxel).transpose("chain", "draw").values
        compare("ebfmi", rows.ebfmi.iloc[0], scalar(peer("ebfmi", energy)), f"voxel {voxel}")
        diverging = int(statistics["diverging"].sel(voxel=voxel).values.astype(bool).sum())
        compare("divergences + 1", rows.divergences.iloc[0] + 1.0, diverging + 1.0, f"voxel {voxel}")
        for parameter, row in rows.iterrows():
            where = f"{parameter} of voxel {voxel}"
            if parameter in draws:
                for quantity in ("rhat", "ess_bulk", "ess_tail", "mcse_mean", "mcse_sd", "mcse_q05", "mcse_q95"):
                    compare(quantity, row[quantity], scalar(peer(quantity, draws[parameter])), where)
                compare("mean", row["mean"], draws[parameter].mean(), where)
                compare("sd", row["sd"], draws[parameter].std(ddof=1), where)
            elif parameter.endswith(".mu_axis_x"):
                mu = {a: draws[parameter.replace("mu_axis_x", f"mu_{a}")] for a in "xyz"}
                for quantity, pick in (("rhat", max), ("ess_bulk", min), ("ess_tail", min)):
                    of_products = [scalar(peer(quantity, mu[a] * mu[b])) for a, b in AXES]
                    compare(f"{quantity} of axes", row[quantity], pick(of_products), where)
    print("| quantity | numbers | largest relative difference | of |\n|---|---|---|---|")
    for quantity, n in compared.items():
        difference, where = worst.get(quantity, (0.0, ""))
        print(f"| {quantity} | {n} | {difference:.1e} | {where} |")
    if any(not d <= LIMIT for d, _ in worst.values()):
        raise SystemExit(f"differences above {LIMIT}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24)
