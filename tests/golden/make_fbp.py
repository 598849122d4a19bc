"""The table of `equals_astra` of `inference/tests/suite/analytic.rs`: FBP of ASTRA on the CPU.

Writes `fbp.csv`: lines `array,numbers...`. ASTRA's CPU FBP filters and applies the transpose
of its projector (`linear` is Joseph's). Images are flipped to rows that grow with y; rays are
those of ASTRA's angle geometry as vectors. With `--check FOLDER` the same call is compared
with the `astra2d` folder of a reference. Needs numpy and astra-toolbox; versions are in the
first line.
"""

import pathlib
import sys

import astra
import numpy as np

HERE = pathlib.Path(__file__).parent
FILTERS = ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]


def fbp(sino, angles, n, name):
    """sino [view, u] float32."""
    volume = astra.create_vol_geom(n, n)
    rays = astra.create_proj_geom("parallel", 1.0, sino.shape[1], angles)
    projector = astra.create_projector("linear", rays, volume)
    y = astra.data2d.create("-sino", rays, sino)
    x = astra.data2d.create("-vol", volume)
    spec = astra.astra_dict("FBP")
    spec.update(ProjectorId=projector, ProjectionDataId=y, ReconstructionDataId=x)
    spec["option"] = {"FilterType": name}
    algorithm = astra.algorithm.create(spec)
    astra.algorithm.run(algorithm)
    out = astra.data2d.get(x)[::-1].copy()
    astra.clear()
    return out


def vectors(angles):
    return np.array([[np.sin(a), -np.cos(a), 0, 0, np.cos(a), np.sin(a)] for a in angles])


def main():
    n, nu, views = 16, 24, 12
    angles = np.arange(views) * np.pi / views
    k = np.arange(views * nu)
    sino = (((k * 37 + 11) % 101) / 100).astype(np.float32).reshape(views, nu)
    lines = [f"# numpy {np.__version__}, astra {astra.__version__}; see make_fbp.py"]

    def row(name, values):
        lines.append(",".join([name] + [repr(float(v)) for v in np.ravel(values)]))

    row("size", [n, nu, views])
    row("views", vectors(angles))
    row("projections", sino)
    for name in FILTERS:
        row(name.replace("-", "_"), fbp(sino, angles, n, name))
    (HERE / "fbp.csv").write_text("\n".join(lines) + "\n")
    if "--check" in sys.argv:
        folder = pathlib.Path(sys.argv[sys.argv.index("--check") + 1])
        sino = np.load(folder / "par_linear_fbp_sino.npy")
        angles = np.arange(len(sino)) * np.pi / len(sino)
        for name in FILTERS:
            want = np.load(folder / f"par_linear_fbp_{name}.npy")
            print(name, np.abs(fbp(sino, angles, 128, name) - want).max())


main()
