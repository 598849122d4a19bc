"""The table of `sirt_and_cgls_equal_the_golden_table` of `inference/tests/suite/reconstruct.rs`.

Writes `iterative.csv`: lines `array,numbers...`. ASTRA on the CPU reconstructs a disc with a
hole (mean of 8 x 8 points a voxel) from its own projections (`linear` is Joseph's projector,
`line` Siddon's) by 50 iterations of SIRT and 20 of CGLS, from zero, without bounds, in float32.
The rows `*_cgls_numpy` are the formulas of CGLS in float64 with ASTRA's own matrix: their
distance from ASTRA's image is what float32 costs it. Images are flipped to rows that grow with
y; rays are those of ASTRA's angle geometry as vectors. Needs numpy, scipy and astra-toolbox;
versions are in the first line.
"""

import pathlib

import astra
import numpy as np

HERE = pathlib.Path(__file__).parent
N, NU, VIEWS = 16, 24, 12
ITERATIONS = {"SIRT": 50, "CGLS": 20}


def disc():
    at = (np.arange(8 * N) + 0.5) / 8 - N / 2
    x, y = np.meshgrid(at, at)
    fine = (np.hypot(x, y) < 6.5) * 1.0 - 0.6 * (np.hypot(x - 2.0, y + 1.5) < 2.5)
    return fine.reshape(N, 8, N, 8).mean((1, 3)).astype(np.float32)


def vectors(angles):
    return np.array([[np.sin(a), -np.cos(a), 0, 0, np.cos(a), np.sin(a)] for a in angles])


def run(algorithm, projector, volume, rays, sino):
    y = astra.data2d.create("-sino", rays, sino)
    x = astra.data2d.create("-vol", volume, 0.0)
    spec = astra.astra_dict(algorithm)
    spec.update(ProjectorId=projector, ProjectionDataId=y, ReconstructionDataId=x)
    handle = astra.algorithm.create(spec)
    astra.algorithm.run(handle, ITERATIONS[algorithm])
    return astra.data2d.get(x)[::-1].copy()


def cgls(a, y, iterations):
    x = np.zeros(a.shape[1])
    r = y.astype(float)
    s = a.T @ r
    p, gamma = s.copy(), s @ s
    for _ in range(iterations):
        q = a @ p
        alpha = gamma / (q @ q)
        x += alpha * p
        r -= alpha * q
        s = a.T @ r
        old, gamma = gamma, s @ s
        p = s + gamma / old * p
    return x.reshape(N, N)[::-1]


def main():
    angles = np.arange(VIEWS) * np.pi / VIEWS
    image = disc()
    lines = [f"# numpy {np.__version__}, astra {astra.__version__}; see make_iterative.py"]

    def row(name, values):
        lines.append(",".join([name] + [repr(float(v)) for v in np.ravel(values)]))

    row("size", [N, NU, VIEWS])
    row("views", vectors(angles))
    row("image", image)
    volume = astra.create_vol_geom(N, N)
    rays = astra.create_proj_geom("parallel", 1.0, NU, angles)
    for name, kind in [("joseph", "linear"), ("siddon", "line")]:
        projector = astra.create_projector(kind, rays, volume)
        _, sino = astra.create_sino(image[::-1].copy(), projector)
        row(f"{name}_projections", sino)
        for algorithm in ITERATIONS:
            row(f"{name}_{algorithm.lower()}", run(algorithm, projector, volume, rays, sino))
        matrix = astra.matrix.get(astra.projector.matrix(projector))
        exact = cgls(matrix.astype(float), np.ravel(sino), ITERATIONS["CGLS"])
        row(f"{name}_cgls_numpy", exact)
        theirs = run("CGLS", projector, volume, rays, sino)
        print(name, "CGLS float32 to float64:", np.linalg.norm(theirs - exact) / np.linalg.norm(exact))
    (HERE / "iterative.csv").write_text("\n".join(lines) + "\n")


main()
