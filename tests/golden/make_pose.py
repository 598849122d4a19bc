"""The table of `models/tests/suite/pose.rs`: a moving volume seen by a parallel beam.

Writes `pose.csv`: lines `array,numbers...`. Every sample of every ray is placed by the
definition (docs/pose.md) and weighed with the hat functions of all voxels; derivatives with
respect to the pose are those of the complex step. With `--check FOLDER` the same rule is
compared with a reference folder (projections, loss, gradient). Needs numpy; its version is
in the first line.
"""

import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent


def place(theta):
    """R and t of R_y(beta) R_x(alpha) R_z(phi) x + (dx, 0, dz), complex theta allowed."""
    alpha, beta, phi, dx, dz = theta
    one, zero = alpha * 0 + 1, alpha * 0
    c, s = np.cos, np.sin
    rx = np.array([[one, zero, zero], [zero, c(alpha), -s(alpha)], [zero, s(alpha), c(alpha)]])
    ry = np.array([[c(beta), zero, s(beta)], [zero, one, zero], [-s(beta), zero, c(beta)]])
    rz = np.array([[c(phi), -s(phi), zero], [s(phi), c(phi), zero], [zero, zero, one]])
    return ry @ rx @ rz, np.array([dx, zero, dz])


def hats(q, n):
    """max(0, 1 - |q - i|) for all i; the branch follows the real part."""
    d = q[..., None] - np.arange(n)
    # From the right at the centre of a voxel.
    value = np.where(d.real >= 0, 1 - d, 1 + d)
    return np.where((d.real >= 1) | (d.real < -1), 0, value)


def samples(case, theta):
    """Weights (ray, sample, axis of voxels): hats along z, y, x."""
    nv, nu = case["detector"]
    dv, du = case["pixel"]
    cz, cx = case["centre_of_detector"]
    n, step = case["steps"], case["step"]
    u = cx + (np.arange(nu) - (nu - 1) / 2) * du
    v = cz + (np.arange(nv) - (nv - 1) / 2) * dv
    y = -n * step / 2 + (np.arange(n) + 0.5) * step
    w = np.stack(np.broadcast_arrays(u[None, :, None], y[None, None, :], v[:, None, None]), -1)
    r, t = place(theta)
    x = (w.reshape(nv * nu, n, 3) - t) @ r  # R^T (w - t)
    shape, h, c = (np.array(case[k]) for k in ("shape", "voxel", "centre"))
    q = (x - c[::-1]) / h[::-1] + (shape[::-1] - 1) / 2
    return [hats(q[..., 2], shape[0]), hats(q[..., 1], shape[1]), hats(q[..., 0], shape[2])]


def project(case, theta, volume):
    z, y, x = samples(case, theta)
    inner = np.einsum("rkz,zyx->rkyx", z, volume)
    return case["step"] * np.einsum("rkyx,rky,rkx->r", inner, y, x)


def transpose(case, theta, values):
    z, y, x = samples(case, theta)
    return case["step"] * np.einsum("r,rkz,rky,rkx->zyx", values, z, y, x, optimize=True)


def jacobian(case, theta, volume):
    rows = []
    for i in range(5):
        moved = np.array(theta, complex)
        moved[i] += 1e-30j
        rows.append(project(case, moved, volume).imag / 1e-30)
    return np.array(rows)


def check(folder):
    load = lambda name: np.load(folder / f"{name}.npy")
    meta = json.loads((folder / "meta.json").read_text())
    case = dict(
        shape=meta["shape"], voxel=[meta["h"]] * 3, centre=[0, 0, 0],
        detector=[meta["nv"], meta["nu"]], pixel=[meta["dv"], meta["du"]],
        centre_of_detector=[0, 0], steps=meta["n_steps"], step=meta["ds"],
    )
    for k, theta in enumerate(load("theta")):
        p = project(case, theta, load("volume")).real
        r = p - load("measured")[k].ravel()
        g = jacobian(case, theta, load("volume")) @ r
        print(
            np.abs(p - load("projections")[k].ravel()).max(),
            abs(0.5 * r @ r - load("loss")[k]),
            np.abs(g / load("loss_grad")[k] - 1).max(),
        )


def main():
    if "--check" in sys.argv:
        check(pathlib.Path(sys.argv[2]))
        return
    case = dict(
        shape=[5, 7, 6], voxel=[1.2, 0.9, 1.0], centre=[0.3, -0.2, 0.1],
        detector=[6, 7], pixel=[1.1, 1.3], centre_of_detector=[0.2, -0.4],
        steps=17, step=0.75,
    )
    rng = np.random.default_rng(20)
    # Numbers that float32 holds.
    volume = rng.integers(-64, 64, (5, 7, 6)) / 64
    measured = rng.integers(-64, 64, (3, 42)) / 32
    theta = np.array(
        [[0.0625, -0.125, 0.5, 0.375, -0.25], [-0.25, 0.1875, 2.25, -0.5, 0.625],
         [0.03125, 0.0625, -1.5, 0.125, 0.3125]]
    )
    p = np.array([project(case, t, volume).real for t in theta])
    j = np.array([jacobian(case, t, volume) for t in theta])
    r = p - measured
    arrays = {
        "volume": volume, "theta": theta, "measured": measured, "projections": p,
        "transpose": sum(transpose(case, t, m).real for t, m in zip(theta, measured)),
        "jacobian": j, "loss": 0.5 * (r**2).sum(1), "gradient": np.einsum("vir,vr->vi", j, r),
    }
    lines = [f"# make_pose.py, numpy {np.__version__}"]
    for name, values in arrays.items():
        lines.append(",".join([name] + [repr(float(v)) for v in np.ravel(values)]))
    (HERE / "pose.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
