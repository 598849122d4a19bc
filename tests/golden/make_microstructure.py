"""`tests/golden/microstructure_signals.csv`: one row a compartment kind, parameter set and measurement.

To add a compartment: write its signal below as a function of its parameters (by name, with `mu` as a
vector), b, g and the pulse times, add parameter sets, and run this script. Needs mpmath; all numbers are
exact decimals and the arithmetic has 40 digits. Units: ms/um^2, um^2/ms, rad, ms.
"""

from pathlib import Path

import exact_pore
import restricted
from mpmath import acos, besseli, cos, cot, diag, eigsy, exp, expm, eye, log, matrix, mp, mpf, nstr, pi, quad, sin, sqrt

mp.dps = 40


def dot(u, v):
    return sum(a * b for a, b in zip(u, v))


def ball(p, b, g, delta, big_delta):
    return exp(-b * p["lambda_iso"])


def no_motion(p, b, g, delta, big_delta):
    return mpf(1)


def stick(p, b, g, delta, big_delta):
    return exp(-b * p["lambda_par"] * dot(g, p["mu"]) ** 2)


def zeppelin(p, b, g, delta, big_delta):
    t2 = dot(g, p["mu"]) ** 2
    return exp(-b * (p["lambda_par"] * t2 + p["lambda_perp"] * (1 - t2)))


def frame(p):
    """R = (minimal rotation of x to mu) (rotation about x by psi), by Rodrigues."""
    mu = p["mu"]
    sine = sqrt(mu[1] ** 2 + mu[2] ** 2)
    k = [mpf(0), -mu[2] / sine, mu[1] / sine]
    generator = matrix([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    angle = acos(mu[0])
    minimal = eye(3) + sin(angle) * generator + (1 - cos(angle)) * generator**2
    about_x = matrix([[1, 0, 0], [0, cos(p["psi"]), -sin(p["psi"])], [0, sin(p["psi"]), cos(p["psi"])]])
    return minimal * about_x


def tensor(p, b, g, delta, big_delta):
    """D = R diag R'."""
    r = frame(p)
    d = r * diag([p["lambda_1"], p["lambda_2"], p["lambda_3"]]) * r.T
    g = matrix(g)
    return exp(-b * (g.T * d * g)[0])


def watson(kernel):
    """The average over axes n of density exp(kappa (mu.n)^2), in polar coordinates about g.

    With z = g.n and alpha the angle between g and mu, mu.n = z cos(alpha) + sqrt(1-z^2) sin(alpha) cos(phi).
    """

    def signal(p, b, g, delta, big_delta):
        kappa = cot(pi * p["odi"] / 2)
        ca = dot(g, p["mu"])
        sa = sqrt(max(mpf(0), 1 - ca**2))
        x = [mpf(1), mpf(0), mpf(0)]

        def ring(z):
            r = sqrt(1 - z**2)
            density = lambda phi: exp(kappa * ((z * ca + r * sa * cos(phi)) ** 2 - 1))
            return quad(density, [0, pi / 2, pi])

        def average(f):
            return quad(lambda z: f(z) * ring(z), [0, mpf(1) / 2, 1])

        along = lambda z: kernel(dict(p, mu=[z, sqrt(1 - z**2), mpf(0)]), b, x, delta, big_delta)
        with mp.workdps(20):
            return average(along) / average(lambda z: mpf(1))

    return signal


def karger(p, b, g, delta, big_delta):
    """exp of the rate matrix itself."""
    first = stick({"mu": p["mu"], "lambda_par": p["stick_lambda_par"]}, b, g, delta, big_delta)
    tensor_of = {"lambda_par": p["zeppelin_lambda_par"], "lambda_perp": p["zeppelin_lambda_perp"]}
    second = zeppelin({"mu": p["mu"], **tensor_of}, b, g, delta, big_delta)
    f, x = p["intra_fraction"], (big_delta - delta / 3) / p["exchange_time_ms"]
    rates = matrix([[(1 - f) * x - log(first), -f * x], [-(1 - f) * x, f * x - log(second)]])
    e = expm(-rates) * matrix([f, 1 - f])
    return e[0] + e[1]


def dephasing(b, delta, big_delta):
    return sqrt(b / (big_delta - delta / 3))


def cylinder_exact(p, b, g, delta, big_delta):
    t2 = dot(g, p["mu"]) ** 2
    across = dephasing(b, delta, big_delta) * sqrt(1 - t2)
    d = p.get("lambda_perp_intrinsic", mpf("1.7"))
    pore = exact_pore.signal("cylinder", p["diameter"], d, across, delta, big_delta)
    return exp(-b * p["lambda_par"] * t2) * pore


def sphere_exact(p, b, g, delta, big_delta):
    d = p.get("lambda_intrinsic", mpf("1.7"))
    return exact_pore.signal("sphere", p["diameter"], d, dephasing(b, delta, big_delta), delta, big_delta)


def plane_exact(p, b, g, delta, big_delta):
    d = p.get("lambda_intrinsic", mpf("1.7"))
    return exact_pore.signal("planes", p["separation"], d, dephasing(b, delta, big_delta), delta, big_delta)


def mean_of_quadratic(m):
    """The integral of exp(n'Mn) over the sphere (up to 4 pi) times exp(-largest eigenvalue), and that eigenvalue.

    About the third eigenvector the azimuth integrates to a Bessel function.
    """
    a, c, d = sorted(eigsy(m, eigvals_only=True))
    f = lambda t: exp(a * t**2 + (c + d) / 2 * (1 - t**2) - d) * besseli(0, (d - c) / 2 * (1 - t**2))
    return quad(f, [0, mpf(1) / 4, mpf(1) / 2, mpf(3) / 4, 1]), d


def bingham(along, across):
    """The average over axes n of density exp(kappa (mu.n)^2 + beta (m2.n)^2).

    The signal exp(-b (across + (along - across) (g.n)^2)) is quadratic in n like the exponent of the density, so
    both integrals are of exp(n'Mn).
    """

    def signal(p, b, g, delta, big_delta):
        kappa = cot(pi * p["odi"] / 2)
        r = frame(p)
        density = r * diag([kappa, p["beta_fraction"] * kappa, 0]) * r.T
        perp = p[across] if across else mpf(0)
        g = matrix(g)
        whole, shift = mean_of_quadratic(density - b * (p[along] - perp) * g * g.T)
        plain, plain_shift = mean_of_quadratic(density)
        return exp(-b * perp + shift - plain_shift) * whole / plain

    return signal


SIGNALS = {
    "cylinder_exact": cylinder_exact,
    "sphere_exact": sphere_exact,
    "plane_exact": plane_exact,
    "ball": ball,
    "dot": no_motion,
    "stick": stick,
    "zeppelin": zeppelin,
    "tensor": tensor,
    "karger": karger,
    "stick|watson": watson(stick),
    "zeppelin|watson": watson(zeppelin),
    "stick|bingham": bingham("lambda_par", None),
    "zeppelin|bingham": bingham("lambda_par", "lambda_perp"),
}

SIGNALS |= restricted.SIGNALS

# Axes are exact decimals of length one.
SETS = [
    ("ball", "lambda_iso=0.812"),
    ("ball", "lambda_iso=3"),
    ("dot", ""),
    ("stick", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7"),
    ("stick", "mu_x=0;mu_y=-0.6;mu_z=-0.8;lambda_par=0.35"),
    ("zeppelin", "mu_x=-0.6;mu_y=0.64;mu_z=0.48;lambda_par=1.9;lambda_perp=0.4"),
    ("zeppelin", "mu_x=0;mu_y=0;mu_z=1;lambda_par=0.5;lambda_perp=1.1"),
    ("tensor", "mu_x=0.36;mu_y=0.48;mu_z=0.8;psi=0.7;lambda_1=2;lambda_2=1;lambda_3=0.3"),
    ("tensor", "mu_x=-0.6;mu_y=0.64;mu_z=-0.48;psi=2.9;lambda_1=0.4;lambda_2=1.5;lambda_3=0.9"),
    ("tensor", "mu_x=0;mu_y=1;mu_z=0;psi=0;lambda_1=1.6;lambda_2=0.7;lambda_3=0.2"),
]

SETS += [
    ("stick|watson", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7;odi=0.3"),
    ("stick|watson", "mu_x=0;mu_y=0.6;mu_z=0.8;lambda_par=2.6;odi=0.04"),
    ("zeppelin|watson", "mu_x=-0.6;mu_y=0.64;mu_z=0.48;lambda_par=1.9;lambda_perp=0.4;odi=0.6"),
]
SETS += restricted.SETS
SETS += [
    ("stick|bingham", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7;odi=0.3;psi=0.7;beta_fraction=0.5"),
    ("stick|bingham", "mu_x=0;mu_y=0.6;mu_z=0.8;lambda_par=2.6;odi=0.02;psi=2.5;beta_fraction=1"),
    ("stick|bingham", "mu_x=0.6;mu_y=0;mu_z=-0.8;lambda_par=2.1;odi=0.05;psi=1.2;beta_fraction=0"),
    (
        "zeppelin|bingham",
        "mu_x=-0.6;mu_y=0.64;mu_z=0.48;lambda_par=1.9;lambda_perp=0.4;odi=0.1;psi=0.3;beta_fraction=0.85",
    ),
    (
        "zeppelin|bingham",
        "mu_x=0;mu_y=1;mu_z=0;lambda_par=0.5;lambda_perp=1.1;odi=0.7;psi=1.9;beta_fraction=0.4",
    ),
]

SETS += [
    ("cylinder_exact", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.4;diameter=7"),
    ("cylinder_exact", "mu_x=-0.6;mu_y=0.64;mu_z=0.48;lambda_par=1.7;diameter=2"),
    ("sphere_exact", "diameter=9"),
    ("sphere_exact", "diameter=4"),
    ("sphere_exact", "diameter=7;lambda_intrinsic=1.1"),
    ("plane_exact", "separation=8"),
    ("plane_exact", "separation=3"),
]

SETS += [
    ("karger", "mu_x=0.36;mu_y=0.48;mu_z=0.8;stick_lambda_par=2.1;zeppelin_lambda_par=1.4;"
     "zeppelin_lambda_perp=0.6;intra_fraction=0.55;exchange_time_ms=20"),
]

# b, g, delta, Delta.
MEASUREMENTS = [
    ("0", ("1", "0", "0"), "12.9", "21.8"),
    ("1", ("0.48", "-0.6", "0.64"), "12.9", "21.8"),
    ("2.5", ("0", "0.6", "0.8"), "8", "49"),
    ("8", ("-0.64", "-0.48", "0.6"), "20", "40"),
]


def main():
    rows = ["kind,parameters,b_ms_per_um2,gx,gy,gz,delta_ms,big_delta_ms,signal"]
    for kind, text in SETS:
        p = {name: mpf(value) for name, _, value in (pair.partition("=") for pair in text.split(";") if pair)}
        if "mu_x" in p:
            p["mu"] = [p["mu_x"], p["mu_y"], p["mu_z"]]
            assert abs(dot(p["mu"], p["mu"]) - 1) < mpf(10) ** -30
        for b, g, delta, big_delta in MEASUREMENTS:
            direction = [mpf(c) for c in g]
            assert abs(dot(direction, direction) - 1) < mpf(10) ** -30
            signal = SIGNALS[kind](p, mpf(b), direction, mpf(delta), mpf(big_delta))
            rows.append(",".join([kind, text, b, *g, delta, big_delta, nstr(signal, 17)]))
    target = Path(__file__).with_name("microstructure_signals.csv")
    target.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
