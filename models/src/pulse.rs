//! Pores between rectangular pulses: how a shell becomes the pulse of a kernel, and the
//! signal of a pore with free diffusion in the other directions.
//!
//! $$E(t) = e^{-b\lambda_\parallel s(t)}\,E_\mathrm{pore}\big(G\sqrt{1-s(t)}\big)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $s(t)$ | | squared part of the gradient along the free directions |
//! | $\lambda_\parallel$ | µm²/ms | diffusivity there |
//! | $E_\mathrm{pore}$ | | exact signal of [`microtome_kernels::restricted::pulse`] |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077 (matrix formalism).
//! Validated by `exact_signals_equal_reference` of `tests/suite/exact.rs`.

use crate::acquisition::Shell;
use crate::zonal::{ZonalSeries, project};
use microtome_kernels::exp::exp_in_place;
use microtome_kernels::restricted::Geometry;
use microtome_kernels::restricted::pulse::{Profile, Pulse};

/// The pulse of a shell; one without strength where b = 0 or the timing is unknown.
pub(crate) fn pulse(shell: &Shell) -> Pulse {
    match (shell.delta_ms, shell.big_delta_ms, shell.gamma_g_delta()) {
        (Some(delta), Some(big_delta), Some(gamma_g_delta)) if shell.b > 0.0 => {
            Pulse { delta, big_delta, gamma_g_delta }
        }
        _ => Pulse { delta: 1.0, big_delta: 1.0, gamma_g_delta: 0.0 },
    }
}

/// A pore that restricts some directions and leaves the others free.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfOpenPore {
    /// Planes (free within) or a cylinder (free along).
    pub(crate) geometry: Geometry,
    /// Distance or diameter, µm.
    pub(crate) size: f64,
    /// Diffusivity in the restricted directions, µm²/ms.
    pub(crate) intrinsic: f64,
    /// Diffusivity in the free directions, µm²/ms.
    pub(crate) free: f64,
    /// Rows of the derivatives with respect to size, intrinsic and free diffusivity.
    pub(crate) rows: [usize; 3],
}

impl HalfOpenPore {
    /// The pore at one pulse: its dependence on the direction.
    fn at(&self, pulse: &Pulse) -> Profile {
        Profile::new(self.geometry, self.size, self.intrinsic, pulse)
    }

    /// The signal and its derivatives on one shell at the cosines `t`.
    ///
    /// # Shapes
    /// See [`crate::Compartment::profile`].
    pub(crate) fn fill(&self, shell: &Shell, t: &[f64], value: &mut [f64], d_value: &mut [f64]) {
        self.attenuate(&self.at(&pulse(shell)), 1.0, shell.b, t, value, d_value);
    }

    /// The same, from the profile of a pulse whose squared strength is 1/`part` of
    /// that of the shell.
    fn attenuate(
        &self,
        profile: &Profile,
        part: f64,
        b: f64,
        t: &[f64],
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        let n = t.len();
        let along = |t: f64| if self.geometry == Geometry::Cylinder { t * t } else { 1.0 - t * t };
        for (v, &t) in value.iter_mut().zip(t) {
            *v = -b * self.free * along(t);
        }
        exp_in_place(value);
        let [size, intrinsic, free] = self.rows.map(|row| row * n);
        for (i, &t) in t.iter().enumerate() {
            let s = along(t);
            let [e, d_size, d_intrinsic] = profile.at(part * (1.0 - s));
            let decay = value[i];
            value[i] = decay * e;
            d_value[size + i] = decay * d_size;
            d_value[intrinsic + i] = decay * d_intrinsic;
            d_value[free + i] = -b * s * value[i];
        }
    }

    /// Projects the signal on every shell. The signal depends on the squared gradient and
    /// the direction by their product, so the pore is solved once a timing, at its strongest shell.
    pub(crate) fn lower(&self, shells: &[Shell], series: &mut ZonalSeries) {
        let mut current: Option<(Pulse, Profile)> = None;
        project(shells, series, &mut |shell, t, value, d_value| {
            let mine = pulse(shell);
            let same =
                |other: &Pulse| other.delta == mine.delta && other.big_delta == mine.big_delta;
            let (strongest, profile) =
                current.take().filter(|(of, _)| same(of)).unwrap_or_else(|| {
                    let strength = shells.iter().map(pulse).filter(same);
                    let gamma_g_delta = strength.map(|p| p.gamma_g_delta).fold(0.0, f64::max);
                    let strongest = Pulse { gamma_g_delta, ..mine };
                    (strongest, self.at(&strongest))
                });
            let part = (mine.gamma_g_delta / strongest.gamma_g_delta).powi(2);
            self.attenuate(&profile, part, shell.b, t, value, d_value);
            current = Some((strongest, profile));
        });
    }
}
