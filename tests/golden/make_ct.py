"""The tables of `models/tests/suite/ct.rs`: projections of small volumes and their transposes.

Writes `ct.csv`: lines `case,array,numbers...`. The matrix of every case is built densely,
ray by ray and voxel by voxel, from definitions that share nothing with `kernels/src/ray`:

* siddon: the length of the ray in the box of each voxel, by the slab method;
* joseph: for each slice of the main axis the products of hat functions at all voxels of
  that slice, times the length between slices.

With `--check FOLDER` the same matrices are compared with the `disc_*` folders of a
reference. Needs numpy; its version is in the first line.
"""

import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent


def rays(kind, views, nv, nu):
    """Start, direction and whether the start ends the ray."""
    for row in views:
        d = 2 if kind in ("parallel2d", "fan2d") else 3
        parts = [np.append(row[k : k + d], [0.0] * (3 - d)) for k in range(0, len(row), d)]
        first, det, u = parts[:3]
        v = parts[3] if d == 3 else np.array([0.0, 0.0, 1.0])
        for iv in range(nv):
            for iu in range(nu):
                pixel = det + (iu - (nu - 1) / 2) * u + (iv - (nv - 1) / 2) * v
                if kind.startswith("parallel"):
                    yield pixel, first, False
                else:
                    yield first, pixel - first, True


def siddon(start, d, half_line, centres, h):
    length = np.linalg.norm(d)
    low = np.full(centres.shape[:-1], 0.0 if half_line else -np.inf)
    high = np.full(centres.shape[:-1], np.inf)
    for k in range(3):
        below = centres[..., k] - h[k] / 2 - start[k]
        above = centres[..., k] + h[k] / 2 - start[k]
        if d[k] == 0:
            outside = (below > 0) | (above <= 0)
            high = np.where(outside, -np.inf, high)
            continue
        low = np.maximum(low, np.minimum(below / d[k], above / d[k]))
        high = np.minimum(high, np.maximum(below / d[k], above / d[k]))
    return np.maximum(high - low, 0.0) * length


def joseph(start, d, half_line, centres, h):
    main = int(np.argmax(np.abs(d) / h))
    t = (centres[..., main] - start[main]) / d[main]
    weight = np.full(centres.shape[:-1], np.linalg.norm(d) * h[main] / abs(d[main]))
    for k in range(3):
        if k != main:
            at = start[k] + t * d[k]
            weight = weight * np.maximum(0.0, 1 - np.abs(at - centres[..., k]) / h[k])
    return np.where((t < 0) & half_line, 0.0, weight)


def matrix(rule, kind, views, detector, shape, voxel, centre):
    nv, nu = detector if len(detector) == 2 else (1, detector[0])
    shape3 = tuple([1] * (3 - len(shape)) + list(shape))
    h = np.array([1.0] * (3 - len(shape)) + list(voxel))[::-1]
    c = np.array([0.0] * (3 - len(shape)) + list(centre))[::-1]
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape3], indexing="ij"), -1)[..., ::-1]
    size = np.array(shape3)[::-1]
    centres = c + (index - (size - 1) / 2) * h
    return np.array([rule(*ray, centres, h).ravel() for ray in rays(kind, views, nv, nu)])


def fan(angles, sod, odd, pitch, offset=0.0):
    rows = []
    for a in angles:
        s, c = np.sin(a), np.cos(a)
        rows.append([sod * s, -sod * c, -odd * s + offset * c, odd * c + offset * s, pitch * c, pitch * s])
    return np.array(rows)


def cases():
    rng = np.random.default_rng(20261121)
    angles = 0.02 + 0.7 * np.arange(5)
    yield "parallel2d", dict(
        kind="parallel2d",
        views=np.array([[np.sin(a), -np.cos(a), 0.3, -0.2, 1.3 * np.cos(a), 1.3 * np.sin(a)] for a in angles]),
        detector=[9], shape=[6, 7], voxel=[0.8, 1.25], centre=[0.5, -1.0],
    )
    yield "fan2d", dict(
        kind="fan2d", views=fan(0.05 + 1.3 * np.arange(5), 20.0, 12.0, 1.9, 0.4),
        detector=[9], shape=[6, 7], voxel=[1.0, 1.0], centre=[0.0, 0.0],
    )
    yield "fan2d_source_inside", dict(
        kind="fan2d", views=fan(0.05 + 1.3 * np.arange(3), 1.7, 8.0, 2.3),
        detector=[9], shape=[6, 7], voxel=[0.9, 1.1], centre=[0.0, 0.0],
    )
    q = np.linalg.qr(rng.standard_normal((6, 3, 3)))[0]
    yield "parallel3d", dict(
        kind="parallel3d",
        views=np.array([np.concatenate([2 * m[0], 0.5 * m[1], 1.1 * m[1], 1.2 * m[2] + 0.2 * m[0]]) for m in q]),
        detector=[4, 5], shape=[4, 5, 6], voxel=[0.8, 1.2, 1.0], centre=[0.3, 0.0, -0.4],
    )
    yield "cone3d", dict(
        kind="cone3d",
        views=np.array([np.concatenate([-15 * m[0], 9 * m[0] + m[2], 1.9 * m[1], 1.7 * m[2]]) for m in q]),
        detector=[4, 5], shape=[4, 5, 6], voxel=[1.3, 1.0, 0.9], centre=[0.0, 0.2, 0.1],
    )


def check(folder):
    names = {"disc_par2d": "parallel2d", "disc_fan2d": "fan2d", "disc_cone3d": "cone3d"}
    for name, kind in names.items():
        f = pathlib.Path(folder) / name
        meta = json.loads((f / "meta.json").read_text())
        load = lambda n: np.load(f / f"{n}.npy")
        detector = [meta["nu"]] if kind.endswith("2d") else [meta["nv"], meta["nu"]]
        for rule in (siddon, joseph):
            a = matrix(rule, kind, load("views"), detector, meta["shape"], meta["voxel"], meta["centre"])
            forward = np.abs(a @ load("volume").ravel() - load(f"{rule.__name__}_forward").ravel()).max()
            back = np.abs(a.T @ load("adjoint_input").ravel() - load(f"{rule.__name__}_adjoint").ravel()).max()
            print(name, rule.__name__, forward, back)


def main():
    if sys.argv[1:2] == ["--check"]:
        return check(sys.argv[2])
    rng = np.random.default_rng(7)
    lines = [f"# numpy {np.__version__}"]

    def put(case, array, values):
        numbers = ",".join(repr(float(v)) for v in np.asarray(values, float).ravel())
        lines.append(f"{case},{array},{numbers}")

    for name, case in cases():
        lines.append(f"{name},kind,{case['kind']}")
        for key in ("views", "detector", "shape", "voxel", "centre"):
            put(name, key, case[key])
        volume = rng.integers(-40, 60, int(np.prod(case["shape"]))) / 16
        rows = len(case["views"]) * int(np.prod(case["detector"]))
        projections = rng.integers(-40, 60, rows) / 16
        put(name, "volume", volume)
        put(name, "projections", projections)
        for rule in (siddon, joseph):
            a = matrix(rule, **case)
            put(name, f"{rule.__name__}_forward", a @ volume)
            put(name, f"{rule.__name__}_adjoint", a.T @ projections)
    (HERE / "ct.csv").write_text("\n".join(lines) + "\n")


main()
