"""Tractometer scores of streamlines on the phantoms of ../shared/data/tract.

python3 benches/validation/tracking.py FOLDER TRACTS [SEEDS]

FOLDER holds truth.npz and frac.nii.gz, TRACTS is what `microtome track` wrote (.tck or .trk).
Definitions: ../shared/reference/tract/metrics.md. End cap of a bundle end: the nearest
centre-line point lies within 6 mm (arc length) of that end and the distance is below the
tube's radius + 2 mm. Streamlines of 10 mm and more count.

VC both ends in the two caps of one bundle, IC in caps of other combinations, NC the rest; VB
bundles with a valid streamline, IB distinct invalid pairs; OL and F1 overlap and Dice of the
voxels of valid streamlines with fraction >= 0.25, means over bundles; wander the median
standard deviation of the distance to the centre line, mm.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial import cKDTree


def bundles(folder):
    """Centre lines [mm] every 0.5 mm, radii, and fractions [voxel, bundle]."""
    truth = np.load(folder / "truth.npz", allow_pickle=True)
    offsets = truth["offsets"]
    lines = [truth["points"][a:b] for a, b in zip(offsets[:-1], offsets[1:])]
    image = nib.load(folder / "frac.nii.gz")
    fractions = np.asarray(image.dataobj, float) / 255
    if fractions.ndim == 3:
        fractions = fractions[..., None]
    return lines, np.broadcast_to(truth["radius"], len(lines)), fractions, image.affine


def caps(point, lines, radii, trees):
    """Set of (bundle, end) whose caps hold a point."""
    found = set()
    for b, (line, radius, (tree, arc)) in enumerate(zip(lines, radii, trees)):
        distance, at = tree.query(point)
        if distance < radius + 2:
            if arc[at] <= 6:
                found.add((b, 0))
            if arc[-1] - arc[at] <= 6:
                found.add((b, 1))
    return found


def main():
    folder, path = Path(sys.argv[1]), sys.argv[2]
    lines, radii, fractions, affine = bundles(folder)
    trees = []
    for line in lines:
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        trees.append((cKDTree(line), arc))
    tracts = [np.asarray(s) for s in nib.streamlines.load(path).streamlines]
    length = [np.linalg.norm(np.diff(s, axis=0), axis=1).sum() for s in tracts]
    tracts = [s for s, n in zip(tracts, length) if n >= 10 - 1e-3]
    valid, invalid, none = [[] for _ in lines], [], 0
    for s in tracts:
        first, last = caps(s[0], lines, radii, trees), caps(s[-1], lines, radii, trees)
        own = [b for b in range(len(lines)) if ((b, 0) in first and (b, 1) in last) or ((b, 1) in first and (b, 0) in last)]
        if own:
            valid[own[0]].append(s)
        elif first and last:
            invalid.append((min(b for b, _ in first), min(b for b, _ in last)))
        else:
            none += 1
    inverse = np.linalg.inv(affine)
    overlap, dice, wander = [], [], []
    for b, list_ in enumerate(valid):
        truth = fractions[..., b] >= 0.25
        seen = np.zeros_like(truth)
        for s in list_:
            fine = np.concatenate([s[:-1] + t * np.diff(s, axis=0) for t in np.linspace(0, 1, 5)])
            v = np.round(nib.affines.apply_affine(inverse, fine)).astype(int)
            v = v[((v >= 0) & (v < truth.shape)).all(1)]
            seen[tuple(v.T)] = True
            wander.append(np.std(trees[b][0].query(s)[0]))
        both = (seen & truth).sum()
        overlap.append(both / truth.sum())
        dice.append(2 * both / (seen.sum() + truth.sum()))
    n = max(len(tracts), 1)
    ib = len({tuple(sorted(p)) for p in invalid})
    vb = sum(bool(v) for v in valid)
    vc = sum(map(len, valid))
    mean = np.mean([np.linalg.norm(np.diff(s, axis=0), axis=1).sum() for s in tracts]) if tracts else 0
    print("n | mean mm | VC | IC | NC | VB | IB | OL | F1 | wander")
    print(
        f"{len(tracts)} | {mean:.1f} | {vc / n:.3f} | {len(invalid) / n:.3f} | {none / n:.3f} | {vb}/{len(lines)} | {ib} | "
        f"{np.mean(overlap):.3f} | {np.mean(dice):.3f} | {np.median(wander) if wander else np.nan:.2f}"
    )


if __name__ == "__main__":
    main()
