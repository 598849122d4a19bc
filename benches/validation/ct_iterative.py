"""Iterative methods of the program on projections that NumPy makes.

    python benches/validation/ct_iterative.py sirt target/release/microtome 3   # needs astra-toolbox
    python benches/validation/ct_iterative.py pocs target/release/microtome

`sirt`: SIRT with x >= 0 of ASTRA (linear, the best of iterations 300 to 419, chosen by the truth)
and of microtome (374 iterations) on the same data: modified Shepp-Logan, 256 x 256, 60 views,
10,000 photons. `pocs`: PSNR of ASD-POCS by the length of its descent, beside PDHG-TV.
Projections are exact, means over pixels; phantoms are means over voxels. One thread.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HEAD = [
    [1, 0.69, 0.92, 0, 0, 0], [-0.8, 0.6624, 0.874, 0, -0.0184, 0], [-0.2, 0.11, 0.31, 0.22, 0, -18],
    [-0.2, 0.16, 0.41, -0.22, 0, 18], [0.1, 0.21, 0.25, 0, 0.35, 0], [0.1, 0.046, 0.046, 0, 0.1, 0],
    [0.1, 0.046, 0.046, 0, -0.1, 0], [0.1, 0.046, 0.023, -0.08, -0.605, 0],
    [0.1, 0.023, 0.023, 0, -0.606, 0], [0.1, 0.023, 0.046, 0.06, -0.605, 0],
]


def discs():
    def number(k):
        return ((k * 7919 + 13) % 101) / 101

    rows = [[0.3, 0.9, 0.9, 0, 0, 0]]
    for k in range(40):
        r, at, a = 0.02 + 0.08 * number(3 * k), 0.8 * number(3 * k + 1) ** 0.5, 2.399963 * k
        v = 0.1 + 0.4 * number(3 * k + 2)
        rows.append([-0.3 * v if k % 3 == 0 else v, r, r, at * np.cos(a), at * np.sin(a), 0])
    return rows


def smooth():
    rings = [[0.016, 0.9 * k / 50, 0.9 * k / 50, 0, 0, 0] for k in range(1, 51)]
    things = [[0.2, 0.1, 0.2, 0.3, 0.3, 30], [-0.2, 0.2, 0.05, -0.3, 0.2, 10], [0.1, 0.15, 0.15, -0.1, -0.4, 0]]
    return rings + things


class Scan:
    def __init__(self, folder, rows, n, views, photons, mu):
        self.folder, self.photons, self.mu = folder, photons, mu
        table = np.array(rows, float)
        table[:, 1:5] *= n / 2
        self.truth = voxel_means(table, n)
        angles = np.arange(views) * np.pi / views
        self.exact = pixel_means(table, n, angles)
        zeros = 0 * angles
        self.views = np.stack([-np.sin(angles), np.cos(angles), zeros, zeros, np.cos(angles), np.sin(angles)], 1)
        np.save(folder / "views.npy", self.views)
        (folder / "g.toml").write_text(
            f'kind = "parallel2d"\nviews = "views.npy"\ndetector = [{n}]\n'
            f"[volume]\nshape = [{n}, {n}]\nvoxel_mm = [1.0, 1.0]\n"
        )

    def draw(self, seed):
        counts = np.random.default_rng(seed).poisson(self.photons * np.exp(-self.mu * self.exact))
        y = (-np.log(np.maximum(counts, 1) / self.photons) / self.mu).astype(np.float32)
        np.save(self.folder / "p.npy", y)
        return y

    def psnr(self, x):
        return -10 * np.log10(np.mean((x - self.truth) ** 2))

    def microtome(self, binary, *flags):
        line = [binary, "reconstruct", "--projections", "p.npy", "--geometry", "g.toml", "--nonneg"]
        line += ["--out", "x.npy", "--overwrite", "--threads", "1", "--quiet", *map(str, flags)]
        subprocess.run(line, cwd=self.folder, check=True)
        return self.psnr(np.load(self.folder / "x.npy"))


def voxel_means(table, n, sub=16):
    c = (np.arange(n * sub) + 0.5) / sub - n / 2
    out = np.zeros((n, n))
    for iy in range(n):
        y = c[iy * sub : (iy + 1) * sub][:, None]
        v = np.zeros((sub, n * sub))
        for value, a, b, x0, y0, turn in table:
            p = np.deg2rad(turn)
            dx, dy = c[None, :] - x0, y - y0
            u, w = (dx * np.cos(p) + dy * np.sin(p)) / a, (dy * np.cos(p) - dx * np.sin(p)) / b
            v += value * (u * u + w * w <= 1)
        out[iy] = v.reshape(sub, n, sub).mean((0, 2))
    return out


def pixel_means(table, n, angles, sub=32):
    t = (np.arange(n * sub) + 0.5) / sub - n / 2
    out = np.zeros((len(angles), n))
    for k, angle in enumerate(angles):
        v = np.zeros_like(t)
        for value, a, b, x0, y0, turn in table:
            th = angle - np.deg2rad(turn)
            s2 = (a * np.cos(th)) ** 2 + (b * np.sin(th)) ** 2
            d = t - (x0 * np.cos(angle) + y0 * np.sin(angle))
            v += np.where(d * d < s2, value * 2 * a * b / s2 * np.sqrt(np.maximum(s2 - d * d, 0)), 0)
        out[k] = v.reshape(n, sub).mean(1)
    return out


def astra_sirt(scan, y):
    import astra

    n = len(scan.truth)
    grid = astra.create_vol_geom(n, n)
    rays = astra.create_proj_geom("parallel_vec", n, scan.views)
    image = astra.data2d.create("-vol", grid, 0)
    config = astra.astra_dict("SIRT")
    config["ProjectorId"] = astra.create_projector("linear", rays, grid)
    config["ProjectionDataId"] = astra.data2d.create("-sino", rays, y)
    config["ReconstructionDataId"] = image
    config["option"] = {"MinConstraint": 0.0}
    algorithm = astra.algorithm.create(config)
    best = (0, 0)
    for k in range(300, 420):
        astra.algorithm.run(algorithm, 300 if k == 300 else 1)
        best = max(best, (scan.psnr(astra.data2d.get(image)[::-1]), k))
    astra.clear()
    return best


def main():
    what, binary = sys.argv[1], os.path.abspath(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if what == "sirt":
            scan = Scan(folder, HEAD, 256, 60, 1e4, 0.05)
            for seed in range(1, int(sys.argv[3]) + 1):
                y = scan.draw(seed)
                print(f"seed {seed}: ASTRA {astra_sirt(scan, y)[0]:.3f} dB,", end=" ")
                ours = scan.microtome(binary, "--method", "sirt", "--iterations", 374)
                print(f"microtome {ours:.3f} dB", flush=True)
            return
        for name, rows in (("discs", discs()), ("smooth", smooth())):
            for photons, views in ((1e4, 40), (300.0, 120)):
                scan = Scan(folder, rows, 128, views, photons, 0.1)
                scan.draw(1)
                print(f"{name}, {photons:g} photons: PDHG-TV {scan.microtome(binary, '--method', 'pdhg_tv'):.2f}", end="")
                for step in (0.005, 0.01, 0.02, 0.04, 0.08, 0.16):
                    found = scan.microtome(binary, "--method", "asd_pocs", "--tv-step", step)
                    print(f", {step}: {found:.2f}", end="", flush=True)
                print()


main()
