//! What walkers are asked: the steps of time, what each position counts for, and when
//! signals are read.
//!
//! A path is straight from node to node, so the phase of a measurement is a weighted sum
//! of the positions at the nodes,
//!
//! $$\varphi_m = \sum_p\sum_{a=1}^3 A_{mpa} X_{pa},\qquad X_{pa} = \sum_k w_{pk} x_a(t_k)$$
//!
//! with few profiles p shared by all measurements m that are read at the same time.
//!
//! | symbol | unit |
//! |---|---|
//! | $w_{pk}$ | ms, times the unit of the profile |
//! | $A_{mpa}$ | rad/(ms µm) over the unit of the profile |
//!
//! Validated by `models/tests/suite/simulation.rs`.

/// The measurements that are read at one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The node: 0 is the start, k the end of step k.
    pub node: usize,
    /// First profile of these measurements and one past the last.
    pub profiles: std::ops::Range<usize>,
    /// Numbers of the measurements.
    pub measurements: Vec<usize>,
    /// $A$ `[measurement][profile]`, in the frame of the shape.
    pub amplitudes: Vec<[f64; 3]>,
}

/// One term of the sum over nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeWeight {
    /// The profile.
    pub profile: usize,
    /// Its weight at the node.
    pub weight: f64,
}

/// Steps, weights and readings.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Protocol {
    /// Duration of every step, ms.
    pub steps: Vec<f64>,
    /// Weights at every node (one more than steps); zeros left out.
    pub nodes: Vec<Vec<NodeWeight>>,
    /// Number of profiles.
    pub profiles: usize,
    /// By rising node.
    pub readings: Vec<Reading>,
    /// Number of measurements of all readings.
    pub measurements: usize,
}

impl Protocol {
    /// Whether all numbers of the parts fit together.
    pub(crate) fn is_consistent(&self) -> bool {
        let inside = |r: &Reading| {
            r.node < self.nodes.len()
                && r.profiles.end <= self.profiles
                && r.profiles.start <= r.profiles.end
                && r.amplitudes.len() == r.measurements.len() * r.profiles.len()
                && r.measurements.iter().all(|m| *m < self.measurements)
        };
        self.nodes.len() == self.steps.len() + 1
            && self.nodes.iter().flatten().all(|w| w.profile < self.profiles)
            && self.readings.iter().all(inside)
            && self.readings.windows(2).all(|w| w[0].node <= w[1].node)
    }
}
