#!/usr/bin/env python3
"""Writes small files of streamlines by nibabel and trx-python, and positions.csv beside them.

    python3 make_tracts.py        in this folder; needs numpy, nibabel and trx-python

Every file holds the same three streamlines. positions.csv has streamline, x, y, z (world mm,
RAS+, float32 to the last digit), and the value `fa` of the point; `weight` of streamline s is
s + 0.5, `pair` is (s, -s). The grids: `oblique` is rotated and sheared, `flipped` has x and z
reversed, `turned` has its axes in another order, `lps` has the order LPS in its TRK header but
an affine that runs to R, A and S.
"""

import os
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.streamlines import Field, TckFile, Tractogram, TrkFile
from trx.trx_file_memmap import TrxFile, save

DIMS = (20, 24, 18)
AFFINES = {
    "oblique": [[1.9, 0.35, -0.1, -21.3], [-0.3, 2.1, 0.4, -30.7], [0.2, -0.45, 2.4, -15.9], [0, 0, 0, 1]],
    "flipped": [[-2, 0, 0, 19.5], [0, 2.5, 0, -31], [0, 0, -1.25, 11.125], [0, 0, 0, 1]],
    "turned": [[0, 0.1, -2.2, 18], [1.75, 0, 0.05, -16], [0.1, 2.0, 0, -25], [0, 0, 0, 1]],
    "lps": [[2, 0, 0, -19.5], [0, 2.5, 0, -31], [0, 0, 1.25, -11.125], [0, 0, 0, 1]],
}


def main():
    here = Path(__file__).parent
    rng = np.random.default_rng(8)
    lines = [np.cumsum(rng.normal(size=(n, 3)), axis=0).astype(np.float32) for n in (5, 1, 8)]
    with open(here / "positions.csv", "w") as out:
        print("# nibabel", nib.__version__, file=out)
        k = 0
        for s, line in enumerate(lines):
            for p in line:
                print(f"{s}," + ",".join(f"{float(v):.17g}" for v in p) + f",{k * 0.25}", file=out)
                k += 1
    ends = np.cumsum([0] + [len(v) for v in lines])
    fa = [np.arange(a, b, dtype=np.float32)[:, None] * 0.25 for a, b in zip(ends, ends[1:])]
    tractogram = Tractogram(
        lines,
        data_per_point={"fa": fa},
        data_per_streamline={"weight": [[s + 0.5] for s in range(3)], "pair": [[s, -s] for s in range(3)]},
        affine_to_rasmm=np.eye(4),
    )
    TckFile(Tractogram(lines, affine_to_rasmm=np.eye(4))).save(str(here / "nibabel.tck"))
    for name, affine in AFFINES.items():
        affine = np.array(affine, dtype=float)
        order = "LPS" if name == "lps" else "".join(nib.aff2axcodes(affine))
        header = {
            Field.VOXEL_TO_RASMM: affine.astype(np.float32),
            Field.VOXEL_SIZES: nib.affines.voxel_sizes(affine).astype(np.float32),
            Field.DIMENSIONS: np.array(DIMS, dtype=np.int16),
            Field.VOXEL_ORDER: order.encode(),
        }
        TrkFile(tractogram, header).save(str(here / f"{name}.trk"))
    image = nib.Nifti1Image(np.zeros(DIMS, dtype=np.uint8), np.array(AFFINES["oblique"]))
    trx = TrxFile.from_tractogram(
        tractogram, image, dtype_dict={
            "positions": np.float32, "offsets": np.uint32,
            "dpv": {"fa": np.float32}, "dps": {"weight": np.float64, "pair": np.int16}, "dpg": {},
        },
    )
    trx.groups = {"ends": np.array([0, 2], dtype=np.uint32)}
    save(trx, str(here / "stored.trx"))
    save(trx, str(here / "deflated.trx"), compression_standard=zipfile.ZIP_DEFLATED)
    trx.close()
    for f in here.iterdir():
        if f.suffix in {".trk", ".tck", ".trx"}:
            print(f.name, os.path.getsize(f))


if __name__ == "__main__":
    main()
