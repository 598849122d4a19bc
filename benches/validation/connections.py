"""Whether intervals of connections from posterior draws hold the true count.

python3 benches/validation/connections.py MICROTOME [REPLICATES]

Bundle: 16 x 12 x 3 voxels of 2 mm, one stick a voxel along x that fans out by up to 20 degrees, turned in every
voxel by an angle of standard deviation J of its own (J = 0: smooth). Signals of `ball_stick`, 32 directions at
b = 1000 s/mm2 and 4 b = 0, Gaussian noise of SNR 20. `sample` draws from every voxel's posterior, `track --all-draws`
follows 50 draws of the field from 400 seeds on the left; parcels are the left side and four strips of the right
side. Truth: the count of the same seeds in the true field. Counted: pairs (left, strip) whose 90 % interval
(q05 to q95 of the draws) holds the true count, and how the mean of the draws is off. Needs numpy, nibabel, pyarrow.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIMS, DRAWS = (16, 12, 3), 50
AFFINE = np.diag([-2.0, 2, 2, 1])  # FSL's voxel axes are then those of the image


def directions(n):
    z = 1 - (np.arange(n) + 0.5) / n
    phi = np.arange(n) * np.pi * (3 - 5**0.5)
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], 1)


def field(rng, jitter):
    """True axes [voxel (i fastest), 3]."""
    i, j, _ = np.meshgrid(*map(np.arange, DIMS), indexing="ij")
    angle = np.radians(20) * (j - 5.5) / 5.5 * i / 15
    mu = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1).reshape(-1, 3, order="F")
    mu = mu + np.radians(jitter) * rng.standard_normal(mu.shape)
    return mu / np.linalg.norm(mu, axis=1, keepdims=True)


def image(path, values):
    values = np.asarray(values, np.float32)
    nib.save(nib.Nifti1Image(values.reshape(*DIMS, *values.shape[1:], order="F"), AFFINE), path)


def table(path, mu, fraction):
    n = len(mu)
    columns = {"voxel": np.arange(n), "chain": np.zeros(n, np.int64), "draw": np.zeros(n, np.int64)}
    columns |= {f"stick.mu_{a}": mu[:, k] for k, a in enumerate("xyz")}
    pq.write_table(pa.table(columns | {"stick.fraction": np.full(n, fraction)}), path)


def run(program, folder, line):
    done = subprocess.run([program, *line.split()], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def counts(folder, name):
    t = pq.read_table(folder / name).to_pydict()
    return t


def main():
    program, replicates = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 12
    track = (
        "track --rule posterior --seeds seeds.nii.gz --n-seeds 400 --step-mm 1 --min-length-mm 2 --max-angle-deg 60 "
        "--parcels labels.nii.gz --threads 1 --quiet --overwrite"
    )
    n = np.prod(DIMS)
    i, j, _ = (a.reshape(-1, order="F") for a in np.meshgrid(*map(np.arange, DIMS), indexing="ij"))
    labels = np.where(i == 0, 1, np.where(i == 15, 2 + j // 3, 0))
    b = np.r_[np.zeros(4), np.full(32, 1000.0)]
    g = np.r_[np.tile([1.0, 0, 0], (4, 1)), directions(32)]
    print("J deg | pairs | in 90 % | off in sd, mean | off in sd, rms | true count, mean | mean of draws")
    for jitter in (0.0, 3.0, 6.0, 10.0):
        inside, off, true, mean = [], [], [], []
        for replicate in range(replicates):
            rng = np.random.default_rng(1000 * replicate + int(jitter))
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                mu = field(rng, jitter)
                clean = 0.6 * np.exp(-b * 1.7e-3 * (mu @ g.T) ** 2) + 0.4 * np.exp(-b * 1.5e-3)
                image(folder / "dwi.nii.gz", 100 * (clean + rng.standard_normal(clean.shape) / 20))
                image(folder / "seeds.nii.gz", (i == 1) & (j > 2) & (j < 9))
                image(folder / "labels.nii.gz", labels)
                np.savetxt(folder / "dwi.bval", b[None])
                np.savetxt(folder / "dwi.bvec", g.T)
                table(folder / "true.parquet", mu, 0.6)
                run(program, folder, "sample --model ball_stick --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --out post --threads 1 --quiet")
                run(program, folder, f"{track} --posterior post/posterior.parquet --all-draws --draws {DRAWS} --connectome draws.parquet")
                run(program, folder, f"{track} --posterior true.parquet --draws 1 --draw 0 --connectome true.out.parquet")
                found, truth = counts(folder, "draws.parquet"), counts(folder, "true.out.parquet")
                if replicate == 0 and jitter == 0.0 and "-v" in sys.argv:
                    print({k: v[:6] for k, v in found.items()}, {k: v[:6] for k, v in truth.items()})
                for pair in range(1, 5):  # row 0: left to left
                    c = truth["streamlines"][pair]
                    inside.append(found["q05"][pair] <= c <= found["q95"][pair])
                    if found["sd"][pair] > 0:
                        off.append((found["mean"][pair] - c) / found["sd"][pair])
                    true.append(c)
                    mean.append(found["mean"][pair])
        off = np.array(off)
        print(f"{jitter:g} | {len(inside)} | {100 * np.mean(inside):.0f} % | {off.mean():+.2f} | {np.sqrt((off**2).mean()):.2f} | "
              f"{np.mean(true):.1f} | {np.mean(mean):.1f}", flush=True)


if __name__ == "__main__":
    main()
