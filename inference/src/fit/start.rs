//! Where a fit starts.
//!
//! 1. A log-linear tensor fit (ordinary least squares, b up to 1.55 ms/µm² when
//!    there are twelve weighted measurements) gives three directions
//!    $e_1, e_2, e_3$ of falling diffusivity.
//! 2. A fixed low-discrepancy set of points covers the scalar parameters, each
//!    point is tried with one or more directions: $e_1$; for one point in four
//!    also $e_2$ and $e_3$; for two and more axes pairs in the plane of $e_1, e_2$.
//!    What turns about its axis (a tensor, a fan) is turned so that its second axis is
//!    that of the larger diffusivity across (with several axes at two points in three).
//!    The points are ranked on at most 96 measurements, spread over all shells.
//! 3. At each point the signal is linear in the amplitudes $S_0 f_c \ge 0$: these
//!    are solved by non-negative least squares, and the point is ranked by what
//!    remains. (Where a link makes scalars depend on fractions, or fractions are
//!    fixed, only $S_0$ is solved and the fractions are part of the point.)
//!    With three and more axes, or two and many scalars, the two best points also search
//!    them: one after another
//!    each axis takes the direction of a lattice that leaves least.
//! 4. The best one (at most one axis and two compartments) or the three best that are apart
//!    (five with three and more axes and for shell means; other models, and those of shell means, sizes or exchange, which have several modes) start a fit each; after eight
//!    iterations the best of them goes on.
//!
//! Nothing is random, so a fit depends on its voxel only.
//!
//! Source: tensor: Basser, Mattiello & Le Bihan 1994, doi:10.1006/jmrb.1994.1037;
//! points: the additive recurrence of Roberts 2018 (R-sequence); separable
//! amplitudes: Golub & Pereyra 1973, doi:10.1137/0710036.
//!
//! Validated by `tests/suite/fit.rs` (every start finds the mode of the truth) and
//! `docs/validation.md`.

use super::log_tensor::log_tensor;
use microtome_kernels::eigen::eigen_3x3;
use microtome_kernels::normal::normal_equations;
use microtome_models::{
    Acquisition, B0_MAX_MS_PER_UM2, Evaluator, Free, FreeKind, Lowered, ModelError, half_sphere,
};

/// b-values beyond this bend away from a tensor.
const TENSOR_B_MAX: f64 = 1.55;
/// Fewest weighted measurements for the tensor fit.
const TENSOR_MEASUREMENTS: usize = 12;

/// Models of three axes, and those of two axes with as many scalars, search the axes over
/// a lattice of directions.
const SEARCHED_SCALARS: usize = 4;
/// Points of the scalars at which they do.
const SEARCHED_POINTS: usize = 2;
/// Directions of that lattice, some 25 degrees apart.
const LATTICE: usize = 32;

/// Fewest measurements of a shell whose mean is of use.
const SHELL_MEAN: usize = 6;

/// What the starts of all voxels share.
#[derive(Debug, Clone)]
pub struct StartScheme {
    /// Rows of the log-linear tensor fit: (Dxx, Dyy, Dzz, Dxy, Dxz, Dyz, ln S0) x measurement.
    tensor: Option<Vec<f64>>,
    used: Vec<usize>,
    b0: Vec<usize>,
    /// What the signal of each b = 0 image is multiplied by to stand for TE = 0, where
    /// compartments have T2.
    echo_factor: Vec<f64>,
    /// Measurements of each shell that has enough of them for a mean.
    shells: Vec<Vec<usize>>,
    /// Start points of the values; axes and scale are filled in a voxel.
    points: Vec<Vec<f64>>,
    axes: Vec<usize>,
    linear_amplitudes: bool,
    starts: usize,
    searches_axes: bool,
    /// Directions over the half sphere, for the search of axes.
    lattice: Vec<[f64; 3]>,
    /// The measurements that rank the points, and the model on them.
    ranked: Vec<usize>,
    ranking: Lowered,
}

/// Scalars whose corners are tried.
const CORNERS: usize = 4;
/// Starts that are kept of them.
const CORNER_STARTS: usize = 6;

/// A point and what remained.
struct Start {
    x: Vec<f64>,
    cost: f64,
}

impl StartScheme {
    /// Prepares the starts of a model on an acquisition.
    ///
    /// # Errors
    /// An acquisition that lacks what a compartment needs.
    pub fn new(lowered: &Lowered, acquisition: &Acquisition) -> Result<Self, ModelError> {
        let model = &lowered.model;
        let ranked = spread(acquisition);
        let ranking = Lowered::new(model.clone(), &acquisition.subset(&ranked))?;
        let axes: Vec<usize> =
            model.free().iter().filter(|f| f.kind == FreeKind::Axis).map(|f| f.at).collect();
        let compartments = model.components().len();
        let free_fractions: usize = model
            .free()
            .iter()
            .filter(|f| matches!(f.kind, FreeKind::Fractions { .. }))
            .map(|f| f.len)
            .sum();
        let fixed_fractions = compartments > 1 && free_fractions < compartments;
        let linear_amplitudes =
            !model.is_nonlinear_in_fractions() && !fixed_fractions && model.scale_is_free();
        // Shell means are few numbers, sizes and exchange bend the signal: such fits
        // have modes at the bounds as well.
        let spec = model.spec();
        let bent = spec.spherical_mean
            || spec.compartments.iter().any(|c| {
                c.size_distribution.is_some() || ["karger", "dictionary"].contains(&c.kind.as_str())
            });
        let one_mode = axes.len() <= 1 && compartments <= 2 && !bent;
        let scalars = model
            .free()
            .iter()
            .filter(|f| matches!(f.kind, FreeKind::Scalar { .. }) && !f.nuisance);
        let many = axes.len() >= 3 || (axes.len() == 2 && scalars.count() >= SEARCHED_SCALARS);
        let (tensor, used) = tensor_design(acquisition);
        Ok(Self {
            searches_axes: many && linear_amplitudes,
            tensor,
            used,
            echo_factor: acquisition
                .b0_measurements()
                .map(|i| model.echo_factor(acquisition.te_ms().map(|t| t[i])))
                .collect(),
            b0: acquisition.b0_measurements().collect(),
            shells: members(acquisition).into_iter().filter(|m| m.len() >= SHELL_MEAN).collect(),
            points: points(lowered, linear_amplitudes),
            starts: if one_mode {
                1
            } else if axes.len() >= 3 || spec.spherical_mean {
                5
            } else {
                3
            },
            lattice: half_sphere(LATTICE),
            axes,
            linear_amplitudes,
            ranked,
            ranking,
        })
    }

    /// The starts on the acquisition of one voxel, whose gradients deviate from
    /// those of this scheme: the same points, measurements and counts.
    ///
    /// # Errors
    /// An acquisition that lacks what a compartment needs.
    pub(crate) fn for_voxel(&self, acquisition: &Acquisition) -> Result<Self, ModelError> {
        let model = self.ranking.model.clone();
        let (tensor, used) = tensor_design(acquisition);
        Ok(Self {
            ranking: Lowered::new(model, &acquisition.subset(&self.ranked))?,
            tensor,
            used,
            ..self.clone()
        })
    }

    /// The model on the measurements that rank the points.
    pub(crate) fn ranking(&self) -> &Lowered {
        &self.ranking
    }

    /// Up to twelve points spread over the ranges, with axes that differ.
    pub(crate) fn spread_points(&self) -> Vec<Vec<f64>> {
        const DIRECTIONS: [[f64; 3]; 4] =
            [[0.36, 0.48, 0.8], [0.8, -0.6, 0.0], [0.0, 0.6, -0.8], [-0.48, 0.64, 0.6]];
        let mut points: Vec<Vec<f64>> = self.points.iter().take(12).cloned().collect();
        for (i, x) in points.iter_mut().enumerate() {
            for (j, &at) in self.axes.iter().enumerate() {
                x[at..at + 3].copy_from_slice(&DIRECTIONS[(i + j) % DIRECTIONS.len()]);
            }
        }
        points
    }

    /// The mean b = 0 signal of a voxel (at TE = 0 by a typical T2, where compartments
    /// have one), or the largest signal without b = 0.
    pub fn mean_b0(&self, y: &[f64]) -> f64 {
        if self.b0.is_empty() {
            return y.iter().copied().fold(0.0, f64::max);
        }
        self.b0_signals(y).sum::<f64>() / self.b0.len() as f64
    }

    fn b0_signals(&self, y: &[f64]) -> impl Iterator<Item = f64> {
        self.b0.iter().zip(&self.echo_factor).map(|(&i, factor)| factor * y[i])
    }

    /// The least mean square of the signals of a shell, or that of all signals.
    pub(crate) fn least_power(&self, y: &[f64]) -> f64 {
        let power =
            |m: &[usize]| m.iter().map(|&i| y[i] * y[i]).sum::<f64>() / m.len().max(1) as f64;
        let all: Vec<usize> = (0..y.len()).collect();
        self.shells.iter().map(|m| power(m)).fold(power(&all), f64::min)
    }

    /// Standard deviation of the b = 0 signals, when there are at least four.
    pub fn b0_sd(&self, y: &[f64]) -> Option<f64> {
        let n = self.b0.len();
        if n < 4 {
            return None;
        }
        let mean = self.mean_b0(y);
        let at_zero = self.b0_signals(y).zip(&self.echo_factor);
        let square: f64 = at_zero.map(|(v, factor)| ((v - mean) / factor).powi(2)).sum();
        Some((square / (n - 1) as f64).sqrt())
    }

    /// Directions of falling diffusivity.
    fn directions(&self, y: &[f64], floor: f64) -> [[f64; 3]; 3] {
        let Some(design) = &self.tensor else {
            return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        };
        let n = self.used.len();
        let mut log: Vec<f64> = self.used.iter().map(|&i| y[i].max(floor)).collect();
        microtome_kernels::log::log_in_place(&mut log);
        let d: [f64; 6] = std::array::from_fn(|k| {
            design[k * n..(k + 1) * n].iter().zip(&log).map(|(w, l)| w * l).sum()
        });
        eigen_3x3([[d[0], d[3], d[4]], [d[3], d[1], d[5]], [d[4], d[5], d[2]]]).1
    }

    /// The starts of a voxel, best first.
    ///
    /// # Shapes
    /// `y` `[measurement]`; `evaluator` is one of [`StartScheme::ranking`].
    ///
    /// `floor` is the square that noise adds to magnitudes (0 for none): the ranking
    /// is by least squares, to which the noise floor would look like water that does
    /// not move, so $\sqrt{y^2 - \mathrm{floor}}$ stands for y. For N coils it is
    /// $(2N - \tfrac23)\sigma^2$, between the mean bias at high signal,
    /// $(2N-1)\sigma^2$, and that at none, $2N\sigma^2$.
    pub(crate) fn starts(&self, evaluator: &mut Evaluator, y: &[f64], floor: f64) -> Vec<Vec<f64>> {
        let mean_b0 = self.mean_b0(y);
        let e = self.directions(y, 1e-3 * mean_b0.max(f64::MIN_POSITIVE));
        let plan = &self.ranking.plan;
        let compartments = self.ranking.model.components().len();
        let mut y_slots = vec![0.0; plan.slots()];
        for (slot, &i) in plan.slot_of().iter().zip(&self.ranked) {
            y_slots[*slot] = if floor > 0.0 { (y[i] * y[i] - floor).max(0.0).sqrt() } else { y[i] };
        }
        let mut e_signals = vec![0.0; compartments * plan.slots()];
        let mut gram = vec![0.0; compartments * compartments];
        let mut right = vec![0.0; compartments];
        let weighted: Vec<f64> = y_slots.iter().zip(plan.mask()).map(|(y, m)| m * y).collect();
        let energy: f64 = y_slots.iter().zip(&weighted).map(|(y, w)| y * w).sum();
        let mut found: Vec<Start> = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            for axes in axis_sets(self.axes.len(), &e, index) {
                let mut x = point.clone();
                for (&at, axis) in self.axes.iter().zip(&axes) {
                    x[at..at + 3].copy_from_slice(axis);
                    self.turn(at, &e, index, &mut x);
                }
                let cost = if self.linear_amplitudes {
                    evaluator.compartment_signals(&x, &mut e_signals);
                    normal_equations(&e_signals, plan.mask(), &weighted, &mut gram, &mut right);
                    let amplitudes = non_negative(&gram, &right);
                    set_amplitudes(&self.ranking, &amplitudes, mean_b0, &mut x);
                    energy + quadratic(&gram, &right, &amplitudes)
                } else {
                    scale_only(evaluator, &self.ranking, &y_slots, mean_b0, energy, &mut x)
                };
                if cost.is_finite() {
                    found.push(Start { x, cost });
                }
            }
        }
        found.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        if self.searches_axes {
            let mut cost = |x: &mut [f64]| {
                evaluator.compartment_signals(x, &mut e_signals);
                normal_equations(&e_signals, plan.mask(), &weighted, &mut gram, &mut right);
                let amplitudes = non_negative(&gram, &right);
                set_amplitudes(&self.ranking, &amplitudes, mean_b0, x);
                energy + quadratic(&gram, &right, &amplitudes)
            };
            let mut points: Vec<Vec<f64>> = Vec::new();
            for start in &found {
                if points.len() < SEARCHED_POINTS
                    && points.iter().all(|p| !self.same_scalars(p, &start.x))
                {
                    points.push(start.x.clone());
                }
            }
            found.extend(points.into_iter().map(|x| self.search_axes(x, &mut cost)));
            found.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        }
        let mut kept: Vec<Vec<f64>> = Vec::with_capacity(self.starts);
        for start in found {
            if kept.len() == self.starts {
                break;
            }
            if kept.iter().all(|k| self.apart(k, &start.x)) {
                kept.push(start.x);
            }
        }
        kept
    }

    /// Starts at the corners of the scalars, for a voxel whose fit is far from its data.
    pub(crate) fn corner_starts(
        &self,
        evaluator: &mut Evaluator,
        y: &[f64],
        floor: f64,
    ) -> Vec<Vec<f64>> {
        let Some(centre) = self.points.first() else { return Vec::new() };
        let free = self.ranking.model.free().iter();
        let moves = |f: &&Free| f.kind == FreeKind::Scalar { period: None } && !f.nuisance;
        let scalars: Vec<_> = free.filter(moves).take(CORNERS).collect();
        let corner = |k: usize| {
            let mut x = centre.clone();
            for (i, f) in scalars.iter().enumerate() {
                let (low, high) = middle(f.range, f.scale);
                let share = if k >> i & 1 == 1 { 0.7 } else { 0.0 };
                x[f.at] = low + share * (high - low);
            }
            x
        };
        let scheme = Self {
            points: (0..1 << scalars.len()).map(corner).collect(),
            starts: CORNER_STARTS,
            searches_axes: false,
            ..self.clone()
        };
        scheme.starts(evaluator, y, floor)
    }

    /// Axes one after another: each takes the direction of a lattice that leaves least, the
    /// ones that follow going with it; then each but the last once more.
    fn search_axes(&self, mut x: Vec<f64>, cost: &mut impl FnMut(&mut [f64]) -> f64) -> Start {
        let n = self.axes.len();
        let mut least = f64::INFINITY;
        for (turn, axis) in (0..n).chain(0..n - 1).enumerate() {
            let moved = if turn < n { &self.axes[axis..] } else { &self.axes[axis..=axis] };
            let mut best = x.clone();
            for direction in &self.lattice {
                let mut trial = x.clone();
                for &at in moved {
                    trial[at..at + 3].copy_from_slice(direction);
                }
                let c = cost(&mut trial);
                if c < least {
                    (least, best) = (c, trial);
                }
            }
            x = best;
        }
        Start { x, cost: least }
    }

    /// Whether two points have the same scalars.
    fn same_scalars(&self, a: &[f64], b: &[f64]) -> bool {
        let mut scalars = self.ranking.model.free().iter();
        scalars.all(|f| !matches!(f.kind, FreeKind::Scalar { .. }) || a[f.at] == b[f.at])
    }

    /// Turns what turns about an axis towards the eigenvector of the largest
    /// diffusivity that is across it: by symmetry that is the plane of a lone fan. With
    /// several axes it need not be, and at one point in three the angle stays that of
    /// the point.
    fn turn(&self, at: usize, e: &[[f64; 3]; 3], point: usize, x: &mut [f64]) {
        let across = |v: &&[f64; 3]| {
            let dot = v[0] * x[at] + v[1] * x[at + 1] + v[2] * x[at + 2];
            dot.abs() < 0.7
        };
        if self.axes.len() > 1 && point.is_multiple_of(3) {
            return;
        }
        if let Some(&second) = e.iter().find(across) {
            self.ranking.model.turn_towards(at, second, x);
        }
    }

    /// Whether two points differ by 1.2 typical sizes in a scalar or by
    /// 20 degrees in an axis.
    fn apart(&self, a: &[f64], b: &[f64]) -> bool {
        self.ranking.model.free().iter().any(|f| match f.kind {
            FreeKind::Axis => {
                let dot: f64 = (f.at..f.at + 3).map(|i| a[i] * b[i]).sum();
                dot.abs() < 0.94
            }
            FreeKind::Scalar { .. } => (a[f.at] - b[f.at]).abs() > 1.2 * f.scale,
            _ => false,
        })
    }
}

/// The measurements of each shell.
fn members(acquisition: &Acquisition) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new(); acquisition.shells().len()];
    for (i, &s) in acquisition.shell_of().iter().enumerate() {
        out[s].push(i);
    }
    out
}

/// At most 96 measurements (two a shell at least), evenly over each shell.
fn spread(acquisition: &Acquisition) -> Vec<usize> {
    let n = acquisition.len();
    let keep = (96.0 / n as f64).min(1.0);
    let mut out = Vec::new();
    for list in &members(acquisition) {
        let m = ((list.len() as f64 * keep).ceil() as usize).max(2).min(list.len());
        out.extend((0..m).map(|k| list[k * list.len() / m]));
    }
    out.sort_unstable();
    out
}

/// Cost of amplitudes: aᵀGa - 2 rᵀa.
fn quadratic(gram: &[f64], right: &[f64], a: &[f64]) -> f64 {
    let n = a.len();
    let mut sum = 0.0;
    for i in 0..n {
        let row: f64 = (0..n).map(|j| gram[i * n + j] * a[j]).sum();
        sum += a[i] * (row - 2.0 * right[i]);
    }
    sum
}

/// Non-negative least squares of a small Gram matrix by coordinate descent.
fn non_negative(gram: &[f64], right: &[f64]) -> Vec<f64> {
    let n = right.len();
    let mut a = vec![0.0; n];
    for _ in 0..12 {
        for i in 0..n {
            let others: f64 = (0..n).filter(|&j| j != i).map(|j| gram[i * n + j] * a[j]).sum();
            let diagonal = gram[i * n + i];
            a[i] = if diagonal > 0.0 { ((right[i] - others) / diagonal).max(0.0) } else { 0.0 };
        }
    }
    a
}

/// Writes amplitudes as s0 and fractions of at least 2 %.
fn set_amplitudes(lowered: &Lowered, amplitudes: &[f64], mean_b0: f64, x: &mut [f64]) {
    let total: f64 = amplitudes.iter().sum();
    for free in lowered.model.free() {
        match &free.kind {
            FreeKind::Scale => {
                x[free.at] =
                    if total > 0.0 { total } else { mean_b0 }.clamp(free.range[0], free.range[1]);
            }
            FreeKind::Fractions { .. } if total > 0.0 => {
                let f: Vec<f64> = amplitudes.iter().map(|a| (a / total).max(0.02)).collect();
                let sum: f64 = f.iter().sum();
                for (i, v) in f.iter().enumerate() {
                    x[free.at + i] = v / sum;
                }
            }
            _ => {}
        }
    }
}

/// Solves for the scale alone (fractions are part of the point).
fn scale_only(
    evaluator: &mut Evaluator,
    lowered: &Lowered,
    y: &[f64],
    mean_b0: f64,
    energy: f64,
    x: &mut [f64],
) -> f64 {
    let scale = lowered.model.free().iter().find(|f| f.kind == FreeKind::Scale);
    if let Some(free) = scale {
        x[free.at] = mean_b0.clamp(free.range[0], free.range[1]);
    }
    let signal = evaluator.signal(x);
    let (mut sy, mut ss) = (0.0, 0.0);
    for ((s, y), m) in signal.iter().zip(y).zip(lowered.plan.mask()) {
        sy += m * s * y;
        ss += m * s * s;
    }
    let factor = if scale.is_some() && ss > 0.0 { (sy / ss).max(1e-3) } else { 1.0 };
    if let Some(free) = scale {
        x[free.at] = (x[free.at] * factor).clamp(free.range[0], free.range[1]);
    }
    energy - 2.0 * factor * sy + factor * factor * ss
}

/// The direction sets that a point is tried with.
fn axis_sets(axes: usize, e: &[[f64; 3]; 3], point: usize) -> Vec<Vec<[f64; 3]>> {
    let turn = |angle: f64| -> [f64; 3] {
        let (s, c) = angle.sin_cos();
        std::array::from_fn(|i| c * e[0][i] + s * e[1][i])
    };
    match axes {
        0 => vec![Vec::new()],
        1 if point.is_multiple_of(4) => vec![vec![e[0]], vec![e[1]], vec![e[2]]],
        1 => vec![vec![e[0]]],
        _ => {
            let pairs: &[(f64, f64)] = if point.is_multiple_of(3) {
                &[(0.0, 1.57), (0.785, -0.785), (0.35, -0.35), (0.0, 0.7), (0.0, -0.7)]
            } else {
                &[(0.0, 1.57), (0.785, -0.785)]
            };
            pairs
                .iter()
                .map(|&(a, b)| {
                    let mut set = vec![turn(a), turn(b)];
                    set.extend((2..axes).map(|i| if i == 2 { e[2] } else { turn(0.4 * i as f64) }));
                    set
                })
                .collect()
        }
    }
}

/// Start points of the scalars by the R-sequence, inside the middle of their ranges.
fn points(lowered: &Lowered, linear_amplitudes: bool) -> Vec<Vec<f64>> {
    let model = &lowered.model;
    let mut dimensions = 0;
    for free in model.free() {
        dimensions += match &free.kind {
            FreeKind::Scalar { .. } if free.nuisance => 0,
            FreeKind::Scalar { .. } => 1,
            FreeKind::Fractions { .. } if !linear_amplitudes => free.len - 1,
            _ => 0,
        };
    }
    let count = [1, 5, 10, 20, 28][dimensions.min(4)] + 6 * dimensions.saturating_sub(4);
    // Shell means have more modes, and a point costs less.
    let count = if model.spec().spherical_mean { 4 * count } else { count };
    // The root of t^(d+1) = t + 1.
    let mut phi = 2.0_f64;
    for _ in 0..60 {
        phi = (1.0 + phi).powf(1.0 / (dimensions as f64 + 1.0));
    }
    let mut out = Vec::with_capacity(count);
    for k in 0..count {
        let mut d = 0;
        let mut next = || {
            d += 1;
            (0.5 + phi.powi(-d) * (k as f64 + 1.0)).fract()
        };
        let mut x = vec![0.0; model.values()];
        for free in model.free() {
            match &free.kind {
                FreeKind::Scalar { .. } if free.nuisance => x[free.at] = 0.0,
                FreeKind::Scalar { period: Some(p) } => x[free.at] = p * next(),
                FreeKind::Scalar { period: None } => {
                    let (low, high) = middle(free.range, free.scale);
                    x[free.at] = low + (high - low) * next();
                }
                FreeKind::Axis => x[free.at + 2] = 1.0,
                FreeKind::Fractions { total, .. } => {
                    let n = free.len;
                    let mut rest = 1.0;
                    for i in 0..n - 1 {
                        let share = if linear_amplitudes {
                            1.0 / (n - i) as f64
                        } else {
                            0.15 + 0.7 * next()
                        };
                        x[free.at + i] = total * rest * share;
                        rest *= 1.0 - share;
                    }
                    x[free.at + n - 1] = total * rest;
                }
                FreeKind::Scale => x[free.at] = 1.0,
            }
        }
        out.push(x);
    }
    out
}

/// The part of a range where starts are put: around its typical size.
fn middle(range: [f64; 2], scale: f64) -> (f64, f64) {
    let low = range[0].max(0.2 * scale);
    let high = range[1].min(3.0 * scale);
    if low < high { (low, high) } else { (range[0], range[1].min(range[0] + 3.0 * scale)) }
}

/// The pseudo-inverse of the log-linear tensor fit and its measurements.
fn tensor_design(acquisition: &Acquisition) -> (Option<Vec<f64>>, Vec<usize>) {
    let b = acquisition.b_ms_per_um2();
    let weighted =
        |limit: f64| (0..b.len()).filter(|&i| b[i] > B0_MAX_MS_PER_UM2 && b[i] <= limit).count();
    let limit =
        if weighted(TENSOR_B_MAX) >= TENSOR_MEASUREMENTS { TENSOR_B_MAX } else { f64::INFINITY };
    let used: Vec<usize> = (0..b.len()).filter(|&i| b[i] <= limit).collect();
    (log_tensor(acquisition, &used), used)
}
