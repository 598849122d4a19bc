"""Signals of compartments behind walls, as plain series of 40 digits, for `make_microstructure.py`.

Each is a function of the parameters by name (`mu` a vector), b, g and the pulse times.
Units: ms/um^2, um^2/ms, um, ms. Needs mpmath.
"""

from functools import lru_cache

from mpmath import besselj, cos, exp, findroot, log, mp, mpf, pi, sqrt

mp.dps = 40


def dot(u, v):
    return sum(a * b for a, b in zip(u, v))


def tau(delta, big_delta):
    return big_delta - delta / 3


def temporal_zeppelin(p, b, g, delta, big_delta):
    perp = p["lambda_inf"] + p["a"] * (log(big_delta / delta) + mpf(3) / 2) / tau(delta, big_delta)
    t2 = dot(g, p["mu"]) ** 2
    return exp(-b * (p["lambda_par"] * t2 + perp * (1 - t2)))


def dephasing(b, delta, big_delta):
    return sqrt(b / tau(delta, big_delta))


def radial(n, x, dimension):
    """J_n in two dimensions, j_n in three."""
    return besselj(n, x) if dimension == 2 else sqrt(pi / (2 * x)) * besselj(n + mpf(1) / 2, x)


def radial_slope(n, x, dimension):
    if n == 0:
        return -radial(1, x, dimension)
    # Holds in both dimensions.
    return n / x * radial(n, x, dimension) - radial(n + 1, x, dimension)


@lru_cache(maxsize=None)
def zeros(n, dimension, reach):
    """Positive zeros of the derivative up to `reach`."""
    def slope(x):
        return radial_slope(n, x, dimension)

    out, x, step = [], mpf(n) * mpf("0.9") + mpf("0.2"), mpf("0.4")
    before = slope(x)
    while x < reach:
        now = slope(x + step)
        if before * now < 0:
            out.append(findroot(slope, (x, x + step), solver="anderson", tol=mpf(10) ** -70))
        x, before = x + step, now
    return out


@lru_cache(maxsize=None)
def many_zeros(dimension, count):
    """The first zeros of order 1, by Newton's method from McMahon's two terms."""
    out = []
    for m in range(1, count + 1):
        if m < 4:
            out.append(zeros(1, dimension, 12)[m - 1])
            continue
        start = (m - mpf("0.25")) * pi if dimension == 2 else m * pi
        x = start - (mpf(7) / 8 if dimension == 2 else 2) / start
        k = 1 if dimension == 2 else 2
        for _ in range(3):
            # f'' = -(d - 1)/x f' - (1 - k/x^2) f.
            f, d = radial(1, x, dimension), radial_slope(1, x, dimension)
            x -= d / (-(dimension - 1) / x * d - (1 - k / x**2) * f)
        assert not out or abs(x - out[-1] - pi) < mpf("0.1")
        out.append(x)
    return out


def gpd(radius, diffusivity, b, delta, big_delta, dimension):
    """Van Gelderen's and Balinov's series of 1000 terms, which leave less than 1e-18."""
    square = b / (tau(delta, big_delta) * delta**2)
    k = 1 if dimension == 2 else 2
    total = mpf(0)
    for mu in many_zeros(dimension, 1000):
        rate = mu**2 * diffusivity / radius**2
        bracket = 2 * rate * delta - 2 + 2 * exp(-rate * delta) + 2 * exp(-rate * big_delta)
        bracket -= exp(-rate * (big_delta - delta)) + exp(-rate * (big_delta + delta))
        total += bracket / ((mu / radius) ** 6 * (mu**2 - k))
    return exp(-2 * square * total / diffusivity**2)


def disk_sgp(x):
    return (2 * besselj(1, x) / x) ** 2 if x else mpf(1)


def sphere_sgp(x):
    return (3 * radial(1, x, 3) / x) ** 2 if x else mpf(1)


def plates_sgp(y):
    return 2 * (1 - cos(y)) / y**2 if y else mpf(1)


def round_callaghan(x, theta, dimension):
    if not x:
        return mpf(1)
    out = disk_sgp(x) if dimension == 2 else sphere_sgp(x)
    # exp(-reach^2 theta) = 1e-22.
    reach = sqrt(22 * log(mpf(10)) / theta)
    for n in range(int(reach) + 1):
        for a in zeros(n, dimension, mpf(40)):
            assert reach < 40
            if dimension == 2:
                factor = 4 * (1 if n == 0 else 2) * a**2 / (a**2 - n**2)
            else:
                factor = 6 * (2 * n + 1) * a**2 / (a**2 - n * (n + 1))
            out += factor * exp(-(a**2) * theta) * (x * radial_slope(n, x, dimension) / (x**2 - a**2)) ** 2
    return out


def plates_callaghan(y, theta):
    if not y:
        return mpf(1)
    out = plates_sgp(y)
    for m in range(1, 200):
        r = m * pi
        out += 4 * y**2 * exp(-(r**2) * theta) * (1 - (-1) ** m * cos(y)) / (y**2 - r**2) ** 2
    return out


def across(p, g):
    """Cosine and sine of the angle to the axis."""
    t = dot(g, p["mu"])
    return t, sqrt(1 - t * t)


def cylinder_sgp(p, b, g, delta, big_delta):
    t, s = across(p, g)
    x = dephasing(b, delta, big_delta) * p["diameter"] / 2 * s
    return exp(-b * p["lambda_par"] * t**2) * disk_sgp(x)


def cylinder_callaghan(p, b, g, delta, big_delta):
    t, s = across(p, g)
    radius = p["diameter"] / 2
    theta = p["lambda_perp_intrinsic"] * tau(delta, big_delta) / radius**2
    x = dephasing(b, delta, big_delta) * radius * s
    return exp(-b * p["lambda_par"] * t**2) * round_callaghan(x, theta, 2)


def cylinder_gpd(p, b, g, delta, big_delta):
    t, s = across(p, g)
    inside = gpd(p["diameter"] / 2, p["lambda_perp_intrinsic"], b * s**2, delta, big_delta, 2)
    return exp(-b * p["lambda_par"] * t**2) * inside


def capped_cylinder_sgp(p, b, g, delta, big_delta):
    t, s = across(p, g)
    q = dephasing(b, delta, big_delta)
    return disk_sgp(q * p["diameter"] / 2 * s) * plates_sgp(q * p["length"] * t)


def capped_cylinder_callaghan(p, b, g, delta, big_delta):
    t, s = across(p, g)
    q, path = dephasing(b, delta, big_delta), p["lambda_intrinsic"] * tau(delta, big_delta)
    radius, length = p["diameter"] / 2, p["length"]
    disk = round_callaghan(q * radius * s, path / radius**2, 2)
    return disk * plates_callaghan(q * length * t, path / length**2)


def sphere_sgp_signal(p, b, g, delta, big_delta):
    return sphere_sgp(dephasing(b, delta, big_delta) * p["diameter"] / 2)


def sphere_callaghan(p, b, g, delta, big_delta):
    radius = p["diameter"] / 2
    theta = p["lambda_intrinsic"] * tau(delta, big_delta) / radius**2
    return round_callaghan(dephasing(b, delta, big_delta) * radius, theta, 3)


def sphere_gpd(p, b, g, delta, big_delta):
    return gpd(p["diameter"] / 2, p["lambda_intrinsic"], b, delta, big_delta, 3)


def plane_sgp(p, b, g, delta, big_delta):
    return plates_sgp(dephasing(b, delta, big_delta) * p["separation"])


def plane_callaghan(p, b, g, delta, big_delta):
    theta = p["lambda_intrinsic"] * tau(delta, big_delta) / p["separation"] ** 2
    return plates_callaghan(dephasing(b, delta, big_delta) * p["separation"], theta)


SIGNALS = {
    "temporal_zeppelin": temporal_zeppelin,
    "cylinder_sgp": cylinder_sgp,
    "cylinder_callaghan": cylinder_callaghan,
    "cylinder_gpd": cylinder_gpd,
    "capped_cylinder_sgp": capped_cylinder_sgp,
    "capped_cylinder_callaghan": capped_cylinder_callaghan,
    "sphere_sgp": sphere_sgp_signal,
    "sphere_callaghan": sphere_callaghan,
    "sphere_gpd": sphere_gpd,
    "plane_sgp": plane_sgp,
    "plane_callaghan": plane_callaghan,
}

SETS = [
    ("temporal_zeppelin", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7;lambda_inf=0.5;a=2.5"),
    ("cylinder_sgp", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7;diameter=2.5"),
    ("cylinder_sgp", "mu_x=-0.6;mu_y=0.64;mu_z=-0.48;lambda_par=0.3;diameter=12"),
    ("cylinder_callaghan", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7;diameter=3;lambda_perp_intrinsic=1.7"),
    ("cylinder_callaghan", "mu_x=-0.6;mu_y=0.64;mu_z=-0.48;lambda_par=0.3;diameter=14;lambda_perp_intrinsic=0.9"),
    ("cylinder_gpd", "mu_x=0.36;mu_y=0.48;mu_z=0.8;lambda_par=1.7;diameter=0.5;lambda_perp_intrinsic=1.7"),
    ("cylinder_gpd", "mu_x=-0.6;mu_y=0.64;mu_z=-0.48;lambda_par=1.2;diameter=5;lambda_perp_intrinsic=1.7"),
    ("cylinder_gpd", "mu_x=0;mu_y=1;mu_z=0;lambda_par=0.4;diameter=20;lambda_perp_intrinsic=0.1"),
    ("capped_cylinder_sgp", "mu_x=0.36;mu_y=0.48;mu_z=0.8;diameter=4;length=9"),
    ("capped_cylinder_callaghan", "mu_x=-0.6;mu_y=0.64;mu_z=-0.48;diameter=7;length=12;lambda_intrinsic=1.1"),
    ("sphere_sgp", "diameter=3"),
    ("sphere_callaghan", "diameter=5;lambda_intrinsic=1.7"),
    ("sphere_callaghan", "diameter=16;lambda_intrinsic=0.8"),
    ("sphere_gpd", "diameter=1.2;lambda_intrinsic=1.7"),
    ("sphere_gpd", "diameter=18;lambda_intrinsic=0.5"),
    ("plane_sgp", "separation=4.1"),
    ("plane_callaghan", "separation=3;lambda_intrinsic=1.7"),
    ("plane_callaghan", "separation=15;lambda_intrinsic=0.6"),
]
