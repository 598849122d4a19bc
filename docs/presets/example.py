"""What the examples of these pages need beside microtome: a scheme, noise, a look at a table.

    python3 example.py scheme OUT.csv B:COUNT[:DELTA:DELTA2[:TE]] ...
    python3 example.py noise CLEAN.npy OUT.npy SIGMA [REPEATS]
    python3 example.py show TABLE.parquet COLUMN ...

scheme: COUNT directions spread over the half sphere for each b (s/mm2), pulse duration, pulse
separation and echo time in ms. noise: Rician, each row REPEATS times, seed 1. show: the rows of
a fit, or mean and sd over them when there are more than six (f_intra and f_iso are NODDI's
shares); of summary.parquet the moments and 5 and 95 % points of each voxel's posterior.
"""

import sys

import numpy as np


def directions(count, turn):
    i = np.arange(count)
    z = 1 - (i + 0.5) / count
    phi = np.pi * (3 - np.sqrt(5)) * i + turn
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def scheme(out, *shells):
    rows = []
    for turn, text in enumerate(shells):
        b, count, *times = (float(x) for x in text.split(":"))
        for g in directions(int(count), turn):
            rows.append([1e6 * b, *(g if b > 0 else (0, 0, 0)), *(1e-3 * t for t in times)])
    names = ["b_s_per_m2", "gx", "gy", "gz", "delta_s", "Delta_s", "TE_s"][: len(rows[0])]
    np.savetxt(out, rows, delimiter=",", header=",".join(names), comments="", fmt="%.12g")


def noise(clean, out, sigma, repeats="1"):
    rng = np.random.default_rng(1)
    y = np.repeat(np.load(clean), int(repeats), axis=0)
    s = float(sigma)
    np.save(out, np.hypot(y + s * rng.normal(size=y.shape), s * rng.normal(size=y.shape)))


def show(path, *columns):
    import pyarrow.parquet as pq

    table = pq.read_table(path).to_pandas()
    if "parameter" in table:
        print(f"{'':32}{'mean':>10}{'sd':>10}{'5 %':>10}{'95 %':>10}{'R-hat':>10}")
        for row in table[table.parameter.isin(columns)].itertuples():
            name = f"{row.parameter}, voxel {row.voxel}" if table.voxel.nunique() > 1 else row.parameter
            numbers = (row.mean, row.sd, row.q05, row.q95, row.rhat)
            print(f"{name:32}" + "".join(f"{v:>10.3f}" if v == v else f"{'-':>10}" for v in numbers))
        return
    if "csf.fraction" in table:
        table["f_iso"] = table["csf.fraction"]
        table["f_intra"] = table["intra.fraction"] / (1 - table["f_iso"])
    few = len(table) <= 6
    print(f"{'':24}" + "".join(f"{i:>10}" for i in range(len(table))) if few else f"{'':24}{'mean':>10}{'sd':>10}")
    for name in columns:
        values = table[name]
        if name == "status":
            print(f"{name:24}" + ", ".join(f"{n} {word}" for word, n in values.value_counts().items()))
        else:
            values = list(values) if few else [values.mean(), values.std()]
            print(f"{name:24}" + "".join(f"{v:>10.4f}" for v in values))


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("scheme", "noise", "show"):
        raise SystemExit(__doc__)
    {"scheme": scheme, "noise": noise, "show": show}[sys.argv[1]](*sys.argv[2:])
