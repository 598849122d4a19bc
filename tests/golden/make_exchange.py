"""The files of `models/tests/suite/exchange.rs` and `datasets/tests/files/geometries.rs`.

* `exchange_rtk.xml`: a geometry written by RTK;
* `exchange.csv`: lines `name,numbers...`: RTK's source positions and matrices of it
  (`rtk_source`, `rtk_matrix`, and `rtk_parallel` for a parallel beam), and ASTRA's vectors
  of its angle geometries (`astra_<kind>`).

Needs itk-rtk and astra-toolbox; their versions are in the first line of the table.
"""

import importlib.metadata
import pathlib

import astra
import itk
import numpy as np
from itk import RTK as rtk

HERE = pathlib.Path(__file__).parent
PROJECTIONS = [
    # SID, SDD, gantry, offsets of projection x y, out of plane, in plane, of source x y
    (200.0, 300.0, 30.0, 1.5, -2.5, 4.0, -3.0, 0.7, -0.9),
    (200.0, 300.0, 117.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (210.0, 310.0, 250.0, -4.0, 3.0, -8.0, 12.0, 0.0, 1.1),
    (200.0, 300.0, 340.0, 0.0, 2.0, 89.0, 5.0, -2.0, 0.0),
]
ANGLES = np.array([0.0, 0.7, 2.1, 4.0])


def matrix(geometry, k):
    return itk.array_from_matrix(geometry.GetMatrix(k)).ravel()


lines = []
geometry = rtk.ThreeDCircularProjectionGeometry.New()
for p in PROJECTIONS:
    geometry.AddProjection(*p)
rtk.write_geometry(geometry, str(HERE / "exchange_rtk.xml"))
for k, p in enumerate(PROJECTIONS):
    lines.append(("rtk_source", list(geometry.GetSourcePosition(k))[:3]))
    lines.append(("rtk_matrix", matrix(geometry, k)))
parallel = rtk.ThreeDCircularProjectionGeometry.New()
parallel.AddProjection(200.0, 0.0, 40.0, 1.5, -2.5, 4.0, -3.0)
lines.append(("rtk_parallel", matrix(parallel, 0)))

for name, args in {
    "parallel2d": ("parallel", 1.5, 8, ANGLES),
    "fan2d": ("fanflat", 1.5, 8, ANGLES, 200.0, 100.0),
    "parallel3d": ("parallel3d", 1.5, 1.2, 6, 8, ANGLES),
    "cone3d": ("cone", 1.5, 1.2, 6, 8, ANGLES, 200.0, 100.0),
}.items():
    vectors = astra.geom_2vec(astra.create_proj_geom(*args))["Vectors"]
    for row in vectors:
        lines.append(("astra_" + name, row))

versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("itk-rtk", "astra-toolbox"))
with open(HERE / "exchange.csv", "w") as out:
    out.write(f"# {versions}\n")
    for name, numbers in lines:
        out.write(name + "," + ",".join(repr(float(v)) for v in numbers) + "\n")
