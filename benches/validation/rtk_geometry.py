"""Views written for RTK, read and projected by RTK itself, beside `microtome project`.

    python rtk_geometry.py --microtome PATH/TO/microtome

For flat and curved detectors: `info geometry --export-views --format rtk`, RTK's reader and
its Joseph projector on the same volume. Then the other way: a geometry made by RTK is
imported. Prints the greatest difference over the greatest value, and for comparison that of
the same views with the detector one pixel aside. Needs itk-rtk and numpy.
"""

import argparse
import pathlib
import subprocess
import tempfile

import itk
import numpy as np
from itk import RTK as rtk

NV, NU, PITCH = 24, 40, (1.6, 1.3)
SHAPE, VOXEL = (20, 26, 30), (1.1, 0.9, 1.0)
HEAD = f'kind = "cone3d"\ndetector = [{NV}, {NU}]\n'
VOLUME = f"[volume]\nshape = {list(SHAPE)}\nvoxel_mm = {list(VOXEL)}\n"
CIRCLE = (
    '[trajectory]\nkind = "circular"\nviews = 12\n'
    f"pixel_mm = {list(PITCH)}\nsource_to_axis_mm = 90\naxis_to_detector_mm = 50\n"
)
TURN = '[[transform]]\nof = "views"\naxis = [1, 0, 0]\nangle_deg = -90\n'


def image(array, spacing, origin):
    out = itk.image_from_array(np.ascontiguousarray(array, dtype=np.float32))
    out.SetSpacing(spacing)
    out.SetOrigin(origin)
    return out


def centred(shape, spacing):
    return [-(n - 1) / 2 * h for n, h in zip(shape, spacing)]


def project(geometry, volume):
    views = len(geometry.GetGantryAngles())
    spacing = [PITCH[1], PITCH[0], 1.0]
    origin = centred((NU, NV), spacing) + [0.0]
    stack = image(np.zeros((views, NV, NU)), spacing, origin)
    h = VOXEL[::-1]
    return itk.array_from_image(
        rtk.joseph_forward_projection_image_filter(
            stack, image(volume, h, centred(SHAPE[::-1], h)), geometry=geometry
        )
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--microtome", default="microtome")
    binary = parser.parse_args().microtome
    rng = np.random.default_rng(1)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    volume = (np.exp(-4 * (x**2 + y**2 + z**2)) * (1 + 0.2 * rng.random(SHAPE))).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.save(folder / "v.npy", volume)

        def run(*line):
            subprocess.run([binary, *line], cwd=folder, check=True, stdout=subprocess.DEVNULL)

        def ours(name, text):
            (folder / name).write_text(text)
            out = name + ".npy"
            run("project", "--volume", "v.npy", "--geometry", name, "--out", out)
            return np.load(folder / out)

        def gap(a, b):
            return np.abs(a - b).max() / np.abs(b).max()

        for word, keys in (("flat", ""), ("curved", 'detector_shape = "curved"\n')):
            for turned, tables in (("about z", ""), ("about y", TURN)):
                text = HEAD + keys + VOLUME + CIRCLE + tables
                mine = ours(f"{word}{len(tables)}.toml", text)
                run("info", "geometry", f"{word}{len(tables)}.toml", "--export-views", "g.xml",
                    "--format", "rtk", "--overwrite")
                theirs = project(rtk.read_geometry(str(folder / "g.xml")), volume)
                aside = HEAD + f"detector_offset_mm = [0, {PITCH[1]}]\n" + keys + VOLUME + CIRCLE
                other = ours(f"a{word}{len(tables)}.toml", aside + tables)
                print(f"{word:7} {turned}: {gap(theirs, mine):.1e}   (a pixel aside {gap(theirs, other):.1e})")
        geometry = rtk.ThreeDCircularProjectionGeometry.New()
        for k in range(9):
            geometry.AddProjection(90.0, 140.0, 40.0 * k, 1.5, -0.7, 3.0, -4.0, 0.6, 0.3)
        rtk.write_geometry(geometry, str(folder / "made.xml"))
        table = f'[import]\nfile = "made.xml"\nformat = "rtk"\npixel_mm = {list(PITCH)}\n'
        mine = ours("made.toml", HEAD + VOLUME + table)
        print(f"made by RTK: {gap(project(geometry, volume), mine):.1e}")


main()
