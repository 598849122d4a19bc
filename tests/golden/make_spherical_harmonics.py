"""Golden tables of the real spherical harmonics, from scipy's complex ones.

spherical_harmonics.csv: theta, phi and the value of every (l, m) up to 8 in the
three bases, by the definitions of their papers (DIPY's naming in brackets):
mrtrix3 (tournier07), descoteaux (descoteaux07), descoteaux_legacy.

Run: python3 make_spherical_harmonics.py
"""
import csv
import numpy as np
from scipy.special import sph_harm_y

rng = np.random.default_rng(5)
points = [(0.0, 0.0), (np.pi / 2, 0.0), (np.pi / 2, np.pi / 2)]
points += [(np.arccos(rng.uniform(-1, 1)), rng.uniform(0, 2 * np.pi)) for _ in range(9)]


def real(basis, l, m, theta, phi):
    up = sph_harm_y(l, abs(m), theta, phi)
    signed = sph_harm_y(l, m, theta, phi)
    r2 = np.sqrt(2.0)
    if m == 0:
        return up.real
    if basis == "mrtrix3":
        return r2 * (up.imag if m < 0 else up.real)
    if basis == "descoteaux":
        return r2 * (signed.real if m < 0 else signed.imag)
    return r2 * (up.real if m < 0 else up.imag)


with open("spherical_harmonics.csv", "w", newline="") as f:
    out = csv.writer(f, lineterminator="\n")
    out.writerow(["basis", "l", "m", "theta", "phi", "value"])
    for basis in ("mrtrix3", "descoteaux", "descoteaux_legacy"):
        for theta, phi in points:
            for l in range(0, 9, 2):
                for m in range(-l, l + 1):
                    v = real(basis, l, m, theta, phi)
                    out.writerow([basis, l, m, repr(float(theta)), repr(float(phi)), repr(float(v))])
