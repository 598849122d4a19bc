"""The signal of two rectangular gradient pulses in a pore with reflecting walls, for `make_microstructure.py`.

M dw/dt = (-P K + Q S) w in the monomials r^(n + 2k) times the angular function of order n (order n divided by
i^n, which makes the system real), all inner products exact; both exponentials by a contour integral with one
block-tridiagonal system a node (Weideman & Trefethen 2007, doi:10.1090/S0025-5718-07-01945-X, parabola), to
about 1e-13. Nothing of this is shared with `kernels/src/restricted`: no orthogonal polynomials, no eigenvalues,
no rational approximation with real poles.
"""

from mpmath import exp, matrix, mp, mpc, mpf, pi, sqrt

# The degree of the polynomials, and the nodes of half a contour.
DEGREE = {"planes": 22, "cylinder": 16, "sphere": 16}
NODES = 24
TABLES = {}


def system(kind):
    """Mass and stiffness of every order, coupling of every two neighbours; the measure of the pore is 1."""
    degree = DEGREE[kind]
    if kind == "planes":
        # Even and odd powers; half the integral over [-1, 1].
        orders = [list(range(n, degree + 1, 2)) for n in (0, 1)]
    else:
        orders = [list(range(n, degree + 1, 2)) for n in range(degree + 1)]
    d = {"planes": 1, "cylinder": 2, "sphere": 3}[kind]

    def table(rows, columns, entry):
        return matrix([[entry(a, b) for b in columns] for a in rows])

    mass, stiffness, coupling = [], [], []
    for n, powers in enumerate(orders):
        angular = 0 if kind == "planes" else n * (n + d - 2)
        mass.append(table(powers, powers, lambda a, b: mpf(d) / (a + b + d)))
        stiffness.append(
            table(powers, powers, lambda a, b: mpf(d) * (a * b + angular) / (a + b + d - 2) if a and b else mpf(0))
        )
        if n + 1 < len(orders):
            turn = {
                "planes": mpf(1),
                "cylinder": mpf(1) / 2 if n else 1 / sqrt(mpf(2)),
                "sphere": (n + 1) / sqrt(mpf(2 * n + 1) * (2 * n + 3)),
            }[kind]
            coupling.append(table(powers, orders[n + 1], lambda a, b: turn * d / mpf(a + b + 1 + d)))
    return mass, stiffness, coupling


def propagate(tables, p, q, start):
    """exp(-p M^-1 K + q M^-1 S) start, by orders."""
    mass, stiffness, coupling = tables
    orders = range(len(mass))
    right = [mass[n] * start[n] for n in orders]
    # z = mu (1 + i theta)^2 crosses the imaginary axis at 2 mu i, outside of |Im z| <= q.
    mu = mpf(4) + q
    step = mpf("6.4") / sqrt(mu) / NODES
    total = [matrix(m.rows, 1) for m in mass]
    for node in range(NODES):
        direction = mpc(1, (node + mpf(1) / 2) * step)
        z = mu * direction**2
        # z M - A, from the last order down.
        inverse, gathered = {}, {}
        for n in reversed(orders):
            pivot, r = z * mass[n] + p * stiffness[n], right[n]
            if n + 1 in inverse:
                lift = q * coupling[n] * inverse[n + 1]
                pivot, r = pivot + lift * (q * coupling[n].T), r - lift * gathered[n + 1]
            inverse[n], gathered[n] = pivot**-1, r
        solved = None
        for n in orders:
            r = gathered[n] if solved is None else gathered[n] + q * coupling[n - 1].T * solved
            solved = inverse[n] * r
            weighted = solved * (exp(z) * direction)
            # The conjugate node doubles the real part.
            total[n] += weighted.apply(lambda v: mpf(v.real))
    return [t * (2 * mu * step / pi) for t in total]


def signal(kind, size, diffusivity, gamma_g_delta, delta, big_delta):
    """E; size = diameter or distance (um), D in um^2/ms, gamma G delta in rad/um, times in ms."""
    if gamma_g_delta == 0:
        return mpf(1)
    with mp.workdps(40):
        if kind not in TABLES:
            TABLES[kind] = system(kind)
        mass = TABLES[kind][0]
        radius = size / 2
        p, q = diffusivity * delta / radius**2, gamma_g_delta * radius
        start = [matrix(m.rows, 1) for m in mass]
        start[0][0] = 1
        pulse = propagate(TABLES[kind], p, q, start)
        waited = propagate(TABLES[kind], p * (big_delta / delta - 1), mpf(0), pulse)
        # The second pulse is the adjoint of the first.
        return sum((a.T * m * b)[0] for a, m, b in zip(pulse, mass, waited))
