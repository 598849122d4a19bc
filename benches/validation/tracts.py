"""Do nibabel, trx-python and VTK find the streamlines that microtome writes, at the right place.

    python benches/validation/tracts.py [OTHER ...]

Writes files by `cargo run --release -p microtome-datasets --example tract_files` into a
temporary folder and reads them: TCK and TRX positions and all columns have to be equal to the
bit, TRK positions too for grids whose sizes float32 holds (exact, turned), and within rounding
for the others. One voxel index is worked out by hand, so that a half-voxel shift shows: the
centre of voxel (0, 0, 0) lies at the affine's last column. OTHER are folders with other releases
of trx-python (unpacked wheels), which read the TRX files as well.

Needs numpy, nibabel, trx-python; vtk where it is installed. Prints the table of
docs/validation.md.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parents[2]
GRIDS = ["exact", "turned", "oblique", "negative"]

# Run by another release of trx-python: a file, then positions and offsets as .npy.
OTHER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from trx.trx_file_memmap import load
import trx.trx_file_memmap as module
assert module.__file__.startswith(sys.argv[1]), module.__file__
trx = load(sys.argv[2])
np.savez(sys.argv[3], positions=np.array(trx.streamlines._data), lengths=np.array(trx.streamlines._lengths),
         fod=np.array(trx.data_per_vertex['fod']._data), pair=np.array(trx.data_per_streamline['pair']))
"""


def bits(a):
    return np.ascontiguousarray(a, dtype="<f4").view("<u4")


def equal(found, wanted):
    return found.shape == wanted.shape and bool((bits(found) == bits(wanted)).all())


def worst(found, wanted):
    assert found.shape == wanted.shape
    return float(np.abs(found.astype(float) - wanted.astype(float)).max())


def row(name, file, reader, positions, columns):
    print(f"| {name} | {file} | {reader} | {positions} | {columns} |", flush=True)


def from_vtk(path):
    try:
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy
    except ImportError:
        return None
    reader = vtk.vtkPolyDataReader()
    reader.SetFileName(str(path))
    reader.ReadAllFieldsOn()
    reader.Update()
    data = reader.GetOutput()
    points = vtk_to_numpy(data.GetPoints().GetData()) * np.array([-1, -1, 1], dtype=np.float32)
    lengths = [data.GetCell(k).GetNumberOfPoints() for k in range(data.GetNumberOfCells())]
    field = lambda of, name: vtk_to_numpy(of.GetArray(name))
    return (
        points,
        np.array(lengths),
        field(data.GetPointData(), "fod"),
        field(data.GetPointData(), "tangent"),
        field(data.GetCellData(), "pair"),
    )


def check(folder, name, others):
    table = np.loadtxt(folder / f"{name}.csv", delimiter=",", dtype=np.float32)
    points, fod, tangent = table[:, 1:4], table[:, 4], table[:, 5:8]
    lengths = np.bincount(table[:, 0].astype(int))
    seed = np.arange(len(lengths), dtype=np.float32)
    pair = np.stack([seed, -seed / 2], axis=1)

    tck = nib.streamlines.load(folder / f"{name}.tck")
    assert (tck.streamlines.get_data().shape[0], len(tck.streamlines)) == (len(points), len(lengths))
    assert (tck.streamlines._lengths == lengths).all()
    good = equal(tck.streamlines.get_data(), points)
    assert good
    row(name, "TCK", f"nibabel {nib.__version__}", "equal to the bit", "none")

    trk = nib.streamlines.load(folder / f"{name}.trk")
    assert (trk.streamlines._lengths == lengths).all()
    found = trk.streamlines.get_data()
    assert equal(trk.tractogram.data_per_point["fod"].get_data()[:, 0], fod)
    assert equal(trk.tractogram.data_per_point["tangent"].get_data(), tangent)
    assert equal(np.asarray(trk.tractogram.data_per_streamline["pair"]), pair)
    # The header's corner and centre: stored numbers to voxels by hand.
    stored = nib.streamlines.TrkFile.load(folder / f"{name}.trk", lazy_load=True)
    affine = stored.header["voxel_to_rasmm"].astype(float)
    assert "".join(nib.aff2axcodes(affine)) == stored.header["voxel_order"].decode()
    raw = np.fromfile(folder / f"{name}.trk", dtype="<f4", offset=1004, count=3).astype(float)
    voxel = raw / stored.header["voxel_sizes"] - 0.5
    by_hand = affine[:3, :3] @ voxel + affine[:3, 3]
    assert np.abs(by_hand - points[0]).max() < 1e-4, (by_hand, points[0])
    if name in {"exact", "turned"}:
        assert equal(found, points)
        row(name, "TRK", f"nibabel {nib.__version__}", "equal to the bit", "equal to the bit")
    else:
        error = worst(found, points)
        assert error < 1e-4
        row(name, "TRK", f"nibabel {nib.__version__}", f"within {error:.1e} mm", "equal to the bit")

    import trx
    from trx.trx_file_memmap import load

    for ending in ["trx", "half.trx"]:
        file = load(str(folder / f"{name}.{ending}"))
        assert (file.streamlines._lengths == lengths).all()
        found = np.array(file.streamlines._data)
        columns = (
            equal(np.array(file.data_per_vertex["fod"]._data)[:, 0], fod)
            and equal(np.array(file.data_per_vertex["tangent"]._data), tangent)
            and equal(np.array(file.data_per_streamline["pair"]), pair)
            and equal(np.array(file.data_per_streamline["seed"])[:, 0], seed)
            and list(file.groups["first"]) == [0, 1, 2]
        )
        assert columns
        assert np.allclose(file.header["VOXEL_TO_RASMM"], affine)
        assert list(file.header["DIMENSIONS"]) == [91, 109, 40]
        version = f"trx-python {getattr(trx, '__version__', '')}".strip()
        if ending == "trx":
            assert equal(found, points)
            row(name, "TRX", version, "equal to the bit", "equal to the bit")
        else:
            assert found.dtype == np.float16 and (found == points.astype(np.float16)).all()
            row(name, "TRX, float16", version, "the nearest float16", "equal to the bit")
        file.close()

    for other in others:
        out = folder / "other.npz"
        command = [sys.executable, "-c", OTHER, other, str(folder / f"{name}.trx"), str(out)]
        subprocess.run(command, check=True)
        found = np.load(out)
        assert equal(found["positions"], points) and (found["lengths"] == lengths).all()
        assert equal(found["fod"][:, 0], fod) and equal(found["pair"], pair)
        row(name, "TRX", f"trx-python {Path(other).name}", "equal to the bit", "equal to the bit")

    polydata = from_vtk(folder / f"{name}.vtk")
    if polydata is None:
        print(f"{name}: VTK is not installed; the .vtk file was not read", file=sys.stderr)
        return
    assert equal(polydata[0], points) and (polydata[1] == lengths).all()
    assert equal(polydata[2], fod) and equal(polydata[3], tangent) and equal(polydata[4], pair)
    import vtk

    row(name, "VTK", f"VTK {vtk.VTK_VERSION}", "equal to the bit, in LPS", "equal to the bit")


def main():
    print("| grid | file | read by | positions | columns |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        example = ["cargo", "run", "--quiet", "--release", "-p", "microtome-datasets", "--example", "tract_files"]
        subprocess.run([*example, "--", folder], check=True, cwd=HERE)
        for name in GRIDS:
            check(Path(folder), name, sys.argv[1:])


if __name__ == "__main__":
    main()
