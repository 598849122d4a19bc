"""Cone beams beside RTK on the CPU: Joseph's projection, its transpose, voxel-driven backprojection.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install itk-rtk numpy
    cargo bench -p microtome-kernels --bench rays --bench backprojection --no-run   # prints two programs
    /tmp/peers/bin/python benches/peers/cone.py target/release/deps/rays-... target/release/deps/backprojection-... [128] [256]

Run by hand. One thread; CPU seconds, least of three calls (RTK at n = 256: of one), peers and microtome
by turns in one run; float32. A circle with the source at twice the width of the volume and the
detector half as far behind, pixels of 1.8 voxels: n^3 voxels, n x n pixels, 60 views at n = 128 and
30 at n = 256 (the voxel-driven case of microtome has 60 views at both). G samples/s counts pixels x
voxels along an axis, GUPS voxels x views. LEAP (`pip install leapct`) is not on PyPI.
"""

import re
import subprocess
import sys
import time

import itk
import numpy as np
from itk import RTK as rtk

IMAGE = itk.Image[itk.F, 3]


def least(work, calls):
    times = []
    for _ in range(calls):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def joseph(bench, case):
    """(forward, back) seconds of the bench `rays`."""
    text = subprocess.run([bench, case, "joseph"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"forward\s+(\d+) ms.*back\s+(\d+) ms", text)
    return [int(v) / 1e3 for v in found.groups()]


def voxel_driven(bench):
    """GUPS of the bench `backprojection` by the name of the case, least of its calls."""
    text = subprocess.run([bench], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^cone (\d+)\^3 x 60 .*\(least\s+([\d.]+)", text, re.M)
    return {int(n): float(gups) for n, gups in found}


def image(array, pitch):
    out = itk.image_from_array(np.ascontiguousarray(array, dtype=np.float32))
    out.SetSpacing(pitch)
    out.SetOrigin([-(n - 1) / 2 * h for n, h in zip(array.shape[::-1], pitch)])
    return out


def peer(n, views):
    """(forward, exact transpose, voxel-driven) seconds of RTK."""
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for k in range(views):
        geometry.AddProjection(2.0 * n, 3.0 * n, 360.0 * k / views)
    rng = np.random.default_rng(0)
    volume = image(rng.random((n, n, n), np.float32), [1.0] * 3)
    stack = image(rng.random((views, n, n), np.float32), [1.8, 1.8, 1.0])

    def run(kind, first, second):
        def work():
            # A new filter each time: one that is up to date does nothing.
            step = kind[IMAGE, IMAGE].New()
            step.SetGeometry(geometry)
            step.SetInput(0, first)
            step.SetInput(1, second)
            step.InPlaceOff()
            step.Update()

        return least(work, 3 if n < 256 else 1)

    return [
        run(rtk.JosephForwardProjectionImageFilter, stack, volume),
        run(rtk.JosephBackProjectionImageFilter, volume, stack),
        run(rtk.BackProjectionImageFilter, volume, stack),
    ]


def main():
    rays, back = sys.argv[1:3]
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(1)
    driven = voxel_driven(back)
    peer(8, 4)  # loads what RTK needs
    sizes = [int(v) for v in sys.argv[3:]] or [128, 256]
    for n, views in [(n, views) for n, views in [(128, 60), (256, 30)] if n in sizes]:
        unit = n**3 * views * 1e-9
        ours = joseph(rays, f"cone {n}^3")
        theirs = peer(n, views)
        for name, (forward, transpose, gups) in [
            ("microtome", (*ours, driven[n])),
            ("RTK", (*theirs[:2], unit / theirs[2])),
        ]:
            print(
                f"cone {n}^3 x {views} {name:<10} forward {forward:6.3f} s {unit / forward:5.2f} G samples/s"
                f"   transpose {transpose:6.3f} s {unit / transpose:5.2f} GUPS   voxel-driven {gups:5.2f} GUPS",
                flush=True,
            )


if __name__ == "__main__":
    main()
