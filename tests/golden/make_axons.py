"""Diffusion along tubes that swell and wind, at long times: axons.csv.

D_inf / D is the least of <|grad(z + u)|^2> over periodic u in the tube
|((x - c(z)) / r(z), y / r(z))| < 1 (Dirichlet's principle; e.g. Torquato 2002, Random
Heterogeneous Materials, section 13.1). Ritz's method with X^i Y^j times the Fourier series of
z, X = (x - c) / r, Y = y / r; the last column is the change from a smaller basis.
"""

import numpy as np


def effective(r0, a, bead, amplitude, wave, period, degree, harmonics):
    tau = 2 * np.pi
    nz, nr, nt = 16 * harmonics, degree + 4, 4 * degree + 8
    z = (np.arange(nz) + 0.5) * period / nz
    x, w = np.polynomial.legendre.leggauss(nr)
    rho, wr = 0.5 * (x + 1), 0.5 * w * 0.5 * (x + 1)
    angle = (np.arange(nt) + 0.5) * tau / nt
    big_x = (rho[:, None] * np.cos(angle)).ravel()
    big_y = (rho[:, None] * np.sin(angle)).ravel()
    weight = np.repeat(wr * tau / nt, nt)
    r, dr = r0 * (1 + a * np.cos(tau * z / bead)), -r0 * a * tau / bead * np.sin(tau * z / bead)
    dc = amplitude * tau / wave * np.cos(tau * z / wave) if amplitude else 0 * z
    rows = []
    k = tau / period
    for m in range(harmonics + 1):
        for trig in ("c", "s"):
            if m == 0 and trig == "s":
                continue
            f = np.cos(m * k * z) if trig == "c" else np.sin(m * k * z)
            df = -m * k * np.sin(m * k * z) if trig == "c" else m * k * np.cos(m * k * z)
            for i in range(degree + 1):
                for j in range(0, degree + 1 - i, 2):  # even in y
                    if m == 0 and i == 0 and j == 0:
                        continue
                    p = big_x**i * big_y**j
                    px = i * big_x ** max(i - 1, 0) * big_y**j
                    py = j * big_x**i * big_y ** max(j - 1, 0)
                    gx = f[:, None] * px / r[:, None]
                    gy = f[:, None] * py / r[:, None]
                    # dX/dz = -(c' + X r') / r, dY/dz = -Y r' / r.
                    gz = df[:, None] * p - f[:, None] / r[:, None] * (
                        (dc[:, None] + big_x * dr[:, None]) * px + big_y * dr[:, None] * py
                    )
                    rows.append(np.stack([gx, gy, gz]))
    g = np.array(rows)
    v = (r**2)[:, None] * weight
    volume = v.sum()
    flat = (g * np.sqrt(v)).reshape(len(g), -1)
    stiffness = flat @ flat.T / volume
    load = (g[:, 2] * v).sum((1, 2)) / volume
    u = np.linalg.lstsq(stiffness, load, rcond=1e-13)[0]
    return 1 - load @ u


CASES = [  # r0, a, bead, A, wave, period
    (1.0, 0.4, 5.0, 0.0, 0.0, 5.0),
    (2.0, 0.3, 6.0, 0.0, 0.0, 6.0),
    (1.0, 0.0, 12.0, 1.5, 12.0, 12.0),
    (1.2, 0.35, 4.0, 1.0, 8.0, 8.0),
]

with open("axons.csv", "w") as out:
    out.write("radius,beading,beading_period,undulation,undulation_period,ratio,change\n")
    for r0, a, bead, amplitude, wave, period in CASES:
        small = effective(r0, a, bead, amplitude, wave, period, 4, 10)
        large = effective(r0, a, bead, amplitude, wave, period, 7, 16)
        line = f"{r0},{a},{bead},{amplitude},{wave},{large:.8f},{small - large:.1e}"
        print(line)
        out.write(line + "\n")
