"""Tractometer scores of streamlines on the phantoms of ../shared/data/tract.

python3 benches/validation/tracking.py FOLDER TRACTS

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


def trees_of(lines):
    """A tree and the arc length [mm] of every centre line."""
    out = []
    for line in lines:
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        out.append((cKDTree(line), arc))
    return out


def caps(points, radii, trees):
    """For every point the set of (bundle, end) whose caps hold it."""
    found = [set() for _ in points]
    for b, (radius, (tree, arc)) in enumerate(zip(radii, trees)):
        distance, at = tree.query(points, distance_upper_bound=radius + 2)
        for i in np.flatnonzero(distance < radius + 2):
            if arc[at[i]] <= 6:
                found[i].add((b, 0))
            if arc[-1] - arc[at[i]] <= 6:
                found[i].add((b, 1))
    return found


def score(folder, path):
    """Scores of the streamlines of a file, as a dictionary in the order of the table."""
    lines, radii, fractions, affine = bundles(Path(folder))
    trees = trees_of(lines)
    tracts = [np.asarray(s) for s in nib.streamlines.load(path).streamlines]
    length = np.array([np.linalg.norm(np.diff(s, axis=0), axis=1).sum() for s in tracts])
    tracts = [s for s, n in zip(tracts, length) if n >= 10 - 1e-3]
    n = max(len(tracts), 1)
    ends = [caps(np.array([s[k] for s in tracts]).reshape(-1, 3), radii, trees) for k in (0, -1)]
    valid, invalid, none = [[] for _ in lines], [], 0
    for s, first, last in zip(tracts, *ends):
        own = [b for b, end in sorted(first) if (b, 1 - end) in last]
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
    return {
        "n": len(tracts),
        "mean mm": round(float(length[length >= 10 - 1e-3].mean()) if tracts else 0.0, 1),
        "VC": round(sum(map(len, valid)) / n, 3),
        "IC": round(len(invalid) / n, 3),
        "NC": round(none / n, 3),
        "VB": f"{sum(bool(v) for v in valid)}/{len(lines)}",
        "IB": len({tuple(sorted(p)) for p in invalid}),
        "OL": round(float(np.mean(overlap)), 3),
        "F1": round(float(np.mean(dice)), 3),
        "wander": round(float(np.median(wander)), 2) if wander else float("nan"),
    }


def main():
    found = score(sys.argv[1], sys.argv[2])
    print(" | ".join(found))
    print(" | ".join(str(v) for v in found.values()))


if __name__ == "__main__":
    main()
