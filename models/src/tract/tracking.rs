//! A tracking run: rule, limits, seeds; its streamlines in the order of seeds.
//!
//! Streamlines are world points in mm. A streamline is a function of the field, the
//! specification and the number of its seed: threads and batches change nothing. Validated by
//! `models/tests/suite/tracking.rs`.

use super::field::{OrientationField, StickField};
use super::{Placement, Seeding};
use microtome_kernels::simd;
use microtome_kernels::streamline::{
    ArcMean, ArcRule, AxisTable, BootstrapRule, ClosestRule, Functions, Integrator, Lattice,
    Limits, MassRule, PeakRule, Peaks, Redraw, Regions, Resampling, Rule as KernelRule, Seed,
    Starts, StickRule, Stop, Tracks, track,
};

/// Seeds of a group, which are followed at once: enough work for all threads, little enough to hold.
const GROUP: u64 = 4096;

/// How a direction is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The peak that Newton's method finds from the last direction.
    Peak,
    /// The peak nearest to the last direction.
    Closest,
    /// A direction drawn in the cone.
    Probabilistic,
    /// Arcs of one step by the geometric mean of the field (iFOD2).
    SecondOrder,
    /// Arcs of a longer probe by the mean of the field (PTT).
    ParallelTransport,
}

/// What a run follows, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackingSpec {
    /// Step, mm.
    pub step_mm: f64,
    /// The method of a step.
    pub integrator: Integrator,
    /// Largest angle between directions one step apart, degrees.
    pub max_angle_deg: f64,
    /// Longest streamline, mm.
    pub max_length_mm: f64,
    /// Shortest streamline, mm.
    pub min_length_mm: f64,
    /// Lowest amplitude of the field.
    pub threshold: f64,
    /// Lowest part of the largest peak.
    pub relative_peak: f64,
    /// Smallest angle between peaks, degrees.
    pub min_separation_deg: f64,
    /// Part of the largest value below which a value is nothing (probabilistic).
    pub part: f64,
    /// Angular weight (probabilistic).
    pub angular_weight: f64,
    /// Axes of the half-sphere, at least ([`AxisTable::new`]).
    pub axes: usize,
    /// Length of the probe, mm (parallel transport).
    pub probe_mm: f64,
    /// Samples of an arc.
    pub samples: usize,
    /// Arcs at a step.
    pub candidates: usize,
    /// Both ways from the seed.
    pub both: bool,
    /// Directions at a seed.
    pub starts: Starts,
    /// Seed of all random numbers.
    pub seed: u64,
}

/// What is wrong with a specification.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrackingError {
    /// A number outside of its range.
    #[error("{name} is {value}; it must be {range}")]
    Range {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        range: &'static str,
    },
    /// No seeds.
    #[error("there are no seeds: the seed mask is empty")]
    NoSeeds,
    /// Too many seeds.
    #[error(
        "{seeds} seeds are more than one run can number (268,435,455); run parts with other --seed values"
    )]
    TooManySeeds {
        /// Their number.
        seeds: u64,
    },
}

/// What is followed.
enum Source<'a> {
    Field { field: &'a OrientationField, rule: Rule },
    Signals { lattice: &'a Lattice<f32>, resampling: &'a Resampling, attempts: u32 },
    Sticks { field: &'a StickField, redraw: Redraw },
}

/// A run that is ready.
pub struct Tracking<'a> {
    source: Source<'a>,
    spec: TrackingSpec,
    limits: Limits,
    axes: AxisTable,
    placement: Placement,
    draw: u32,
}

/// One streamline in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Streamline {
    /// Points, world mm.
    pub points: Vec<[f32; 3]>,
    /// Amplitude of the field at every point.
    pub amplitudes: Vec<f32>,
    /// Which point is the seed.
    pub seed_point: u32,
    /// Number of the seed.
    pub seed: u64,
    /// Why its ends are there.
    pub stops: [Stop; 2],
}

/// The streamlines of a group of seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// In the order of seeds and their directions.
    pub streamlines: Vec<Streamline>,
    /// Streamlines that began.
    pub tried: u64,
    /// Points that were added, those of dropped streamlines included.
    pub steps: u64,
    /// Dropped because they were too short.
    pub short: u64,
    /// Dropped by masks.
    pub rejected: u64,
}

fn check(spec: &TrackingSpec) -> Result<Limits, TrackingError> {
    let range = |name, value: f64, good: bool, range| {
        if good { Ok(()) } else { Err(TrackingError::Range { name, value, range }) }
    };
    let finite = |v: f64| v.is_finite();
    range("the step (mm)", spec.step_mm, spec.step_mm > 0.0 && finite(spec.step_mm), "above 0")?;
    let angle = spec.max_angle_deg;
    range(
        "the largest angle (degrees)",
        angle,
        angle > 0.0 && angle <= 90.0,
        "above 0 and at most 90",
    )?;
    let (low, high) = (spec.min_length_mm, spec.max_length_mm);
    range("the shortest length (mm)", low, low >= 0.0, "0 or more")?;
    range(
        "the longest length (mm)",
        high,
        finite(high) && high >= low.max(spec.step_mm),
        "at least the shortest length and one step",
    )?;
    range("the threshold", spec.threshold, finite(spec.threshold), "a finite number")?;
    let part = |v: f64| (0.0..=1.0).contains(&v);
    range(
        "the relative threshold of peaks",
        spec.relative_peak,
        part(spec.relative_peak),
        "from 0 to 1",
    )?;
    range("the threshold of the mass function", spec.part, part(spec.part), "from 0 to 1")?;
    range("the angular weight", spec.angular_weight, part(spec.angular_weight), "from 0 to 1")?;
    let apart = spec.min_separation_deg;
    range(
        "the smallest angle between peaks (degrees)",
        apart,
        (0.0..=90.0).contains(&apart),
        "from 0 to 90",
    )?;
    let axes = spec.axes as f64;
    range(
        "the number of axes of the sphere",
        axes,
        (32.0..=10_000.0).contains(&axes),
        "from 32 to 10000",
    )?;
    let steps = (high / spec.step_mm * (1.0 + 1e-9)).floor();
    range(
        "the number of steps of the longest streamline",
        steps,
        steps < 1e7,
        "below 10,000,000 (a longer step or a shorter length)",
    )?;
    Ok(Limits {
        step: spec.step_mm,
        integrator: spec.integrator,
        cos_angle: angle.to_radians().cos(),
        steps: steps as u32,
        fewest: (low / spec.step_mm * (1.0 - 1e-9)).ceil() as u32,
        both: spec.both,
    })
}

impl<'a> Tracking<'a> {
    /// A run over a field of functions.
    ///
    /// # Errors
    /// A number outside of its range.
    pub fn over_field(
        field: &'a OrientationField,
        rule: Rule,
        spec: TrackingSpec,
    ) -> Result<Self, TrackingError> {
        let placement = field.placement;
        Self::new(Source::Field { field, rule }, field.order, placement, spec)
    }

    /// A run over signals whose residuals are resampled at every step; `placement` is that of the
    /// lattice.
    ///
    /// # Errors
    /// A number outside of its range.
    pub fn over_signals(
        lattice: &'a Lattice<f32>,
        placement: Placement,
        resampling: &'a Resampling,
        order: usize,
        attempts: u32,
        spec: TrackingSpec,
    ) -> Result<Self, TrackingError> {
        let source = Source::Signals { lattice, resampling, attempts };
        Self::new(source, order, placement, spec)
    }

    /// A run over posterior draws of sticks: one draw for all streamlines, or another at every
    /// step when `draw` is `None`.
    ///
    /// # Errors
    /// A number outside of its range.
    pub fn over_sticks(
        field: &'a StickField,
        draw: Option<u32>,
        spec: TrackingSpec,
    ) -> Result<Self, TrackingError> {
        let redraw = draw.map_or(Redraw::Step, Redraw::Line);
        let mut run = Self::new(Source::Sticks { field, redraw }, 0, field.placement, spec)?;
        run.draw = draw.unwrap_or(0);
        Ok(run)
    }

    fn new(
        source: Source<'a>,
        order: usize,
        placement: Placement,
        spec: TrackingSpec,
    ) -> Result<Self, TrackingError> {
        let limits = check(&spec)?;
        let axes = AxisTable::new(order, spec.axes);
        Ok(Self { source, spec, limits, axes, placement, draw: 0 })
    }

    /// Where the field lies.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Follows another posterior draw of the whole field from here on.
    pub fn follow_draw(&mut self, draw: u32) {
        if let Source::Sticks { redraw, .. } = &mut self.source {
            *redraw = Redraw::Line(draw);
            self.draw = draw;
        }
    }

    /// The number of groups into which seeds are divided.
    ///
    /// # Errors
    /// No seeds, or too many of them.
    pub fn groups(&self, seeding: &Seeding) -> Result<u64, TrackingError> {
        let seeds = seeding.len();
        if seeds == 0 {
            return Err(TrackingError::NoSeeds);
        }
        if seeds >= 1 << 28 {
            return Err(TrackingError::TooManySeeds { seeds });
        }
        Ok(seeds.div_ceil(GROUP))
    }

    /// The streamlines of one group of seeds, on all threads; `mask` is where the mask of the
    /// seeds lies.
    pub fn group(
        &self,
        number: u64,
        seeding: &Seeding,
        mask: &Placement,
        regions: &Regions,
    ) -> Group {
        let last = ((number + 1) * GROUP).min(seeding.len());
        let seeds: Vec<Seed> = (number * GROUP..last)
            .map(|n| seeding.seed(n, self.spec.seed, mask, &self.placement))
            .collect();
        let tracks = self.tracks(&seeds, regions);
        Group {
            streamlines: tracks.lines.into_iter().map(|l| self.in_world(l)).collect(),
            tried: tracks.tried,
            steps: tracks.steps,
            short: tracks.short,
            rejected: tracks.rejected,
        }
    }

    fn in_world(&self, line: microtome_kernels::streamline::Line) -> Streamline {
        let points =
            line.points.iter().map(|x| self.placement.world_of_field(*x).map(|v| v as f32));
        Streamline {
            points: points.collect(),
            amplitudes: line.amplitudes,
            seed_point: line.seed as u32,
            seed: line.number,
            stops: line.stops,
        }
    }

    fn follow<R: KernelRule>(&self, rule: &R, seeds: &[Seed], regions: &Regions) -> Tracks {
        let (starts, seed) = (self.spec.starts, self.spec.seed);
        track(simd::level(), rule, &self.limits, regions, seeds, starts, seed, self.draw)
    }

    fn tracks(&self, seeds: &[Seed], regions: &Regions) -> Tracks {
        let spec = &self.spec;
        let peaks = Peaks {
            axes: &self.axes,
            threshold: spec.threshold,
            relative: spec.relative_peak,
            cos_separation: spec.min_separation_deg.to_radians().cos(),
        };
        let (field, rule) = match &self.source {
            Source::Field { field, rule } => (field, *rule),
            Source::Sticks { field, redraw } => {
                let Some(voxel_from_field) = field.placement.voxel_from_field() else {
                    return Tracks::default();
                };
                let rule = StickRule {
                    shape: field.shape,
                    voxel_from_field,
                    row: &field.row,
                    sticks: &field.sticks,
                    draws: field.draws,
                    count: field.count,
                    threshold: spec.threshold,
                    redraw: *redraw,
                };
                return self.follow(&rule, seeds, regions);
            }
            Source::Signals { lattice, resampling, attempts } => {
                let rule = BootstrapRule {
                    field: *lattice,
                    resampling,
                    peaks,
                    cos_angle: self.limits.cos_angle,
                    attempts: *attempts,
                };
                return self.follow(&rule, seeds, regions);
            }
        };
        let functions = Functions { field: &field.lattice, peaks };
        match rule {
            Rule::Peak => self.follow(&PeakRule { functions }, seeds, regions),
            Rule::Closest => self.follow(&ClosestRule { functions }, seeds, regions),
            Rule::Probabilistic => {
                let rule = MassRule {
                    functions,
                    part: spec.part,
                    cos_cone: self.limits.cos_angle,
                    angular_weight: spec.angular_weight,
                };
                self.follow(&rule, seeds, regions)
            }
            Rule::SecondOrder | Rule::ParallelTransport => {
                let second = rule == Rule::SecondOrder;
                let half = (spec.max_angle_deg.to_radians() / 2.0).sin();
                let rule = ArcRule {
                    functions,
                    probe: if second { spec.step_mm } else { spec.probe_mm },
                    samples: spec.samples.max(1),
                    mean: if second { ArcMean::Geometric } else { ArcMean::Arithmetic },
                    candidates: spec.candidates,
                    curvature: 2.0 * half / spec.step_mm,
                };
                self.follow(&rule, seeds, regions)
            }
        }
    }
}
