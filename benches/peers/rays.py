"""Projection and exact transpose beside ASTRA on the CPU.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install astra-toolbox numpy
    cargo bench -p microtome-kernels --bench rays --no-run      # prints the path of the program
    /tmp/peers/bin/python benches/peers/rays.py target/release/deps/rays-...

Run by hand. One thread; CPU seconds, least of five calls, peers and microtome by turns in one run;
float32. G samples/s counts pixels x voxels along an axis, GUPS voxels x views. The transpose of
ASTRA's linear kernel is compared with the transpose of joseph; ASTRA has no linear kernel for fans,
so its line kernel (lengths, siddon's) stands beside them. It has no cone on the CPU.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import re
import subprocess
import sys
import time

import numpy as np


def least(work, calls=5):
    work()
    times = []
    for _ in range(calls):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def microtome(bench, case):
    """(forward, back) seconds of joseph; the case named by its first words."""
    text = subprocess.run([bench, case, "joseph"], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        found = re.search(r"forward\s+(\d+) ms.*back\s+(\d+) ms", line)
        if found and "f64" not in line:
            return [int(v) / 1e3 for v in found.groups()]
    raise SystemExit(f"no line of {case} in the output of {bench}")


def astra_plane(kernel):
    import astra

    grid = astra.create_vol_geom(512, 512)
    angles = np.arange(360) * np.pi / 360
    if kernel == "linear":
        rays = astra.create_proj_geom("parallel", 1.0, 768, angles)
    else:
        rays = astra.create_proj_geom("fanflat", 1.5, 768, 2 * angles, 1000.0, 500.0)
    projector = astra.create_projector(kernel, rays, grid)
    x = astra.data2d.create("-vol", grid, np.random.default_rng(0).random((512, 512), np.float32))
    y = astra.data2d.create("-sino", rays, 0)
    back = astra.data2d.create("-vol", grid, 0)

    def algorithm(name, **ids):
        config = astra.astra_dict(name)
        config["ProjectorId"] = projector
        config.update(ids)
        return astra.algorithm.create(config)

    forward = algorithm("FP", VolumeDataId=x, ProjectionDataId=y)
    spread = algorithm("BP", ReconstructionDataId=back, ProjectionDataId=y)
    return [least(lambda a=a: astra.algorithm.run(a)) for a in (forward, spread)]


def report(case, samples, updates, rows):
    for name, (forward, back) in rows:
        print(
            f"{case:<22} {name:<12} forward {forward:6.3f} s {samples / forward * 1e-9:5.2f} G samples/s"
            f"   back {back:6.3f} s {updates / back * 1e-9:5.2f} GUPS",
            flush=True,
        )


def main():
    bench = sys.argv[1]
    plane = (360 * 768 * 512, 360 * 512 * 512)
    rows = [("microtome", microtome(bench, "parallel 512")), ("ASTRA linear", astra_plane("linear"))]
    report("parallel 512^2 x 360", *plane, rows)
    rows = [("microtome", microtome(bench, "fan 512^2 x 360")), ("ASTRA line", astra_plane("line_fanflat"))]
    report("fan 512^2 x 360", *plane, rows)


if __name__ == "__main__":
    main()
