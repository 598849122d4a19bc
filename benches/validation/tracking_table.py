"""Scores of the rules of `microtome track` on the phantoms, beside MRtrix from as many seeds.

python3 benches/validation/tracking_table.py MICROTOME DATA isbi2013 [SEEDS...]
python3 benches/validation/tracking_table.py MICROTOME DATA phantoms [TCKGEN]

DATA is ../shared/data/tract. `isbi2013` makes FODs (response, fit --model csd), then runs every line of RULES from
every number of SEEDS (3,000 and 10,000). `phantoms` takes the FODs of MRtrix beside the other phantoms, 1,500 seeds, and
runs tckgen's iFOD2 and SD_STREAM (defaults, as in ../shared/reference/tract/README.md) on the same FODs where TCKGEN
is given. Scores: tracking.py. Needs nibabel, scipy.
"""

import subprocess
import sys
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


def isbi(program, data, seeds, folder):
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
        for name in ("iFOD2", "SD_STREAM") if tckgen else ():
            out = folder / "theirs.tck"
            line = f"-algorithm {name} -seed_image {here}/mask.nii.gz -mask {here}/mask.nii.gz -seeds 1500 -select 0 -nthreads 1 -force -quiet"
            subprocess.run([tckgen, here / "fod.nii.gz", out, *line.split()], check=True)
            row(f"{phantom}: {name} of MRtrix", 1500, score(here, out))


def main():
    program, data, what, *more = sys.argv[1:]
    program, data = str(Path(program).resolve()), Path(data).resolve()
    with tempfile.TemporaryDirectory() as folder:
        if what == "isbi2013":
            isbi(program, data / what, more or ["3000", "10000"], Path(folder))
        else:
            phantoms(program, data, more[0] if more else None, Path(folder))


if __name__ == "__main__":
    main()
