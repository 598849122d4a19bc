"""`tests/golden/modifiers.csv`: signals of modified and composite compartments, one row a model and measurement.

A model is the text of its compartment table with `;` for line ends. Needs mpmath; the formulas do not call
this library. Units: ms/um^2, um^2/ms, um, ms.
"""

from pathlib import Path

from mpmath import besselj, cos, exp, expm, gamma, log, matrix, mp, mpf, nstr, sin, sqrt

mp.dps = 30


def dot(u, v):
    return sum(a * b for a, b in zip(u, v))


def stick(p, m):
    return exp(-m["b"] * p["lambda_par"] * dot(m["g"], p["mu"]) ** 2)


def zeppelin(par, perp, p, m):
    u = dot(m["g"], p["mu"]) ** 2
    return exp(-m["b"] * (par * u + perp * (1 - u)))


def phase(m):
    """gamma G delta, rad/um."""
    return sqrt(m["b"] / (m["Delta"] - m["delta"] / 3))


def disk(x):
    return mpf(1) if x == 0 else (2 * besselj(1, x) / x) ** 2


def ball_of(x):
    if x < mpf(10) ** -5:
        return 1 - x**2 / 5  # the next term is below 1e-21
    return (3 * (sin(x) - x * cos(x)) / x**3) ** 2


def over_sizes(p, power, f):
    """The average over Gamma(alpha + power, beta): the trapezoidal rule in u = ln(R / beta)."""
    k, beta = p["alpha"] + power, p["beta"]
    low, step = log(k) - 60 / k, mpf(1) / 64
    total, u = mpf(0), low
    while u < log(k) + 5:
        total += exp(k * u - exp(u)) * f(beta * exp(u))
        u += step
    return step * total / gamma(k)


def gamma_cylinder(p, m):
    if m["b"] == 0:
        return mpf(1)
    u = dot(m["g"], p["mu"]) ** 2
    across = phase(m) * sqrt(1 - u)
    return exp(-m["b"] * p["lambda_par"] * u) * over_sizes(p, 2, lambda r: disk(across * r))


def gamma_sphere(p, m):
    q = phase(m)
    if q == 0:
        return mpf(1)
    return over_sizes(p, 3, lambda r: ball_of(q * r))


def relaxed(f):
    return lambda p, m: f(p, m) * exp(-m["TE"] / p["t2_ms"])


def karger(first, second):
    """exp of the rate matrix itself."""

    def signal(p, m):
        a = [-log(first(p, m)), -log(second(p, m))]
        f, x = p["intra_fraction"], (m["Delta"] - m["delta"] / 3) / p["exchange_time_ms"]
        rates = matrix([[a[0] + (1 - f) * x, -f * x], [-(1 - f) * x, a[1] + f * x]])
        e = expm(-rates) * matrix([f, 1 - f])
        return e[0] + e[1]

    return signal


def inner_stick(p, m):
    return stick({"mu": p["mu"], "lambda_par": p["stick_lambda_par"]}, m)


def inner_zeppelin(p, m):
    return zeppelin(p["zeppelin_lambda_par"], p["zeppelin_lambda_perp"], p, m)


def inner_ball(p, m):
    return exp(-m["b"] * p["ball_lambda_iso"])


AXIS = "mu_x=0.36;mu_y=0.48;mu_z=0.8"
GAMMA = 'size_distribution = "gamma"'
MODELS = [
    (f'kind = "cylinder_sgp";{GAMMA}', gamma_cylinder, f"{AXIS};lambda_par=1.7;alpha=3.2;beta=0.5"),
    (f'kind = "cylinder_sgp";{GAMMA}', gamma_cylinder, f"{AXIS};lambda_par=1.1;alpha=0.1;beta=2"),
    (f'kind = "cylinder_sgp";{GAMMA}', gamma_cylinder, f"{AXIS};lambda_par=1.7;alpha=30;beta=0.001"),
    (f'kind = "sphere_sgp";{GAMMA}', gamma_sphere, "alpha=2.1;beta=0.9"),
    (f'kind = "sphere_sgp";{GAMMA}', gamma_sphere, "alpha=30;beta=0.2"),
    ('kind = "ball";t2 = true', relaxed(lambda p, m: exp(-m["b"] * p["lambda_iso"])), "lambda_iso=0.9;t2_ms=61"),
    ('kind = "stick";t2 = true', relaxed(stick), f"{AXIS};lambda_par=1.9;t2_ms=83"),
    (f'kind = "cylinder_sgp";{GAMMA};t2 = true', relaxed(gamma_cylinder), f"{AXIS};lambda_par=1.7;alpha=3.2;beta=0.5;t2_ms=70"),
    ('kind = "karger"', karger(inner_stick, inner_zeppelin),
     f"{AXIS};stick_lambda_par=2.1;zeppelin_lambda_par=1.4;zeppelin_lambda_perp=0.6;intra_fraction=0.55;exchange_time_ms=20"),
    ('kind = "karger";of = ["stick", "ball"];t2 = true', relaxed(karger(inner_stick, inner_ball)),
     f"{AXIS};stick_lambda_par=2.5;ball_lambda_iso=0.9;intra_fraction=0.4;exchange_time_ms=3;t2_ms=55"),
]

# b, g, delta, Delta, TE.
MEASUREMENTS = [
    ("0", ("1", "0", "0"), "12.9", "21.8", "50"),
    ("1", ("0.48", "-0.6", "0.64"), "12.9", "21.8", "50"),
    ("2.5", ("0", "0.6", "0.8"), "8", "49", "75"),
    ("8", ("-0.64", "-0.48", "0.6"), "20", "40", "75"),
]


def main():
    rows = ["model,parameters,b_ms_per_um2,gx,gy,gz,delta_ms,big_delta_ms,te_ms,signal"]
    for model, signal, text in MODELS:
        p = {name: mpf(value) for name, _, value in (pair.partition("=") for pair in text.split(";"))}
        if "mu_x" in p:
            p["mu"] = [p["mu_x"], p["mu_y"], p["mu_z"]]
        for b, g, delta, big_delta, te in MEASUREMENTS:
            m = {"b": mpf(b), "g": [mpf(c) for c in g], "delta": mpf(delta), "Delta": mpf(big_delta), "TE": mpf(te)}
            rows.append(",".join([model.replace(",", " &"), text, b, *g, delta, big_delta, te, nstr(signal(p, m), 17)]))
    Path(__file__).with_name("modifiers.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
