//! Mean, axial and radial kurtosis and the anisotropy of the kurtosis tensor.
//!
//! $$K(n) = \frac{V(n)}{D(n)^2},\qquad
//!   \mathrm{MK} = \langle K\rangle_{S^2},\quad \mathrm{AK} = K(e_1),\quad
//!   \mathrm{RK} = \langle K\rangle_{n\perp e_1},\quad
//!   \mathrm{KFA} = \frac{\lVert W - \bar W I\rVert}{\lVert W\rVert}$$
//!
//! In the frame of the eigenvectors $e_i$ of $D$ only even elements remain in MK,
//!
//! $$\mathrm{MK} = \sum_i A_{ii} V_{iiii} + 6\sum_{i<j} A_{ij}V_{iijj},\qquad
//!   A_{ij} = \left\langle\frac{n_i^2n_j^2}{D(n)^2}\right\rangle
//!   = \frac{c_{ij}}{2\lambda_1^2}\int_0^1\frac{(1-y^2)\,y^2}{\sqrt{p_1p_2p_3}\,p_ip_j}\,dy$$
//!
//! with $p_k = y^2 + (1-y^2)\lambda_k/\lambda_1$ and $c_{ii} = 3$, $c_{ij} = 1$. The integral
//! follows from $D^{-2} = \int t\,e^{-tD}dt$ and the moments of a Gaussian (the integrand is of
//! degree zero, so a Gaussian may stand for the sphere). It equals the closed forms of Tabesh et
//! al. with Carlson's $R_F$ and $R_D$ but has no removable singularity where two eigenvalues meet;
//! 40 Gauss-Legendre nodes give it to 1e-11 for $\lambda_3/\lambda_1 \ge 0.02$. On the circle
//!
//! $$\left\langle\frac{c^4}{D^2}\right\rangle = \frac{2\alpha+\beta}{2\alpha^3(\alpha+\beta)^2},\quad
//!   \left\langle\frac{c^2s^2}{D^2}\right\rangle = \frac{1}{2\alpha\beta(\alpha+\beta)^2},\qquad
//!   \alpha = \sqrt{\lambda_2},\ \beta = \sqrt{\lambda_3}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $D(n), V(n)$ | µm²/ms, µm⁴/ms² | $D_{ij}n_in_j$, $V_{ijkl}n_in_jn_kn_l$ |
//! | $\lambda_1\ge\lambda_2\ge\lambda_3 > 0$ | µm²/ms | eigenvalues of $D$ |
//! | $\bar W$ | | $\frac15(W_{1111}+W_{2222}+W_{3333}+2W_{1122}+2W_{1133}+2W_{2233})$ |
//!
//! Source: Tabesh et al. 2011, doi:10.1002/mrm.22655 (MK and RK in the frame of D); KFA: Hansen &
//! Jespersen 2016, doi:10.1038/sdata.2016.72.
//! Validated by `measures_equal_golden` (`tests/suite/cumulant.rs`) and `gradient_equals_difference`.

use microtome_kernels::legendre::gauss_legendre;
use std::sync::OnceLock;

/// One element of a symmetric tensor of order four.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KurtosisElement {
    /// Its axes, such as `xxyz`.
    pub name: &'static str,
    /// The same as numbers.
    pub indices: [usize; 4],
    /// How many of the 81 elements equal it.
    pub multiplicity: f64,
}

const fn element(name: &'static str, indices: [usize; 4], multiplicity: f64) -> KurtosisElement {
    KurtosisElement { name, indices, multiplicity }
}

/// The 15 elements of a symmetric tensor of order four, in their order.
pub const KURTOSIS_ELEMENTS: [KurtosisElement; 15] = [
    element("xxxx", [0, 0, 0, 0], 1.0),
    element("yyyy", [1, 1, 1, 1], 1.0),
    element("zzzz", [2, 2, 2, 2], 1.0),
    element("xxxy", [0, 0, 0, 1], 4.0),
    element("xxxz", [0, 0, 0, 2], 4.0),
    element("xyyy", [0, 1, 1, 1], 4.0),
    element("yyyz", [1, 1, 1, 2], 4.0),
    element("xzzz", [0, 2, 2, 2], 4.0),
    element("yzzz", [1, 2, 2, 2], 4.0),
    element("xxyy", [0, 0, 1, 1], 6.0),
    element("xxzz", [0, 0, 2, 2], 6.0),
    element("yyzz", [1, 1, 2, 2], 6.0),
    element("xxyz", [0, 0, 1, 2], 12.0),
    element("xyyz", [0, 1, 1, 2], 12.0),
    element("xyzz", [0, 1, 2, 2], 12.0),
];

/// Nodes of the integrals over y.
const NODES: usize = 40;
/// Points of the half circle about the first eigenvector, for derivatives.
const CIRCLE: usize = 64;

type Vector = [f64; 3];
type Form = [f64; 15];

/// The measures of a diffusion tensor with kurtosis, and their derivatives.
#[derive(Debug, Clone, PartialEq)]
pub struct KurtosisMeasures {
    /// Mean, axial, radial kurtosis, and the anisotropy of the kurtosis tensor.
    pub value: [f64; 4],
    /// Derivatives of each with respect to (xx, yy, zz, xy, xz, yz) of D and the
    /// elements of V. Where the first two eigenvalues are equal those of AK and RK
    /// do not exist.
    pub gradient: [[f64; 21]; 4],
}

impl KurtosisMeasures {
    /// The names of the measures in columns.
    pub const NAMES: [&'static str; 4] = ["mk", "ak", "rk", "kfa"];

    /// The measures of a tensor with positive falling `eigenvalues` and orthonormal
    /// `axes`, and the elements `v` of V.
    ///
    /// # Units
    /// `eigenvalues` in µm²/ms, `v` in µm⁴/ms².
    pub fn new(eigenvalues: Vector, axes: [Vector; 3], v: &Form) -> Self {
        let mean = mean_kurtosis(eigenvalues, axes, v);
        let axial = axial_kurtosis(eigenvalues, axes, v);
        let radial = radial_kurtosis(eigenvalues, axes, v);
        let anisotropy = anisotropy(v);
        let all = [mean, axial, radial, anisotropy];
        let mut out = Self { value: [0.0; 4], gradient: [[0.0; 21]; 4] };
        for (k, part) in all.iter().enumerate() {
            out.value[k] = part.value;
            out.gradient[k][..6].copy_from_slice(&in_elements(&part.d, axes));
            out.gradient[k][6..].copy_from_slice(&part.v);
        }
        out
    }
}

/// A measure with its derivatives: `d` by the symmetric matrix D in the frame of its
/// eigenvectors, `v` by the elements of V.
struct Part {
    value: f64,
    d: [[f64; 3]; 3],
    v: Form,
}

/// The derivatives by (xx, yy, zz, xy, xz, yz) of D.
fn in_elements(g: &[[f64; 3]; 3], axes: [Vector; 3]) -> [f64; 6] {
    let mut out = [0.0; 6];
    for (k, [i, j]) in [[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2]].into_iter().enumerate() {
        let mut sum = 0.0;
        for a in 0..3 {
            for b in 0..3 {
                sum += g[a][b] * (axes[a][i] * axes[b][j] + axes[a][j] * axes[b][i]);
            }
        }
        out[k] = if i == j { 0.5 * sum } else { sum };
    }
    out
}

/// The weights of the elements in V(p, q, r, s).
fn form(p: Vector, q: Vector, r: Vector, s: Vector) -> Form {
    let mut out = [0.0; 15];
    let vectors = [p, q, r, s];
    // The 24 orders of four vectors.
    const ORDERS: [[usize; 4]; 24] = [
        [0, 1, 2, 3],
        [0, 1, 3, 2],
        [0, 2, 1, 3],
        [0, 2, 3, 1],
        [0, 3, 1, 2],
        [0, 3, 2, 1],
        [1, 0, 2, 3],
        [1, 0, 3, 2],
        [1, 2, 0, 3],
        [1, 2, 3, 0],
        [1, 3, 0, 2],
        [1, 3, 2, 0],
        [2, 0, 1, 3],
        [2, 0, 3, 1],
        [2, 1, 0, 3],
        [2, 1, 3, 0],
        [2, 3, 0, 1],
        [2, 3, 1, 0],
        [3, 0, 1, 2],
        [3, 0, 2, 1],
        [3, 1, 0, 2],
        [3, 1, 2, 0],
        [3, 2, 0, 1],
        [3, 2, 1, 0],
    ];
    for (out, e) in out.iter_mut().zip(&KURTOSIS_ELEMENTS) {
        let [i, j, k, l] = e.indices;
        let sum: f64 = ORDERS
            .iter()
            .map(|o| vectors[o[0]][i] * vectors[o[1]][j] * vectors[o[2]][k] * vectors[o[3]][l])
            .sum();
        *out = e.multiplicity * sum / 24.0;
    }
    out
}

fn dot(a: &Form, b: &Form) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(out: &mut Form, weight: f64, form: &Form) {
    for (o, f) in out.iter_mut().zip(form) {
        *o += weight * f;
    }
}

/// Nodes and weights of Gauss-Legendre on (0, 1).
fn rule() -> &'static [[f64; 2]] {
    static RULE: OnceLock<Vec<[f64; 2]>> = OnceLock::new();
    RULE.get_or_init(|| {
        gauss_legendre(NODES).into_iter().map(|(x, w)| [0.5 * (1.0 + x), 0.5 * w]).collect()
    })
}

/// $\langle n_i^2n_j^2/D^2\rangle$ and $\langle n_i^2n_j^2n_k^2/D^3\rangle$.
fn moments(eigenvalues: Vector) -> ([[f64; 3]; 3], [[[f64; 3]; 3]; 3]) {
    let scale = eigenvalues[0];
    let ratio = eigenvalues.map(|l| l / scale);
    let (mut second, mut third) = ([[0.0; 3]; 3], [[[0.0; 3]; 3]; 3]);
    for &[y, w] in rule() {
        let (square, rest) = (y * y, 1.0 - y * y);
        let p = ratio.map(|r| square + rest * r);
        let base = w * rest * square / (p[0] * p[1] * p[2]).sqrt();
        let q = p.map(|p| 1.0 / p);
        for i in 0..3 {
            for j in i..3 {
                let pair = base * q[i] * q[j];
                second[i][j] += pair;
                for k in j..3 {
                    third[i][j][k] += rest * pair * q[k];
                }
            }
        }
    }
    // Moments of a Gaussian: 3 for a fourth power, 15 for a sixth.
    let (s2, s3) = (0.5 / (scale * scale), 0.125 / (scale * scale * scale));
    let factor = |i: usize, j: usize, k: usize| match (i == j, j == k) {
        (true, true) => 15.0,
        (false, false) => 1.0,
        _ => 3.0,
    };
    for i in 0..3 {
        for j in i..3 {
            second[i][j] *= s2 * if i == j { 3.0 } else { 1.0 };
            second[j][i] = second[i][j];
            for k in j..3 {
                let value = third[i][j][k] * s3 * factor(i, j, k);
                for [a, b, c] in [[i, j, k], [i, k, j], [j, i, k], [j, k, i], [k, i, j], [k, j, i]]
                {
                    third[a][b][c] = value;
                }
            }
        }
    }
    (second, third)
}

fn mean_kurtosis(eigenvalues: Vector, e: [Vector; 3], v: &Form) -> Part {
    let (second, third) = moments(eigenvalues);
    let mut d = [[0.0; 3]; 3];
    let mut weights = [0.0; 15];
    for i in 0..3 {
        for j in i..3 {
            let even = form(e[i], e[i], e[j], e[j]);
            let times = if i == j { 1.0 } else { 6.0 };
            add(&mut weights, times * second[i][j], &even);
            let value = dot(&even, v);
            for (a, row) in d.iter_mut().enumerate() {
                row[a] -= 2.0 * times * value * third[a][i][j];
            }
        }
    }
    for (a, b, c) in [(0, 1, 2), (0, 2, 1), (1, 2, 0)] {
        let value = 4.0 * dot(&form(e[a], e[a], e[a], e[b]), v) * third[a][a][b]
            + 4.0 * dot(&form(e[a], e[b], e[b], e[b]), v) * third[a][b][b]
            + 12.0 * dot(&form(e[a], e[b], e[c], e[c]), v) * third[a][b][c];
        d[a][b] = -2.0 * value;
        d[b][a] = d[a][b];
    }
    Part { value: dot(&weights, v), d, v: weights }
}

fn axial_kurtosis(eigenvalues: Vector, e: [Vector; 3], v: &Form) -> Part {
    let l = eigenvalues[0];
    let weights = form(e[0], e[0], e[0], e[0]).map(|w| w / (l * l));
    let value = dot(&weights, v);
    let mut d = [[0.0; 3]; 3];
    d[0][0] = -2.0 * value / l;
    for j in 1..3 {
        // The axis turns: 4 V(e_j, e_1, e_1, e_1) D_1j / (l_1 - l_j), shared by D_1j and D_j1.
        let turn = dot(&form(e[j], e[0], e[0], e[0]), v) / (l * l);
        d[0][j] = 2.0 * turn / (l - eigenvalues[j]);
        d[j][0] = d[0][j];
    }
    Part { value, d, v: weights }
}

fn radial_kurtosis(eigenvalues: Vector, e: [Vector; 3], v: &Form) -> Part {
    let [first, l2, l3] = eigenvalues;
    let (a, b) = (l2.sqrt(), l3.sqrt());
    let sum = (a + b) * (a + b);
    let mut weights = [0.0; 15];
    add(&mut weights, (2.0 * a + b) / (2.0 * a * l2 * sum), &form(e[1], e[1], e[1], e[1]));
    add(&mut weights, (2.0 * b + a) / (2.0 * b * l3 * sum), &form(e[2], e[2], e[2], e[2]));
    add(&mut weights, 6.0 / (2.0 * a * b * sum), &form(e[1], e[1], e[2], e[2]));
    // The derivatives by the trapezoidal rule on the half circle, whose error falls
    // geometrically; V(n) and V(e_1, n, n, n) are polynomials in the cosine c and sine s.
    let on = |p: Vector, q: Vector, r: Vector, s: Vector| dot(&form(p, q, r, s), v);
    let (p, q) = (e[1], e[2]);
    let plane = [
        on(p, p, p, p),
        4.0 * on(p, p, p, q),
        6.0 * on(p, p, q, q),
        4.0 * on(p, q, q, q),
        on(q, q, q, q),
    ];
    let tilted =
        [on(e[0], p, p, p), 3.0 * on(e[0], p, p, q), 3.0 * on(e[0], p, q, q), on(e[0], q, q, q)];
    let mut d = [[0.0; 3]; 3];
    for i in 0..CIRCLE {
        let (s, c) = (std::f64::consts::PI * i as f64 / CIRCLE as f64).sin_cos();
        let along = l2 * c * c + l3 * s * s;
        let fourth = plane[0] * c * c * c * c
            + plane[1] * c * c * c * s
            + plane[2] * c * c * s * s
            + plane[3] * c * s * s * s
            + plane[4] * s * s * s * s;
        let third = tilted[0] * c * c * c
            + tilted[1] * c * c * s
            + tilted[2] * c * s * s
            + tilted[3] * s * s * s;
        let (inner, turn) =
            (-2.0 * fourth / (along * along * along), -2.0 * third / (along * along));
        d[1][1] += inner * c * c;
        d[2][2] += inner * s * s;
        d[1][2] += inner * c * s;
        d[0][1] += turn * c / (first - l2);
        d[0][2] += turn * s / (first - l3);
    }
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        d[j][i] = d[i][j];
    }
    let d = d.map(|row| row.map(|x| x / CIRCLE as f64));
    Part { value: dot(&weights, v), d, v: weights }
}

/// KFA does not depend on D: the factor of W = V / mean(D)² is in both norms.
fn anisotropy(v: &Form) -> Part {
    let trace = |i: usize| if i < 3 { 1.0 } else { 2.0 * f64::from((9..12).contains(&i)) };
    let mean: f64 = v.iter().enumerate().map(|(i, v)| trace(i) * v).sum::<f64>() / 5.0;
    let square: f64 = KURTOSIS_ELEMENTS.iter().zip(v).map(|(e, v)| e.multiplicity * v * v).sum();
    // The isotropic tensor has elements 1 (xxxx) and 1/3 (xxyy); its squared norm is 5.
    let rest: f64 = KURTOSIS_ELEMENTS
        .iter()
        .zip(v)
        .enumerate()
        .map(|(i, (e, v))| {
            let isotropic = mean * trace(i) / e.multiplicity;
            e.multiplicity * (v - isotropic) * (v - isotropic)
        })
        .sum();
    let value = (rest / square).sqrt();
    // value² = 1 - 5 mean² / square.
    let slope = |i: usize| {
        let e = &KURTOSIS_ELEMENTS[i];
        (5.0 * mean * mean * e.multiplicity * v[i] / square - mean * trace(i)) / (square * value)
    };
    Part { value, d: [[0.0; 3]; 3], v: std::array::from_fn(slope) }
}
