"""`python3 make_stepped.py > stepped.csv`: exact signals of stepped, shaped and turning gradients in pores.

    dw/dt = (-L + i g(t) . X) w,    S = w_0 . w(T)

in the polynomials x^a y^b z^c of the unit interval, disc or ball up to a degree, made orthonormal class by class
of parity with 50 digits; L holds the integrals of grad u . grad v and, for a relaxing wall, of u v over the wall.
Steps of a constant gradient are matrix exponentials (scipy); sinusoids are Strang's splitting of 2 n, 4 n and
8 n steps a block, extrapolated twice. Nothing of it is shared with `kernels/src/restricted`: no angular orders,
no eigenvalues of radial functions, no rational approximation, no series of Magnus.

Every row is made with two degrees; the column `change` is their difference, 5e-10 or less. Signals are real: all
shapes are symmetric about their centre. Lengths in um, times in
ms, gradients (gamma times gradient) in rad/(ms um). `course` lists duration, gx, gy, gz of steps, or
`sine n period gap g`: two blocks of n periods of g sin, the second reversed, after a gap; cosine likewise.
`python3 make_stepped.py SHAPE SIZE DIFFUSIVITY RELAXIVITY COURSE` prints one signal and its change alone.
Needs numpy, scipy and mpmath (gmpy2 makes it faster); some minutes.
"""

import itertools
import sys

import numpy as np
from mpmath import mp, mpf
from scipy.linalg import expm

mp.dps = 50
DEGREES = {1: (36, 44), 2: (22, 26), 3: (12, 14)}
CLASSES = {}


def sphere_mean(powers):
    """The mean of x^a y^b z^c over the unit sphere of d dimensions (Folland 2001, doi:10.2307/2695802)."""
    d, total = len(powers), sum(powers)
    if any(p % 2 for p in powers):
        return mpf(0)
    out = mpf(1)
    for p in powers:
        for k in range(1, p, 2):
            out *= k
    for k in range(0, total, 2):
        out /= d + k
    return out


def ball_mean(powers):
    d = len(powers)
    return sphere_mean(powers) * d / (d + sum(powers))


def inverse_cholesky(matrix):
    """The inverse of the lower factor of a symmetric matrix, by rows."""
    n = len(matrix)
    low = [[mpf(0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i][j] - mp.fdot(low[i][:j], low[j][:j])
            low[i][j] = mp.sqrt(rest) if i == j else rest / low[j][j]
    inverse = [[mpf(0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            right = mpf(1 if i == j else 0) - mp.fdot(low[i][j:i], [inverse[k][j] for k in range(j, i)])
            inverse[i][j] = right / low[i][i]
    return inverse


def between(left, matrix, right):
    """left matrix right^T as doubles; left and right are lower triangles."""
    half = [[mp.fdot(row[: j + 1], right[j][: j + 1]) for j in range(len(right))] for row in matrix]
    columns = list(zip(*half))
    out = [[mp.fdot(row[: i + 1], column[: i + 1]) for column in columns] for i, row in enumerate(left)]
    return np.array(out, dtype=float)


def system(d, degree):
    """L of diffusion, L of the wall, X of every axis, the uniform state; orthonormal for the mean."""
    if (d, degree) in CLASSES:
        return CLASSES[d, degree]
    all_powers = [p for p in itertools.product(range(degree + 1), repeat=d) if sum(p) <= degree]
    parities = list(itertools.product((0, 1), repeat=d))
    groups = [[p for p in all_powers if tuple(v % 2 for v in p) == parity] for parity in parities]
    ends = np.cumsum([0] + [len(g) for g in groups])
    size = ends[-1]
    diffusion, wall = np.zeros((size, size)), np.zeros((size, size))
    axes = [np.zeros((size, size)) for _ in range(d)]
    means = {}

    def mean(powers):
        key = tuple(sorted(powers))
        if key not in means:
            means[key] = ball_mean(key)
        return means[key]

    inverses = []
    for group in groups:
        inverses.append(inverse_cholesky([[mean([a + b for a, b in zip(p, q)]) for q in group] for p in group]))

    def gradient(p, q):
        out = mpf(0)
        for a in range(d):
            if p[a] and q[a]:
                out += p[a] * q[a] * mean([u + v - 2 * (k == a) for k, (u, v) in enumerate(zip(p, q))])
        return out

    for g, group in enumerate(groups):
        here = slice(ends[g], ends[g + 1])
        diffusion[here, here] = between(inverses[g], [[gradient(p, q) for q in group] for p in group], inverses[g])
        surface = [[d * sphere_mean([a + b for a, b in zip(p, q)]) for q in group] for p in group]
        wall[here, here] = between(inverses[g], surface, inverses[g])
        for a in range(d):
            other = parities.index(tuple((v + (k == a)) % 2 for k, v in enumerate(parities[g])))
            if other < g:
                continue
            there = slice(ends[other], ends[other + 1])
            table = [
                [mean([u + v + (k == a) for k, (u, v) in enumerate(zip(p, q))]) for q in groups[other]] for p in group
            ]
            block = between(inverses[g], table, inverses[other])
            axes[a][here, there] = block
            axes[a][there, here] = block.T
    start = np.zeros(size)
    start[0] = 1.0  # The constant comes first in its class, which is the first.
    CLASSES[d, degree] = diffusion, wall, axes, start
    return CLASSES[d, degree]


def signal(shape, size, diffusivity, relaxivity, course, degree):
    d = {"planes": 1, "cylinder": 2, "sphere": 3}[shape]
    unit = size / 2 if shape == "planes" else size
    diffusion, wall, axes, start = system(d, degree)
    rate = diffusivity / unit**2 * diffusion + relaxivity / unit * wall
    if isinstance(course, tuple):
        return sinusoid(rate, unit * axes[0], start, course)
    state = start.astype(complex)
    for time, *g in course:
        turn = sum(unit * g[a] * axes[a] for a in range(d))
        state = expm(time * (-rate + 1j * turn)) @ state
    return start @ state


def sinusoid(rate, x, start, course):
    kind, periods, period, gap, g = course
    decay, u = np.linalg.eigh(rate)
    place, v = np.linalg.eigh(u.T @ x @ u)
    wave = np.sin if kind == "sine" else np.cos
    block = periods * period
    found = []
    for steps in (1000, 2000, 4000):
        h = block / steps
        half, state = np.exp(-decay * h / 2), (u.T @ start).astype(complex)
        for sign in (1, -1):
            for k in range(steps):
                strength = sign * g * wave(2 * np.pi * (k + 0.5) * h / period)
                state = half * (v @ (np.exp(1j * h * strength * place) * (v.T @ (half * state))))
            if sign == 1:
                state = np.exp(-decay * gap) * state
        found.append((u.T @ start) @ state)
    first, second = (4 * found[1] - found[0]) / 3, (4 * found[2] - found[1]) / 3
    return (16 * second - first) / 15


def courses(d):
    """Stepped gradients: pulses with ramps in three steps, ten random steps that turn, a constant one."""
    rng = np.random.default_rng(d)
    ramped = []
    for sign, rest in ((1, 9.3), (-1, 0)):
        ramped += [(0.4, sign * 0.02, 0, 0), (0.4, sign * 0.05, 0, 0), (5.0, sign * 0.07, 0, 0), (0.8, sign * 0.035, 0, 0)]
        if rest:
            ramped.append((rest, 0, 0, 0))
    steps = []
    for _ in range(10):
        g = np.zeros(3)
        g[:d] = np.round(rng.uniform(-0.12, 0.12, d), 4)
        steps.append((float(np.round(rng.uniform(0.3, 4.0), 3)), *map(float, g)))
    return [ramped, steps, [(12.0, 0.05, 0.03 * (d > 1), 0)]]


def main():
    print("shape,size,diffusivity,relaxivity,course,signal,change")
    for shape, sizes in (("planes", (4.0, 16.0)), ("cylinder", (3.0, 7.0)), ("sphere", (2.5, 6.0))):
        d = {"planes": 1, "cylinder": 2, "sphere": 3}[shape]
        rows = []
        for size, relaxivity in ((sizes[0], 0.0), (sizes[1], 0.0), (sizes[0], 0.05)):
            rows += [(size, relaxivity, course) for course in courses(d)]
        if d < 3:
            rows += [(sizes[1], 0.0, ("cosine", 4, 5.0, 5.0, 0.1)), (sizes[0], 0.05, ("sine", 2, 10.0, 3.0, 0.08))]
        else:
            rows += [(sizes[1], 0.0, ("cosine", 2, 5.0, 2.0, 0.1))]
        for size, relaxivity, course in rows:
            few, value = (signal(shape, size, 1.7, relaxivity, course, degree) for degree in DEGREES[d])
            name = " ".join(map(str, course)) if isinstance(course, tuple) else ";".join(
                " ".join(f"{v:g}" for v in step) for step in course
            )
            change = abs(value - few)
            print(f"{shape},{size},1.7,{relaxivity},{name},{value.real:.12f},{change:.1e}", flush=True)
            if change > 5e-10:
                print(f"{shape} {size}: not settled", file=sys.stderr)


def one(shape, size, diffusivity, relaxivity, text):
    d = {"planes": 1, "cylinder": 2, "sphere": 3}[shape]
    words = text.split()
    if words[0] in ("sine", "cosine"):
        course = (words[0], *map(float, words[1:]))
    else:
        course = [tuple(map(float, step.split())) for step in text.split(";")]
    numbers = float(size), float(diffusivity), float(relaxivity)
    few, value = (signal(shape, *numbers, course, degree) for degree in DEGREES[d])
    print(f"{value.real:.12f} {abs(value - few):.1e}")


if __name__ == "__main__":
    one(*sys.argv[1:]) if sys.argv[1:] else main()
