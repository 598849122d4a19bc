"""The table of `models/tests/suite/trajectories.rs`: paths made by diffct_mlx.

Writes `trajectories.csv`: lines `name,numbers...`, one row a view: source (or ray),
detector, u, v, as diffct_mlx gives them (float32). Needs `diffct_mlx` 1.0.1 or 2.1.0 with
`mlx[cpu]` and DIFFCT_BACKEND=mlx; its version is in the first line.
"""

import importlib.metadata
import pathlib

import mlx.core as mx
import numpy as np
from diffct_mlx import geometry as g


def wobble(angles, sid):
    r = sid + 2.0 * mx.cos(3.0 * angles)
    return mx.stack([-r * mx.sin(angles), r * mx.cos(angles), 4.0 * mx.sin(angles)], axis=1)


def ellipse(angles, sid):
    return mx.stack([-sid * mx.sin(angles), 0.7 * sid * mx.cos(angles)], axis=1)


def drift(angles):
    return mx.stack([0.1 * angles, -0.3 * angles], axis=1)


def spread(angles):
    return mx.stack([mx.cos(1.1 * angles), mx.sin(1.1 * angles)], axis=1)


PATHS = {
    "circular_parallel2d": g.circular_trajectory_2d_parallel(5),
    "circular_fan2d": g.circular_trajectory_2d_fan(5, 20.0, 31.0),
    "circular_cone3d": g.circular_trajectory_3d(5, 20.0, 31.0, 0.4, 3.0),
    "spiral_cone3d": g.spiral_trajectory_3d(7, 20.0, 31.0, z_range=12.0, n_turns=2.0),
    "sinusoidal_parallel2d": g.sinusoidal_trajectory_2d_parallel(7, amplitude=3.0, frequency=2.0),
    "sinusoidal_fan2d": g.sinusoidal_trajectory_2d_fan(7, 20.0, 31.0, amplitude=3.0, frequency=2.0),
    "sinusoidal_cone3d": g.sinusoidal_trajectory_3d(7, 20.0, 31.0, amplitude=3.0, frequency=2.0),
    "saddle_cone3d": g.saddle_trajectory_3d(7, 20.0, 31.0, z_amplitude=5.0, radial_amplitude=3.0),
    "custom_parallel2d": g.custom_trajectory_2d_parallel(5, spread, drift),
    "custom_fan2d": g.custom_trajectory_2d_fan(5, 20.0, 31.0, ellipse),
    "custom_cone3d": g.custom_trajectory_3d(5, 20.0, 31.0, wobble),
}

version = importlib.metadata.version("diffct_mlx")
with open(pathlib.Path(__file__).parent / "trajectories.csv", "w") as out:
    out.write(f"# diffct_mlx {version}; source or ray, detector, u (, v)\n")
    for name, arrays in PATHS.items():
        rows = np.concatenate([np.array(a, dtype=np.float64) for a in arrays], axis=1)
        for row in rows:
            out.write(name + "," + ",".join(f"{v:.7g}" for v in row) + "\n")
