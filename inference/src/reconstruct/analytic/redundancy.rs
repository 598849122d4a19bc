//! How much each of two measurements of the same line counts.
//!
//! A line that is measured twice may count once in all, however it is shared:
//! $m(\varphi, \gamma) + m(\varphi', \gamma') = 1$. From the source at $\varphi$ the ray at the
//! angle $\gamma$ from the centre is that at $-\gamma$ from $\varphi' = \varphi + \pi + 2\gamma$.
//!
//! | scan | $m$ |
//! |---|---|
//! | full turn | $\tfrac12$ |
//! | short, range $\pi + 2\delta$, $\beta = \varphi - \varphi_0$ | $\sin^2\!\left(\tfrac\pi4\frac{\beta}{\delta-\gamma}\right)$ for $\beta\le 2(\delta-\gamma)$; 1 up to $\pi - 2\gamma$; then $\sin^2\!\left(\tfrac\pi4\frac{\pi+2\delta-\beta}{\delta+\gamma}\right)$ |
//! | full turn, detector to one side, both sides to $\gamma_0$ | $\tfrac12\left(1+\sin\frac{\pi\gamma}{2\gamma_0}\right)$, 1 beyond on the long side |
//! | less | 1 for lines that were measured once, $\tfrac12$ for those measured twice |
//!
//! $\delta$ is not the half angle of the fan but what the range allows, so that overscan is
//! used with soft weights. For parallel beams the distance from the centre takes the place
//! of $\gamma$, and angles are shared among all views of a direction, whatever its sense.
//!
//! Source: Parker 1982, doi:10.1118/1.595078; overscan: Silver 2000, doi:10.1118/1.599004,
//! and Wesarg, Ebert & Bortfeld 2002, doi:10.1118/1.1446104; detector to one side: Wang 2002,
//! doi:10.1118/1.1489043. Validated by `measurements_of_a_line_sum_to_one` below.

use super::scan::Shares;
use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// How measurements of the same line are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Chosen from the geometry.
    #[default]
    Auto,
    /// All views count as those of full turns.
    Full,
    /// Parker's weights.
    Short,
    /// Wang's weights of a detector that is to one side.
    Offset,
}

impl Sharing {
    /// All of them.
    pub const ALL: [Sharing; 4] = [Sharing::Auto, Sharing::Full, Sharing::Short, Sharing::Offset];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Sharing::Auto => "auto",
            Sharing::Full => "full",
            Sharing::Short => "short",
            Sharing::Offset => "offset",
        }
    }

    /// The rule of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// The chosen weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Redundancy {
    /// Every measurement counts alike.
    Equal(f64),
    /// Parker's, with the first angle and half of what the range has beyond a half turn.
    Short { start: f64, delta: f64 },
    /// Wang's: how far both sides reach, and the sign of the long one.
    Offset { reach: f64, side: f64 },
    /// Lines measured twice count half.
    Partial,
}

impl Redundancy {
    /// The weight of the ray at `gamma` (angle or distance) from the centre, of the view at
    /// an angle.
    pub(super) fn weight(&self, shares: &Shares, angle: f64, gamma: f64) -> f64 {
        match *self {
            Redundancy::Equal(weight) => weight,
            Redundancy::Short { start, delta } => {
                // Half a turn of rounding before the start belongs to it.
                let beta = (angle - start + 1e-9).rem_euclid(2.0 * PI) - 1e-9;
                if gamma.abs() >= delta {
                    return partial(shares, angle, gamma);
                }
                let bend = |x: f64| (FRAC_PI_4 * x).sin().powi(2);
                if beta < 2.0 * (delta - gamma) {
                    bend(beta.max(0.0) / (delta - gamma))
                } else if beta <= PI - 2.0 * gamma {
                    1.0
                } else {
                    bend((PI + 2.0 * delta - beta).max(0.0) / (delta + gamma))
                }
            }
            Redundancy::Offset { reach, side } => {
                let share = (side * gamma / reach).clamp(-1.0, 1.0);
                0.5 * (1.0 + (FRAC_PI_2 * share).sin())
            }
            Redundancy::Partial => partial(shares, angle, gamma),
        }
    }
}

fn partial(shares: &Shares, angle: f64, gamma: f64) -> f64 {
    if shares.has(angle + PI + 2.0 * gamma) { 0.5 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn measurements_of_a_line_sum_to_one() {
        let step = 0.5_f64.to_radians();
        let whole: Vec<f64> = (0..720).map(|k| step * f64::from(k)).collect();
        let whole = Shares::new(&whole, TAU);
        // From 20 degrees over 240: 30 beyond a half turn on either side.
        let short: Vec<f64> = (0..480).map(|k| step * (40.5 + f64::from(k))).collect();
        let short = Shares::new(&short, TAU);
        let start = 20.0_f64.to_radians();
        assert!(short.start.is_some_and(|s| (s - start).abs() < 1e-9));
        let delta = (short.range - PI) / 2.0;
        let parker = Redundancy::Short { start, delta };
        let wang = Redundancy::Offset { reach: 0.1, side: -1.0 };
        for (rule, shares) in [
            (Redundancy::Equal(0.5), &whole),
            (wang, &whole),
            (parker, &short),
            (Redundancy::Partial, &short),
        ] {
            for k in 0..720 {
                let angle = (0.37 + f64::from(k)) * step;
                for gamma in [-0.51, -0.3, -0.11, -0.04, 0.0, 0.02, 0.2, 0.5] {
                    let other = angle + PI + 2.0 * gamma;
                    let mut sum = 0.0;
                    let mut seen = false;
                    for (a, g) in [(angle, gamma), (other, -gamma)] {
                        if shares.has(a) {
                            seen = true;
                            sum += rule.weight(shares, a, g);
                        }
                    }
                    assert!(!seen || (sum - 1.0).abs() < 1e-12, "{rule:?} {angle} {gamma}: {sum}");
                }
            }
        }
        // Nothing at the short end of the detector, all at the other.
        assert!(wang.weight(&whole, 0.0, 0.1).abs() < 1e-15);
        assert!((wang.weight(&whole, 0.0, -0.2) - 1.0).abs() < 1e-15);
        // Nothing at the ends of a short scan.
        assert!(parker.weight(&short, start, 0.1) < 1e-12);
        assert!(parker.weight(&short, start + short.range, 0.1) < 1e-12);
    }
}
