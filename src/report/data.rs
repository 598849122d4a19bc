//! What a report shows: plain data, filled by the verbs `demo` and `report`.
//!
//! Every list may be empty and every number may be NaN; the report leaves out
//! what is not there. Names and units are shown as given; an empty unit means a
//! number without a dimension.
//!
//! *Shapes*: images are `[y, x]`, row by row, and drawn with x to the right and
//! y up; draws are `[chain][draw]`. Validated by `tests.rs`.

/// May the reader use these numbers?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Every check passed.
    Trust,
    /// Some checks failed; the sentences say where to be careful.
    #[default]
    Caution,
    /// The run failed a check that its numbers depend on.
    DoNotTrust,
}

/// Everything that [`super::html`] shows.
#[derive(Clone, Debug, Default)]
pub struct ReportData {
    /// Heading of the page.
    pub title: String,
    /// The line that made this run.
    pub command_line: String,
    /// May the reader use these numbers?
    pub verdict: Verdict,
    /// Full sentences that give the reasons of the verdict.
    pub verdict_sentences: Vec<String>,
    /// Name and value: version, seed, SIMD level, wall time, voxels, counts by
    /// status, divergences.
    pub facts: Vec<(String, String)>,
    /// A sentence on the slice and its axes, added to the captions of all maps.
    pub map_note: String,
    /// Mean and sd of each parameter over a slice. Pairs of equal name and unit
    /// are slices of one quantity and share their scales.
    pub maps: Vec<MapPair>,
    /// Directions, coded by colour.
    pub directions: Option<DirectionMap>,
    /// Diagnostics over a slice.
    pub quality: Vec<QualityMap>,
    /// What became of each voxel of a slice.
    pub status: Option<StatusMap>,
    /// For fits without an image: each parameter over the voxels.
    pub populations: Vec<Population>,
    /// The posterior of one voxel.
    pub voxel: Option<VoxelPosterior>,
    /// Measured and predicted signals of one voxel.
    pub predictive: Option<Predictive>,
    /// Estimates against a known truth.
    pub truth: Vec<TruthComparison>,
    /// Streamlines; a page with them has no verdict.
    pub bundles: Option<BundlePicture>,
    /// Reconstructed images, side by side.
    pub images: Vec<ReconstructedImage>,
    /// A sentence on what the images are of.
    pub image_note: String,
    /// Ranks of truths among posterior draws, one entry a quantity.
    pub calibration: Vec<CalibrationPlot>,
    /// Smallest and largest share of ranks below 1, 2, … that uniform ranks have; one
    /// entry fewer than ranks can take values.
    pub calibration_band: Vec<[f64; 2]>,
    /// The table of parameters.
    pub parameters: Vec<ParameterRow>,
    /// Heading and text of each paragraph on methods.
    pub methods: Vec<(String, String)>,
    /// Key (authors, year) and full reference with its DOI as plain text.
    pub references: Vec<(String, String)>,
}

/// Streamlines and the voxels that they visit.
#[derive(Clone, Debug, Default)]
pub struct BundlePicture {
    /// Points in voxel coordinates, whole numbers at the centres of voxels.
    pub lines: Vec<Vec<[f32; 3]>>,
    /// Voxels along i, j, k.
    pub shape: [usize; 3],
    /// Streamlines in each voxel, i fastest.
    pub visits: Vec<f32>,
    /// Standard errors of the visits.
    pub error: Vec<f32>,
    /// A sentence on which streamlines are drawn.
    pub note: String,
}

/// An image that was reconstructed from projections, or the truth beside it.
#[derive(Clone, Debug, Default)]
pub struct ReconstructedImage {
    /// Method, or `truth`.
    pub name: String,
    /// Voxels of a row.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// `[y, x]`.
    pub values: Vec<f32>,
    /// Peak signal-to-noise ratio to the truth, dB; NaN for the truth itself.
    pub psnr: f64,
    /// Structural similarity to the truth; NaN for the truth itself.
    pub ssim: f64,
}

/// The ranks of one quantity in simulations whose truth is known.
#[derive(Clone, Debug, Default)]
pub struct CalibrationPlot {
    /// Quantity.
    pub name: String,
    /// p value of uniform ranks.
    pub p: f64,
    /// The same with Holm over all quantities.
    pub adjusted: f64,
    /// What bends the ranks, in words.
    pub shape: String,
    /// One rank a simulation.
    pub ranks: Vec<u32>,
}

/// Posterior mean and standard deviation of one parameter over one slice.
#[derive(Clone, Debug, Default)]
pub struct MapPair {
    /// Parameter.
    pub name: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// Which slice, for example `k = 12`; may be empty where there is one.
    pub slice: String,
    /// Columns.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// `[y, x]`, NaN outside the mask.
    pub mean: Vec<f32>,
    /// `[y, x]`, NaN outside the mask; empty where no sd is known.
    pub sd: Vec<f32>,
}

/// Which diagnostic a map shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QualityKind {
    /// Rank-normalised split R-hat; good below 1.01.
    #[default]
    RHat,
    /// Effective sample size of the bulk; good above 400.
    EssBulk,
    /// Posterior shrinkage, 1 - posterior variance / prior variance.
    Shrinkage,
    /// Anything else; scaled to its own range.
    Other,
}

/// One diagnostic over one slice.
#[derive(Clone, Debug, Default)]
pub struct QualityMap {
    /// Which diagnostic.
    pub kind: QualityKind,
    /// Title of the map, for example `worst R-hat over parameters`.
    pub name: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// Columns.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// `[y, x]`, NaN outside the mask.
    pub values: Vec<f32>,
}

/// What became of each voxel of one slice.
#[derive(Clone, Debug, Default)]
pub struct StatusMap {
    /// Columns.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// `[y, x]`, an index into `labels`; [`StatusMap::OUTSIDE`] outside the mask.
    pub codes: Vec<u8>,
    /// Name of each code; code 0 is the good one (`converged`).
    pub labels: Vec<String>,
}

impl StatusMap {
    /// The code of a voxel outside the mask.
    pub const OUTSIDE: u8 = u8::MAX;
}

/// Directions of one slice, coded by colour: red |x|, green |y|, blue |z|, each
/// times the fraction.
#[derive(Clone, Debug, Default)]
pub struct DirectionMap {
    /// Which direction, for example `mu of the first stick`.
    pub name: String,
    /// Columns.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// `[y, x]`, red, green and blue; black outside the mask.
    pub rgb: Vec<[u8; 3]>,
}

/// One parameter over the voxels of a fit that has no image.
#[derive(Clone, Debug, Default)]
pub struct Population {
    /// Parameter.
    pub name: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// Posterior mean (or estimate) of each voxel.
    pub mean: Vec<f64>,
    /// Posterior sd (or standard error) of each voxel; empty where unknown.
    pub sd: Vec<f64>,
}

/// The posterior of one voxel.
#[derive(Clone, Debug, Default)]
pub struct VoxelPosterior {
    /// Which voxel, for example `voxel 118 (i 3, j 7, k 1)`.
    pub label: String,
    /// Its parameters.
    pub parameters: Vec<VoxelParameter>,
    /// Two parameters (indices) to draw against each other.
    pub pair: Option<(usize, usize)>,
}

/// One parameter of one voxel.
#[derive(Clone, Debug, Default)]
pub struct VoxelParameter {
    /// Parameter.
    pub name: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// `[chain][draw]`, after the warm-up.
    pub chains: Vec<Vec<f64>>,
    /// Where the prior density is given, in the unit of the parameter.
    pub prior_x: Vec<f64>,
    /// The prior density there, per unit of the parameter.
    pub prior_density: Vec<f64>,
    /// The true value, where it is known.
    pub truth: Option<f64>,
    /// Posterior mean.
    pub mean: f64,
    /// Posterior standard deviation.
    pub sd: f64,
    /// 5 % quantile.
    pub q05: f64,
    /// 95 % quantile.
    pub q95: f64,
    /// Rank-normalised split R-hat.
    pub rhat: f64,
    /// Effective sample size of the bulk.
    pub ess_bulk: f64,
}

/// Measured signals of one voxel against those that its posterior predicts. All
/// lists but `shell_labels` have one entry a measurement.
#[derive(Clone, Debug, Default)]
pub struct Predictive {
    /// Which voxel.
    pub label: String,
    /// Unit of the signal; empty for arbitrary units.
    pub signal_unit: String,
    /// Name of each shell, for example `b = 1000 s/mm²`, by increasing b.
    pub shell_labels: Vec<String>,
    /// The shell of each measurement, an index into `shell_labels`.
    pub shell: Vec<usize>,
    /// |g·µ|, cosine between gradient and fibre; empty for a model without a
    /// direction, NaN for measurements without a gradient.
    pub cosine: Vec<f64>,
    /// Measured signal.
    pub measured: Vec<f64>,
    /// Median of the predicted signal.
    pub median: Vec<f64>,
    /// 5 % quantile of the predicted signal, noise included.
    pub q05: Vec<f64>,
    /// 95 % quantile of the predicted signal, noise included.
    pub q95: Vec<f64>,
    /// (measured - predicted mean) / noise sd.
    pub residual: Vec<f64>,
}

/// One parameter against its known truth over voxels; all lists are equally long.
#[derive(Clone, Debug, Default)]
pub struct TruthComparison {
    /// Parameter.
    pub name: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// True value of each voxel.
    pub truth: Vec<f64>,
    /// Estimate (posterior mean) of each voxel.
    pub estimate: Vec<f64>,
    /// 5 % quantile of each voxel; empty where no interval is known.
    pub q05: Vec<f64>,
    /// 95 % quantile of each voxel; empty where no interval is known.
    pub q95: Vec<f64>,
}

/// One row of the table of parameters. NaN shows as a dash.
#[derive(Clone, Debug, Default)]
pub struct ParameterRow {
    /// Parameter.
    pub name: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// Mean of the posterior means over voxels.
    pub mean: f64,
    /// Mean of the posterior sds over voxels.
    pub sd: f64,
    /// Mean of 1 - posterior variance / prior variance over voxels.
    pub shrinkage: f64,
    /// Largest R-hat of any voxel.
    pub worst_rhat: f64,
    /// Smallest effective sample size of any voxel.
    pub smallest_ess: f64,
}
