"""How near `track --rule peak` and MRtrix's SD_STREAM are from the same seeds and FODs.

python3 benches/peers/sdstream.py MICROTOME TCKGEN FOD MASK [SEEDS [FLAGS...]]

Both take Euler steps of 0.2 mm, at most 60 degrees, an amplitude of 0.1 and more, inside MASK; streamlines of 10 mm and
more count. Seeds are those of microtome; tckgen takes each as a sphere of 1e-4 mm, 40 times in the mean, as it begins in
a random direction. Counted: microtome's streamlines of which one of tckgen's from the same seed has a Hausdorff
distance below 1 mm (from points to segments, both ways), and the other way round. Needs numpy, nibabel, scipy.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial import cKDTree


def one_way(a, b):
    """Largest distance of points of a from the polyline b (points every 0.2 mm: half of that is the error)."""
    return cKDTree(b).query(a)[0].max()


def hausdorff(a, b):
    return max(one_way(a, b), one_way(b, a))


def length(s):
    return np.linalg.norm(np.diff(s, axis=0), axis=1).sum()


def main():
    program, tckgen, fod, mask = sys.argv[1:5]
    n = sys.argv[5] if len(sys.argv) > 5 else "400"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        line = (
            f"track --fod {fod} --basis mrtrix3 --seeds {mask} --mask {mask} --n-seeds {n} --rule peak --integrator euler "
            f"--step-mm 0.2 --max-angle-deg 60 --threshold 0.1 --relative-peak-threshold 0 --min-separation-angle-deg 1 "
            f"--min-length-mm 0 --max-length-mm 200 --out ours.trk --quiet"
        )
        subprocess.run([program, *line.split(), *sys.argv[6:]], cwd=folder, check=True)
        file = nib.streamlines.load(folder / "ours.trk")
        ours = [np.asarray(s) for s in file.streamlines]
        numbers = file.tractogram.data_per_streamline["seed"][:, 0].astype(int)
        at = file.tractogram.data_per_streamline["seed_point"][:, 0].astype(int)
        seeds = {k: s[i] for k, s, i in zip(numbers, ours, at)}
        spheres = [w for p in seeds.values() for w in ("-seed_sphere", f"{p[0]:.6f},{p[1]:.6f},{p[2]:.6f},1e-4")]
        theirs, tree, order = [], cKDTree(list(seeds.values())), list(seeds)
        line = f"-algorithm SD_STREAM -mask {mask} -step 0.2 -angle 60 -cutoff 0.1 -minlength 10 -maxlength 200 -seeds {40 * len(seeds)} -select 0 -nthreads 1 -quiet -force"
        subprocess.run([tckgen, fod, "theirs.tck", *line.split(), *spheres, "-output_seeds", "seeds.csv"], cwd=folder, check=True)
        theirs = [np.asarray(s) for s in nib.streamlines.load(folder / "theirs.tck").streamlines]
        own = {}
        for s in theirs:  # the seed is a point of its streamline
            near, which = tree.query(s)
            own.setdefault(order[which[near.argmin()]], []).append(s)
            assert near.min() < 0.01, near.min()
        mine = {}
        for k, s in zip(numbers, ours):
            if length(s) >= 10:
                mine.setdefault(k, []).append(s)
        for name, a, b in (("microtome's near tckgen's", mine, own), ("tckgen's near microtome's", own, mine)):
            best = [min((hausdorff(s, t) for t in b.get(k, [])), default=np.inf) for k, list_ in a.items() for s in list_]
            best = np.array(best)
            print(f"{name}: {len(best)}, within 1 mm {100 * (best < 1).mean():.1f} %, within 0.2 mm {100 * (best < 0.2).mean():.1f} %, "
                  f"without one {100 * np.isinf(best).mean():.1f} %, median {np.median(best):.3f} mm")


if __name__ == "__main__":
    main()
