//! Presets: published models by name, each a model file of `models/presets`.
//!
//! A preset is nothing but its file, so `--model noddi` and a copy of `noddi.toml` with
//! a changed line are the same kind of thing.
//!
//! Validated by `presets_have_these_values_and_columns` and, where the reference tables
//! have them, `signals_equal_reference`.

use crate::spec::{ModelSpec, SpecError};

/// A model with a name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name for `--model`.
    pub name: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// The paper.
    pub reference: &'static str,
    /// Its model file.
    pub toml: &'static str,
}

impl Preset {
    /// Its specification.
    ///
    /// # Errors
    /// None for the files in this crate.
    pub fn spec(&self) -> Result<ModelSpec, SpecError> {
        ModelSpec::from_toml(self.toml)
    }
}

macro_rules! preset {
    ($name:literal, $meaning:literal, $reference:literal) => {
        Preset {
            name: $name,
            meaning: $meaning,
            reference: $reference,
            toml: include_str!(concat!("../presets/", $name, ".toml")),
        }
    };
}

/// The presets.
pub const PRESETS: &[Preset] = &[
    preset!(
        "dti",
        "diffusion tensor; --method ols, wls or nlls (the default); b up to about 1500 s/mm^2",
        "Basser, Mattiello & Le Bihan 1994, doi:10.1006/jmrb.1994.1037"
    ),
    preset!(
        "dki",
        "diffusion tensor and its kurtosis; --method ols or wls (the default); two shells, b up to about 2500 s/mm^2",
        "Jensen et al. 2005, doi:10.1002/mrm.20508; Tabesh et al. 2011, doi:10.1002/mrm.22655; \
         Veraart et al. 2013, doi:10.1016/j.neuroimage.2013.05.028"
    ),
    preset!(
        "fwdti",
        "tensor of tissue and free water of 3 um^2/ms; two shells: one does not determine the water fraction",
        "Pasternak et al. 2009, doi:10.1002/mrm.22055; Hoy et al. 2014, doi:10.1016/j.neuroimage.2014.09.053"
    ),
    preset!(
        "ivim",
        "tissue and blood that flows in capillaries: blood.fraction is f, blood.lambda_iso is D*",
        "Le Bihan et al. 1988, doi:10.1148/radiology.168.2.3393671"
    ),
    preset!(
        "ball_stick",
        "one stick and a ball, each with its own diffusivity",
        "Behrens et al. 2003, doi:10.1002/mrm.10609"
    ),
    preset!(
        "ball_sticks_2",
        "two sticks of one diffusivity and a ball",
        "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018"
    ),
    preset!(
        "ball_sticks_3",
        "three sticks of one diffusivity and a ball",
        "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018"
    ),
    preset!(
        "stick_zeppelin_ball",
        "stick and zeppelin of one direction and one parallel diffusivity, and a ball",
        "Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081"
    ),
    preset!(
        "noddi",
        "dispersed sticks, dispersed tortuous zeppelin and free water (NODDI, Watson)",
        "Zhang et al. 2012, doi:10.1016/j.neuroimage.2012.03.072"
    ),
    preset!(
        "noddi_bingham",
        "sticks and tortuous zeppelin dispersed in a fan, and free water (NODDI, Bingham)",
        "Tariq et al. 2016, doi:10.1016/j.neuroimage.2016.01.046"
    ),
    preset!(
        "ball_rackets",
        "sticks dispersed in a fan and a ball of one diffusivity (ball and rackets)",
        "Sotiropoulos et al. 2012, doi:10.1016/j.neuroimage.2012.01.061"
    ),
    preset!(
        "activeax",
        "one cylinder diameter, tortuous zeppelin and free water (ActiveAx, minimal model of white matter, in vivo)",
        "Alexander et al. 2010, doi:10.1016/j.neuroimage.2010.05.043"
    ),
    preset!(
        "activeax_ex_vivo",
        "ActiveAx for fixed tissue: diffusivity 0.6, water of 2.0 um2/ms, and a dot",
        "Alexander et al. 2010, doi:10.1016/j.neuroimage.2010.05.043"
    ),
    preset!(
        "axcaliber",
        "gamma-distributed cylinder diameters, hindered zeppelin and free water (AxCaliber)",
        "Assaf et al. 2008, doi:10.1002/mrm.21577; Barazany et al. 2009, doi:10.1093/brain/awp042"
    ),
    preset!(
        "verdict",
        "cells as spheres, extracellular ball, vessels as sticks of all directions (VERDICT)",
        "Panagiotaki et al. 2014, doi:10.1158/0008-5472.CAN-13-2511"
    ),
    preset!(
        "standard_model",
        "dispersed sticks and dispersed zeppelin of one distribution, all diffusivities free (white-matter standard model)",
        "Novikov et al. 2018, doi:10.1016/j.neuroimage.2018.03.006"
    ),
    preset!(
        "bedpostx_1",
        "one stick and a ball of one diffusivity (as bedpostx)",
        "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018"
    ),
    preset!(
        "bedpostx_2",
        "two sticks and a ball of one diffusivity, relevance prior on the further sticks (as bedpostx)",
        "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018"
    ),
    preset!(
        "bedpostx_3",
        "three sticks and a ball of one diffusivity, relevance prior on the further sticks (as bedpostx)",
        "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018"
    ),
    preset!(
        "smt",
        "microscopic tensor from the means of two or more shells (spherical mean technique)",
        "Kaden, Kruggel & Alexander 2016, doi:10.1002/mrm.25734"
    ),
    preset!(
        "smt_mc",
        "sticks and tortuous zeppelin from the means of two or more shells",
        "Kaden et al. 2016, doi:10.1016/j.neuroimage.2016.06.002"
    ),
    preset!(
        "sandi",
        "sticks, spheres and free water around them, from shell means (soma and neurite density)",
        "Palombo et al. 2020, doi:10.1016/j.neuroimage.2020.116835"
    ),
    preset!(
        "mte_noddi",
        "NODDI with T2 inside and outside the neurites; two or more echo times",
        "Gong et al. 2020, doi:10.1016/j.neuroimage.2020.116906"
    ),
    preset!(
        "nexi",
        "neurites in exchange with the water around them, from shell means; two or more diffusion times",
        "Jelescu et al. 2022, doi:10.1016/j.neuroimage.2022.119277"
    ),
];
