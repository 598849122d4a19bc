"""Projection and exact transpose beside ASTRA and RTK on the CPU.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install astra-toolbox itk-rtk numpy
    cargo bench -p microtome-kernels --bench rays --no-run      # prints the path of the program
    /tmp/peers/bin/python benches/peers/rays.py target/release/deps/rays-...

Run by hand. One thread; CPU seconds, least of five calls, peers and microtome by turns in one run;
float32. G samples/s counts pixels x voxels along an axis, GUPS voxels x views. The transpose of
ASTRA's linear kernel and of RTK's Joseph filter are compared with the transpose of joseph; ASTRA has
no linear kernel for fans, so its line kernel (lengths, siddon's) stands beside them. LEAP is not on
PyPI.
"""

import os

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
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


def rtk_cone(n, views, source, pitch):
    import itk
    from itk import RTK as rtk

    itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(1)
    image = itk.Image[itk.F, 3]
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for k in range(views):
        geometry.AddProjection(source, 1.5 * source, 360.0 * k / views)

    def constant(size, spacing, value):
        out = rtk.ConstantImageSource[image].New()
        out.SetSize(size)
        out.SetSpacing(spacing)
        out.SetOrigin([-0.5 * (s - 1) * h for s, h in zip(size, spacing)])
        out.SetConstant(value)
        out.Update()
        return out.GetOutput()

    volume = constant([n] * 3, [1.0] * 3, 1.0)
    stack = constant([n, n, views], [pitch, pitch, 1.0], 0.0)

    def forward():
        run = rtk.JosephForwardProjectionImageFilter[image, image].New()
        run.SetGeometry(geometry)
        run.SetInput(0, stack)
        run.SetInput(1, volume)
        run.SetNumberOfWorkUnits(1)
        run.Update()
        return run

    def back():
        run = rtk.JosephBackProjectionImageFilter[image, image].New()
        run.SetGeometry(geometry)
        run.SetInput(0, volume)
        run.SetInput(1, stack)
        run.SetNumberOfWorkUnits(1)
        run.Update()
        return run

    return [least(forward, 3), least(back, 3)]


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
    cases = [(128, 60, 300.0)] if len(sys.argv) < 3 else [(128, 60, 300.0), (256, 30, 600.0)]
    for n, views, source in cases:
        name = f"cone {n}^3 x {views}"
        rows = [("microtome", microtome(bench, name)), ("RTK Joseph", rtk_cone(n, views, source, 1.8))]
        report(name, views * n**3, views * n**3, rows)


if __name__ == "__main__":
    main()
