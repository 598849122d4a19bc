"""Small files of images written by other programs: tests/golden/frames.

Number k, v, u of every stack is (31 k + 7 v + 3 u) mod 251, times `scale` plus `shift`;
the test computes the same. Needs numpy, tifffile, imagecodecs and h5py.
"""

from pathlib import Path

import h5py
import numpy as np
import tifffile

FOLDER = Path(__file__).parent / "frames"
SHAPE = (5, 6, 7)


def stack(n=SHAPE[0], first=0):
    k, v, u = np.meshgrid(np.arange(first, first + n), np.arange(6), np.arange(7), indexing="ij")
    return (31 * k + 7 * v + 3 * u) % 251


def main():
    FOLDER.mkdir(exist_ok=True)
    a = stack()
    tifffile.imwrite(FOLDER / "u8.tif", a.astype("u1"), photometric="minisblack")
    tifffile.imwrite(FOLDER / "u16_lzw.tif", (200 * a).astype("u2"), compression="lzw", predictor=2, photometric="minisblack")
    tifffile.imwrite(FOLDER / "u16_big_endian.tif", (200 * a).astype("u2"), byteorder=">", photometric="minisblack")
    tifffile.imwrite(FOLDER / "f32_deflate.tif", (a / 4 - 9).astype("f4"), compression="zlib", photometric="minisblack", rowsperstrip=2)
    tifffile.imwrite(FOLDER / "f32_tiles.tif", (a / 4 - 9).astype("f4"), tile=(16, 16), photometric="minisblack")
    tifffile.imwrite(FOLDER / "f32_bigtiff.tif", (a / 4 - 9).astype("f4"), bigtiff=True, photometric="minisblack")
    tifffile.imwrite(FOLDER / "imagej.tif", (200 * a).astype("u2"), imagej=True)
    tifffile.imwrite(FOLDER / "rgb.tif", np.zeros((4, 5, 3), "u1"), photometric="rgb")

    with h5py.File(FOLDER / "exchange.h5", "w") as f:
        f.create_dataset("exchange/data", data=(200 * a).astype("u2"), chunks=(2, 3, 7), compression="gzip", shuffle=True)
        f.create_dataset("exchange/data_white", data=stack(3, 9).astype("f4"), chunks=(1, 6, 7), maxshape=(None, 6, 7))
        f["exchange/data_dark"] = stack(2, 7).astype(">i4")
        f["exchange/theta"] = np.arange(5) * 36.0
        f["exchange/theta"].attrs["units"] = "deg"
        f.create_dataset("other/lzf", data=a.astype("f4"), chunks=(1, 6, 7), compression="lzf")
        f["other/text"] = "no numbers"

    key = np.array([2, 1, 0, 0, 1, 0, 3, 0, 1])
    with h5py.File(FOLDER / "nexus.nxs", "w", libver="latest") as f:
        detector = f.create_group("entry1/instrument/detector")
        detector.create_dataset("data", data=(200 * stack(9)).astype("u2"), chunks=(1, 6, 7), compression="gzip")
        detector["image_key"] = key.astype("i4")
        detector["x_pixel_size"] = 3.25
        detector["x_pixel_size"].attrs["units"] = "um"
        f["entry1/sample/rotation_angle"] = np.linspace(0, np.pi, 9)
        f["entry1/sample/rotation_angle"].attrs["units"] = "rad"
        f["entry1/data/data"] = h5py.SoftLink("/entry1/instrument/detector/data")


if __name__ == "__main__":
    main()
