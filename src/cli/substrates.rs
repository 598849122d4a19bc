//! Substrates of common studies, by their names in `simulate --substrate`.
//!
//! Each is a whole TOML file; `simulate --substrate NAME --print-substrate` writes it for changes. Diffusivities
//! are those of water at 37 degrees in tissue, 2 um2/ms, but where a study has its own. Validated by
//! `tests/cli/simulate.rs`.

/// A substrate by name.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// All of them.
pub(super) const ALL: [Named; 7] = [
    Named {
        name: "axons",
        text: "# Parallel axons with gamma radii (mean 1 um) and the space between them.\n\
[substrate]\nkind = \"cylinders\"\ncount = 1000\nvolume_fraction = 0.65\ngamma_shape = 4.0\n\
gamma_scale_um = 0.25\nmin_radius_um = 0.2\nmax_radius_um = 4.0\n\
[intra]\ndiffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n\
[start]\nwhere = \"all\"\n",
    },
    Named {
        name: "myelinated_axons",
        text: "# The same with sheaths (g-ratio 0.7) whose water is not seen.\n\
[substrate]\nkind = \"cylinders\"\ncount = 1000\nvolume_fraction = 0.7\ngamma_shape = 4.0\n\
gamma_scale_um = 0.35\nmin_radius_um = 0.3\nmax_radius_um = 5.0\ng_ratio = 0.7\n\
[intra]\ndiffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n\
[start]\nwhere = \"all\"\n",
    },
    Named {
        name: "beaded_axon",
        text: "# One axon that swells by 40 % every 6 um.\n\
[substrate]\nkind = \"axon\"\nradius_um = 1.0\nbeading = 0.4\nbeading_period_um = 6.0\n\
[intra]\ndiffusivity_um2_per_ms = 2.0\n",
    },
    Named {
        name: "undulating_axon",
        text: "# One axon that winds by 2 um about its course, every 30 um.\n\
[substrate]\nkind = \"axon\"\nradius_um = 1.0\nundulation_um = 2.0\nundulation_period_um = 30.0\n\
[intra]\ndiffusivity_um2_per_ms = 2.0\n",
    },
    Named {
        name: "cells",
        text: "# Round cells (radius 6 um) with little water between them.\n\
[substrate]\nkind = \"spheres\"\ncount = 200\nvolume_fraction = 0.5\nradius_um = 6.0\n\
[intra]\ndiffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n\
[start]\nwhere = \"all\"\n",
    },
    Named {
        name: "exchanging_cells",
        text: "# The same with walls that let water through: exchange in tens of milliseconds.\n\
[substrate]\nkind = \"spheres\"\ncount = 200\nvolume_fraction = 0.5\nradius_um = 6.0\n\
[intra]\ndiffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n\
[wall]\npermeability_um_per_ms = 0.03\n[start]\nwhere = \"all\"\n",
    },
    Named {
        name: "relaxing_pore",
        text: "# A pore of rock: water that relaxes at its wall.\n\
[substrate]\nkind = \"sphere\"\nradius_um = 10.0\n\
[intra]\ndiffusivity_um2_per_ms = 2.3\nsurface_relaxivity_um_per_ms = 0.02\nt2_ms = 2500.0\n",
    },
];

/// The text of a name.
pub(super) fn named(name: &str) -> Option<&'static str> {
    ALL.iter().find(|n| n.name == name).map(|n| n.text)
}
