#!/usr/bin/env python3
"""Writes affines.csv: header fields of images and the affine that nibabel reads.

Needs numpy and nibabel. Columns: grid (3), pixdim[0..4], qform_code, sform_code,
quaternion b c d, offset (3), srow (12), then the upper three rows of the affine.
"""

import sys

import nibabel as nib
import numpy as np

rng = np.random.default_rng(1)
print("# nibabel", nib.__version__, file=sys.stdout)
for n in range(24):
    header = nib.Nifti1Header()
    shape = rng.integers(2, 40, 3)
    header.set_data_shape(shape)
    header.set_data_dtype("f4")
    quaternion = rng.normal(size=4)
    quaternion /= np.linalg.norm(quaternion)
    if quaternion[0] < 0:
        quaternion = -quaternion
    header["pixdim"][:4] = [rng.choice([-1, 1]), *rng.uniform(0.5, 3, 3)]
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion[1:]
    header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = rng.uniform(-90, 90, 3)
    header["srow_x"], header["srow_y"], header["srow_z"] = rng.normal(size=(3, 4))
    header["qform_code"], header["sform_code"] = [(0, 0), (1, 0), (0, 2), (1, 2)][n % 4]
    fields = [*shape, *header["pixdim"][:4], header["qform_code"], header["sform_code"]]
    fields += [header["quatern_b"], header["quatern_c"], header["quatern_d"]]
    fields += [header["qoffset_x"], header["qoffset_y"], header["qoffset_z"]]
    fields += [*header["srow_x"], *header["srow_y"], *header["srow_z"]]
    fields += list(header.get_best_affine()[:3].ravel())
    print(",".join(f"{float(v):.17g}" for v in fields))
