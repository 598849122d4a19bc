//! Polynomial coefficients of `single/functions.rs`, written by
//! `tests/golden/make_single.py`; change that script, not this file.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

/// Below this argument the series in x² is used.
pub(super) const SMALL_MAX: f32 = 6.0;
/// $2^x$ in powers of x, $|x| \le \tfrac12$; error of the fit 9.8e-8.
pub(super) const EXP2: [f32; 6] = [
    1.000_000_08,
    6.931_471_88e-1,
    2.402_210_75e-1,
    5.550_357_11e-2,
    9.676_031_92e-3,
    1.339_086_34e-3,
];
/// $I_0(x)$ in powers of $x^2$, $x <$ [`SMALL_MAX`]; error of the fit 2.6e-8.
pub(super) const P: [f32; 9] = [
    1.000_000_03,
    2.499_998_49e-1,
    1.562_511_15e-2,
    4.339_961_39e-4,
    6.786_167_14e-6,
    6.746_164_26e-8,
    4.873_551_49e-10,
    1.967_839_91e-12,
    1.537_242_79e-14,
];
/// $I_1(x)/x$ in powers of $x^2$, $x <$ [`SMALL_MAX`]; error of the fit 1.1e-7.
pub(super) const Q: [f32; 8] = [
    4.999_999_33e-1,
    6.250_023_74e-2,
    2.604_028_69e-3,
    5.428_391_29e-5,
    6.748_864_29e-7,
    5.842_041_66e-9,
    2.759_797_93e-11,
    2.460_996_65e-13,
];
/// $k(u)$ in powers of $u = 1/x$, $x \ge$ [`SMALL_MAX`]; error of the fit 1.2e-7.
pub(super) const K: [f32; 5] =
    [1.250_008_77e-1, 6.223_957_24e-2, 7.692_546_93e-2, -7.337_951_72e-2, 1.099_807_87];
/// $h(u)$ in powers of $u = 1/x$, $x \ge$ [`SMALL_MAX`]; error of the fit 9.3e-8.
pub(super) const H: [f32; 5] =
    [1.250_053_62e-1, 1.234_037_3e-1, 2.687_762_32e-1, -7.078_660_96e-1, 6.879_365_6];
