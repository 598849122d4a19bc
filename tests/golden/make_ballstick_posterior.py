"""Golden posterior of three ball+stick voxels with Rician noise.

Writes `tests/golden/ballstick_posterior.csv`, the part of the importance-sampling
reference that `inference/tests/suite/sample.rs` checks in every run. Run from anywhere:
`python3 tests/golden/make_ballstick_posterior.py FOLDER`, where FOLDER holds
ballstick_{protocol,data,reference}.csv (32 voxels, 100 measurements).

The posterior: S_i = S0 [(1 - f) exp(-b D) + f exp(-b D (g.n)^2)], y_i ~ Rice(S_i, sigma),
sigma known; log S0 ~ N(0, 1), log D ~ N(log 1.5, 0.5), f ~ U(0, 1), n uniform on the half
sphere. The reference is self-normalised importance sampling (multivariate t with 10 degrees
of freedom, 200 000 draws, effective sample size 85 % of that), so no Markov chain.

Rows: `scheme,<b|gx|gy|gz>,<values>`, `<voxel>,sigma,<value>`, `<voxel>,signals,<values>`,
`<voxel>,<quantity>,<mean>,<sd>,<mcse_mean>`. The voxels: the lowest and the highest SNR, and
the smallest fraction of the stick.
"""

import csv
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUANTITIES = ["S0", "D", "f", "logS0", "logD", "nxx", "nyy", "nzz", "nxy", "nxz", "nyz"]


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def main(folder):
    protocol = table(folder / "ballstick_protocol.csv")
    data = {row["voxel"]: row for row in table(folder / "ballstick_data.csv")}
    reference = table(folder / "ballstick_reference.csv")
    mean = {(r["voxel"], r["quantity"]): float(r["mean"]) for r in reference}

    def snr(voxel):
        return mean[voxel, "S0"] / float(data[voxel]["sigma"])

    chosen = [min(data, key=snr), max(data, key=snr), min(data, key=lambda v: mean[v, "f"])]
    assert len(set(chosen)) == 3, chosen
    with open(HERE / "ballstick_posterior.csv", "w", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        for name, column in [("b", "b_ms_um2"), ("gx", "gx"), ("gy", "gy"), ("gz", "gz")]:
            write(["scheme", name] + [row[column] for row in protocol])
        for voxel in chosen:
            row = data[voxel]
            write([voxel, "sigma", row["sigma"]])
            write([voxel, "signals"] + [row[f"y{i}"] for i in range(len(protocol))])
            for r in reference:
                if r["voxel"] == voxel and r["quantity"] in QUANTITIES:
                    write([voxel, r["quantity"], r["mean"], r["sd"], r["mcse_mean"]])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
