"""Scores of the rules of `microtome track` on the phantoms, beside MRtrix from as many seeds.

python3 benches/validation/tracking_table.py MICROTOME DATA isbi2013 [--seeds 3000 10000] [--tckgen TCKGEN]
python3 benches/validation/tracking_table.py MICROTOME DATA phantoms [--tckgen TCKGEN]

DATA is ../shared/data/tract. `isbi2013` makes FODs (response, fit --model csd), then runs every line of RULES from
as many seeds. `phantoms` takes the FODs of MRtrix beside the other phantoms and 1,500 seeds. Where TCKGEN is given (MRtrix
3.0.3, Debian: mrtrix3) its iFOD2 and SD_STREAM run on the same FODs, with their defaults and `-mask`, as in
../shared/reference/tract/README.md. Scores: tracking.py. Needs nibabel, scipy.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from tracking import score

PHANTOMS = ["cross90", "cross45", "arcs", "helix", "kiss"]
GENTLE = "--max-angle-deg 16 --seed-directions largest"
# Name, flags beside --step-mm 1, the mask in which streamlines stay: voxels with half of a tube or more, or a quarter.
RULES = [
    ("peak", "--rule peak", "half"),
    ("closest", "--rule closest", "half"),
    ("probabilistic", "--rule probabilistic", "half"),
    ("ifod2", "--rule ifod2", "half"),
    ("ptt", "--rule ptt", "half"),
    ("peak, 16°, largest", f"--rule peak {GENTLE}", "half"),
    ("peak, 16°, largest", f"--rule peak {GENTLE}", "quarter"),
    ("closest", "--rule closest", "quarter"),
    ("probabilistic", "--rule probabilistic", "quarter"),
    ("probabilistic, 0.2", "--rule probabilistic --pmf-threshold 0.2", "quarter"),
    ("ifod2", "--rule ifod2", "quarter"),
    ("ptt", "--rule ptt", "quarter"),
]


def row(name, seeds, found):
    print(f"| {name} | {seeds} | " + " | ".join(str(v) for v in found.values()) + " |", flush=True)


def head(found):
    print("| rule, mask | seeds | " + " | ".join(found) + " |")
    print("|---" * (len(found) + 2) + "|")


def track(program, data, fod, flags, seeds, mask, out):
    line = f"track --fod {fod} --basis mrtrix3 --seeds {data}/mask.nii.gz --n-seeds {seeds} --step-mm 1 --mask {mask}"
    subprocess.run([program, *f"{line} --out {out} --overwrite --quiet {flags}".split()], check=True)


def quarter(data, out):
    """The mask of voxels with a quarter of any tube or more."""
    image = nib.load(data / "frac.nii.gz")
    inside = np.asarray(image.dataobj).max(axis=3) >= 0.25 * 255
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), image.affine), out)


def mrtrix(tckgen, data, fod, seeds, out):
    """Scores of MRtrix's rules by name."""
    for name in ("iFOD2", "SD_STREAM") if tckgen else ():
        line = f"-algorithm {name} -seed_image {data}/mask.nii.gz -mask {data}/mask.nii.gz -seeds {seeds} -select 0"
        subprocess.run([tckgen, fod, out, *line.split(), "-nthreads", "1", "-force", "-quiet"], check=True)
        yield f"MRtrix {name}", score(data, out)


def isbi(program, data, seeds, tckgen, folder):
    gradients = f"--dwi {data}/dwi.nii.gz --bval {data}/dwi.bval --bvec {data}/dwi.bvec --mask {data}/mask.nii.gz --quiet"
    response = f"response {gradients} --out {folder}/response.toml"
    fit = f"fit --model csd --response {folder}/response.toml {gradients} --out {folder}/csd"
    # FODs of the whole image: streamlines need them beyond the mask, too.
    fit = fit.replace(f"--mask {data}/mask.nii.gz", f"--mask {data}/brain.nii.gz")
    for line in (response, fit):
        subprocess.run([program, *line.split()], check=True)
    masks = {"half": data / "mask.nii.gz", "quarter": folder / "quarter.nii.gz"}
    quarter(data, masks["quarter"])
    out = folder / "tracts.tck"
    first = True
    for n in seeds:
        for name, flags, mask in RULES:
            track(program, data, folder / "csd/fod.nii.gz", flags, n, masks[mask], out)
            found = score(data, out)
            if first:
                head(found)
            first = False
            row(f"{name}, {mask}", n, found)
        for name, found in mrtrix(tckgen, data, folder / "csd/fod.nii.gz", n, folder / "theirs.tck"):
            row(f"{name}, half", n, found)


def phantoms(program, data, tckgen, folder):
    first = True
    for phantom in PHANTOMS:
        here = data / phantom
        rules = [("peak", "--rule peak"), ("ifod2", "--rule ifod2"), ("probabilistic", "--rule probabilistic"), ("ptt", "--rule ptt")]
        for name, flags in rules:
            out = folder / "tracts.tck"
            track(program, here, here / "fod.nii.gz", flags, 1500, here / "mask.nii.gz", out)
            found = score(here, out)
            if first:
                head(found)
            first = False
            row(f"{phantom}: {name}", 1500, found)
        for name, found in mrtrix(tckgen, here, here / "fod.nii.gz", 1500, folder / "theirs.tck"):
            row(f"{phantom}: {name}", 1500, found)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=["isbi2013", "phantoms"])
    parser.add_argument("--seeds", nargs="+", default=["3000", "10000"])
    parser.add_argument("--tckgen")
    given = parser.parse_args()
    program, data = str(Path(given.program).resolve()), given.data.resolve()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "isbi2013":
            isbi(program, data / given.what, given.seeds, given.tckgen, Path(folder))
        else:
            phantoms(program, data, given.tckgen, Path(folder))


if __name__ == "__main__":
    main()
