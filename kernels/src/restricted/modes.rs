//! The modes of diffusion in a pore, in the space of polynomials.
//!
//! The signal needs the eigenvalues of the Laplacian with reflecting walls and
//! the coupling of its eigenfunctions by the gradient,
//!
//! $$\Lambda_{jk} = \lambda_j\delta_{jk} = \langle\nabla u_j, \nabla u_k\rangle,\qquad B_{jk} = \langle u_j, x\,u_k\rangle$$
//!
//! with lengths in units of $R$ and $\langle 1, 1\rangle = 1$. Instead of a finite set of exact
//! eigenfunctions (roots of $J_n'$ and $j_n'$), whose truncation error falls as a
//! power of their number, the $u_k$ are the Ritz functions of all polynomials up
//! to a degree: $r^n P_k^{(0,\,n+d/2-1)}(2r^2-1)$ times the angular function of
//! order $n$, $n + 2k \le$ degree, Legendre polynomials between planes. Reflection is the natural
//! boundary condition, the low eigenvalues are those of the roots to rounding, the error of
//! the signal falls exponentially with the degree, and the limit of motional
//! narrowing ($\nabla^2 f = x$ has a polynomial solution) is exact from degree 3.
//!
//! | symbol | |
//! |---|---|
//! | $d$ | dimension: 2 cylinder, 3 sphere |
//! | $n$ | angular order; $x$ couples neighbouring orders only (planes: even and odd functions) |
//! | $R$ | radius; half the distance of planes |
//!
//! Source: the couplings as in Grebenkov 2007, doi:10.1103/RevModPhys.79.1077 (matrix formalism);
//! Zernike polynomials in $d$ dimensions, e.g. Boyd & Yu 2011,
//! doi:10.1016/j.jcp.2010.11.011. Validated by `eigenvalues_are_those_of_the_roots` below.

use crate::eigen::eigen_symmetric;
use crate::legendre::gauss_legendre;
use std::sync::OnceLock;

/// The shape of a pore with reflecting walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Geometry {
    /// Two parallel planes, gradient along their normal; the size is their distance.
    Planes,
    /// A circular cylinder, gradient across it; the size is its diameter.
    Cylinder,
    /// A sphere; the size is its diameter.
    Sphere,
}

/// Degrees are even and go up to this one.
pub(super) const DEGREE_MAX: usize = 64;

/// Eigenvalues and couplings of one geometry at one degree.
#[derive(Debug)]
pub(super) struct Modes {
    /// The number of functions of every order.
    pub(super) counts: Vec<usize>,
    /// Eigenvalues $\lambda$, order by order; the first is 0, of the constant.
    pub(super) lambda: Vec<f64>,
    /// $B_{n,n+1}$ of every order but the last, row by row: `[order][k, l]`.
    pub(super) coupling: Vec<Vec<f64>>,
}

impl Modes {
    /// The modes of a geometry at an even degree from 2 to [`DEGREE_MAX`],
    /// computed once.
    pub(super) fn of(geometry: Geometry, degree: usize) -> &'static Modes {
        static TABLE: [[OnceLock<Modes>; DEGREE_MAX / 2]; 3] =
            [const { [const { OnceLock::new() }; DEGREE_MAX / 2] }; 3];
        TABLE[geometry as usize][degree / 2 - 1].get_or_init(|| Modes::build(geometry, degree))
    }

    fn build(geometry: Geometry, degree: usize) -> Modes {
        // Exact for all products of two functions with x^2.
        let (x, measure, _) = quadrature(geometry, degree);
        let orders = if geometry == Geometry::Planes { 2 } else { degree + 1 };
        let mut modes =
            Modes { counts: vec![], lambda: vec![], coupling: Vec::with_capacity(orders) };
        let mut previous: Vec<Vec<f64>> = vec![];
        for n in 0..orders {
            let (lambda, functions) = ritz(&basis(geometry, degree, n, &x), &measure, n == 0);
            if n > 0 {
                let turn = angular_coupling(geometry, n - 1);
                let mut block = Vec::with_capacity(previous.len() * functions.len());
                for f in &previous {
                    for g in &functions {
                        let mut sum = 0.0;
                        for i in 0..x.len() {
                            sum += measure[i] * x[i] * f[i] * g[i];
                        }
                        block.push(turn * sum);
                    }
                }
                modes.coupling.push(block);
            }
            modes.counts.push(lambda.len());
            modes.lambda.extend(lambda);
            previous = functions;
        }
        modes
    }
}

/// Modes of a pore whose wall relaxes: $\Lambda = \langle\nabla u, \nabla v\rangle +
/// h\oint uv$ with $h = \rho R/D$ (Robin's condition is the natural one of this form).
#[derive(Debug)]
pub(super) struct Relaxing {
    /// Eigenvalues of every order.
    pub(super) lambda: Vec<Vec<f64>>,
    /// As in [`Modes`].
    pub(super) coupling: Vec<Vec<f64>>,
    /// The constant function in the functions of order 0.
    pub(super) uniform: Vec<f64>,
}

impl Relaxing {
    /// The modes of a geometry at a degree; h = 0 gives those of [`Modes`].
    pub(super) fn new(geometry: Geometry, degree: usize, h: f64) -> Relaxing {
        if h == 0.0 {
            let built;
            let modes = if degree > DEGREE_MAX {
                built = Modes::build(geometry, degree);
                &built
            } else {
                Modes::of(geometry, degree)
            };
            let mut lambda = Vec::with_capacity(modes.counts.len());
            let mut first = 0;
            for count in &modes.counts {
                lambda.push(modes.lambda[first..first + count].to_vec());
                first += count;
            }
            let mut uniform = vec![0.0; modes.counts[0]];
            uniform[0] = 1.0;
            return Relaxing { lambda, coupling: modes.coupling.clone(), uniform };
        }
        let (nodes, measure, d) = quadrature(geometry, degree);
        let orders = if geometry == Geometry::Planes { 2 } else { degree + 1 };
        let mut out = Relaxing { lambda: vec![], coupling: vec![], uniform: vec![] };
        let mut previous: Vec<Vec<f64>> = vec![];
        for n in 0..orders {
            let functions = basis(geometry, degree, n, &nodes);
            // The same functions on the wall; both walls of planes count alike.
            let wall = basis(geometry, degree, n, &[1.0]).value;
            let surface = |j: usize, k: usize| d * h * wall[j][0] * wall[k][0];
            let (lambda, vectors) = spectrum(&functions, &measure, 0, surface);
            let ritz = combined(&functions.value, &vectors, nodes.len());
            if n == 0 {
                // The first function is the constant 1.
                let count = functions.value.len().max(1);
                out.uniform = vectors.chunks(count).map(|v| v[0]).collect();
            } else {
                let turn = angular_coupling(geometry, n - 1);
                let product = |f: &Vec<f64>, g: &Vec<f64>| -> f64 {
                    (0..nodes.len()).map(|i| measure[i] * nodes[i] * f[i] * g[i]).sum()
                };
                let block = previous.iter().flat_map(|f| ritz.iter().map(move |g| (f, g)));
                out.coupling.push(block.map(|(f, g)| turn * product(f, g)).collect());
            }
            out.lambda.push(lambda);
            previous = ritz;
        }
        out
    }
}

/// The Legendre polynomial and its slope.
pub(super) fn legendre(k: usize, x: f64) -> (f64, f64) {
    let slope = match k {
        0 => 0.0,
        _ => 0.5 * (k as f64 + 1.0) * jacobi(k - 1, 1.0, 1.0, x),
    };
    (jacobi(k, 0.0, 0.0, x), slope)
}

/// Nodes and weights of the radial measure, and the dimension.
fn quadrature(geometry: Geometry, degree: usize) -> (Vec<f64>, Vec<f64>, f64) {
    let d = match geometry {
        Geometry::Planes => {
            let (x, w): (Vec<f64>, Vec<f64>) = gauss_legendre(degree + 4).into_iter().unzip();
            return (x, w.iter().map(|w| 0.5 * w).collect(), 1.0);
        }
        Geometry::Cylinder => 2,
        Geometry::Sphere => 3,
    };
    let (x, w): (Vec<f64>, Vec<f64>) = gauss_legendre(degree + 4).into_iter().unzip();
    let r: Vec<f64> = x.iter().map(|x| 0.5 * (x + 1.0)).collect();
    let weight = |(r, w): (&f64, &f64)| 0.5 * w * f64::from(d) * r.powi(d - 1);
    let measure = r.iter().zip(&w).map(weight).collect();
    (r, measure, f64::from(d))
}

/// The coupling of the angular functions of orders n and n + 1 by $\cos\theta$.
fn angular_coupling(geometry: Geometry, n: usize) -> f64 {
    let m = n as f64;
    match geometry {
        Geometry::Planes => 1.0,
        Geometry::Cylinder if n == 0 => std::f64::consts::FRAC_1_SQRT_2,
        Geometry::Cylinder => 0.5,
        Geometry::Sphere => (m + 1.0) / ((2.0 * m + 1.0) * (2.0 * m + 3.0)).sqrt(),
    }
}

/// Functions of one order at the nodes.
struct Basis {
    /// Value `[function][node]`, orthonormal.
    value: Vec<Vec<f64>>,
    /// Radial derivative `[function][node]`.
    slope: Vec<Vec<f64>>,
    /// $n(n+d-2)/r^2$ `[node]`.
    angular: Vec<f64>,
}

fn basis(geometry: Geometry, degree: usize, n: usize, x: &[f64]) -> Basis {
    let d = match geometry {
        Geometry::Planes => {
            let (mut value, mut slope) = (vec![], vec![]);
            for k in (n..=degree).step_by(2) {
                let m = k as f64;
                let norm = (2.0 * m + 1.0).sqrt();
                value.push(x.iter().map(|&x| norm * jacobi(k, 0.0, 0.0, x)).collect());
                slope.push(
                    x.iter()
                        .map(|&x| match k {
                            0 => 0.0,
                            _ => norm * 0.5 * (m + 1.0) * jacobi(k - 1, 1.0, 1.0, x),
                        })
                        .collect(),
                );
            }
            return Basis { value, slope, angular: vec![0.0; x.len()] };
        }
        Geometry::Cylinder => 2.0,
        Geometry::Sphere => 3.0,
    };
    let (order, power) = (n as f64, n as i32);
    let b = order + 0.5 * d - 1.0;
    let (mut value, mut slope) = (vec![], vec![]);
    for k in 0..=(degree - n) / 2 {
        let m = k as f64;
        let norm = (2.0 * (2.0 * m + b + 1.0) / d).sqrt();
        let (mut f, mut df) = (vec![], vec![]);
        for &r in x {
            let p = jacobi(k, 0.0, b, 2.0 * r * r - 1.0);
            let mut slope = 0.0;
            if k > 0 {
                let s = jacobi(k - 1, 1.0, b + 1.0, 2.0 * r * r - 1.0);
                slope += r.powi(power) * (m + b + 1.0) * 2.0 * r * s;
            }
            if n > 0 {
                slope += order * r.powi(power - 1) * p;
            }
            f.push(norm * r.powi(power) * p);
            df.push(norm * slope);
        }
        value.push(f);
        slope.push(df);
    }
    let angular = x.iter().map(|r| order * (order + d - 2.0) / (r * r)).collect();
    Basis { value, slope, angular }
}

/// Eigenvalues and eigenfunctions of the stiffness in a basis; with `constant`,
/// the first function is the constant and stays.
fn ritz(basis: &Basis, measure: &[f64], constant: bool) -> (Vec<f64>, Vec<Vec<f64>>) {
    let first = usize::from(constant);
    let (values, vectors) = spectrum(basis, measure, first, |_, _| 0.0);
    let mut lambda = vec![0.0; first];
    lambda.extend(values);
    let mut functions = basis.value[..first].to_vec();
    functions.extend(combined(&basis.value[first..], &vectors, measure.len()));
    (lambda, functions)
}

/// Rising eigenvalues and their vectors (rows) of the stiffness of the functions from
/// `first` on, with a term of the surface.
fn spectrum(
    basis: &Basis,
    measure: &[f64],
    first: usize,
    surface: impl Fn(usize, usize) -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let n = basis.value.len() - first;
    let mut matrix = vec![0.0; n * n];
    for j in 0..n {
        for k in 0..n {
            let (f, g) = (&basis.value[first + j], &basis.value[first + k]);
            let (df, dg) = (&basis.slope[first + j], &basis.slope[first + k]);
            let mut sum = surface(j, k);
            for i in 0..measure.len() {
                sum += measure[i] * (df[i] * dg[i] + basis.angular[i] * f[i] * g[i]);
            }
            matrix[j * n + k] = sum;
        }
    }
    let (mut values, vectors) = eigen_symmetric(&matrix, n);
    values.reverse();
    let vectors = vectors.chunks(n.max(1)).rev().flatten().copied().collect();
    (values, vectors)
}

/// Combinations of functions at the nodes.
fn combined(functions: &[Vec<f64>], vectors: &[f64], nodes: usize) -> Vec<Vec<f64>> {
    let combine = |vector: &[f64]| {
        let mut out = vec![0.0; nodes];
        for (c, g) in vector.iter().zip(functions) {
            for (f, g) in out.iter_mut().zip(g) {
                *f += c * g;
            }
        }
        out
    };
    vectors.chunks(functions.len().max(1)).map(combine).collect()
}

/// The Jacobi polynomial $P_k^{(a,b)}(x)$ by its three-term recurrence (DLMF 18.9.2).
fn jacobi(k: usize, a: f64, b: f64, x: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    let (mut before, mut p) = (1.0, 0.5 * ((a - b) + (a + b + 2.0) * x));
    for i in 2..=k {
        let i = i as f64;
        let s = 2.0 * i + a + b;
        let next = ((s - 1.0) * (s * (s - 2.0) * x + a * a - b * b) * p
            - 2.0 * (i + a - 1.0) * (i + b - 1.0) * s * before)
            / (2.0 * i * (i + a + b) * (s - 2.0));
        (before, p) = (p, next);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_are_those_of_the_roots() {
        // First roots of J_n' (DLMF 10.21), of j_n', and multiples of pi/2, by order.
        let cases: [(Geometry, [&[f64]; 3]); 3] = [
            (
                Geometry::Cylinder,
                [
                    &[0.0, 3.831_705_970_207_512, 7.015_586_669_815_613],
                    &[1.841_183_781_340_659_4, 5.331_442_773_525_032, 8.536_316_366_346_285],
                    &[3.054_236_928_227_14, 6.706_133_194_158_457, 9.969_467_823_087_596],
                ],
            ),
            (
                Geometry::Sphere,
                [
                    &[0.0, 4.493_409_457_909_064, 7.725_251_836_937_707],
                    &[2.081_575_977_818_101, 5.940_369_990_572_712, 9.205_840_142_936_665],
                    &[3.342_093_657_365_695, 7.289_932_304_093_351, 10.613_855_042_316_913],
                ],
            ),
            (
                Geometry::Planes,
                [
                    &[0.0, std::f64::consts::PI, 2.0 * std::f64::consts::PI],
                    &[0.5 * std::f64::consts::PI, 1.5 * std::f64::consts::PI],
                    &[],
                ],
            ),
        ];
        for (geometry, roots) in cases {
            let modes = Modes::of(geometry, 32);
            let mut start = 0;
            for (n, roots) in roots.iter().enumerate() {
                for (k, root) in roots.iter().enumerate() {
                    let lambda = modes.lambda[start + k];
                    let error = (lambda - root * root).abs();
                    assert!(error < 1e-10, "{geometry:?} order {n} mode {k}: {lambda}");
                }
                start += modes.counts.get(n).copied().unwrap_or(0);
            }
        }
    }

    #[test]
    fn first_coupling_squares_to_the_mean_square() {
        // sum_k B_0k^2 = <x^2> = 1/(d + 2).
        for (geometry, expected) in
            [(Geometry::Planes, 3.0), (Geometry::Cylinder, 4.0), (Geometry::Sphere, 5.0)]
        {
            for degree in [4, 12, 30, DEGREE_MAX] {
                let modes = Modes::of(geometry, degree);
                let row = &modes.coupling[0][..modes.counts[1]];
                let sum: f64 = row.iter().map(|b| b * b).sum();
                assert!((sum * expected - 1.0).abs() < 1e-12, "{geometry:?} {degree}: {sum}");
            }
        }
    }
}
