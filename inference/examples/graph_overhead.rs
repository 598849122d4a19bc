//! What a gradient through Candle costs beside the same density by hand.
//!
//! ```text
//! cargo run --release -p microtome-inference --example graph_overhead
//! ```
//!
//! CPU microseconds a value with gradient, medians of 9 blocks, of
//! $\ln p = -\tfrac12\sum_i w_i(x_i-m_i)^2$ in d coordinates: by hand in Rust; as one fused term
//! (`graph_density::terms`); as that term plus a Candle number, so that Candle walks back; and in
//! elementary Candle ops in f64 and f32.

#![allow(clippy::print_stdout)]

use candle_core::{DType, Device, Result, Tensor};
use cpu_time::ThreadTime;
use microtome_inference::graph_density::GraphDensity;
use microtome_inference::graph_density::constraint::{Constraint, Parameters};
use microtome_inference::graph_density::terms::{Fused, Term};
use microtome_inference::sample::LnDensity;

#[derive(Clone)]
struct Normal {
    mean: Vec<f64>,
    weight: Vec<f64>,
}

impl Term for Normal {
    fn add(&self, x: &[f64], g: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for (((x, m), w), g) in x.iter().zip(&self.mean).zip(&self.weight).zip(g) {
            let score = w * (m - x);
            total += score * (m - x);
            *g += score;
        }
        -0.5 * total
    }
}

impl LnDensity for Normal {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn ln_density(&mut self, x: &[f64], g: &mut [f64]) -> f64 {
        g.fill(0.0);
        self.add(x, g)
    }
}

fn microseconds(density: &mut impl LnDensity) -> f64 {
    let n = density.dim();
    let (mut x, mut g) = (vec![0.1; n], vec![0.0; n]);
    let calls = (2_000_000 / (n + 400)).clamp(10, 20_000);
    let mut sum = 0.0;
    let mut blocks: Vec<f64> = (0..9)
        .map(|block| {
            let clock = ThreadTime::now();
            for i in 0..calls {
                x[i % n] = f64::from(block) * 0.01;
                sum += density.ln_density(&x, &mut g) + g[0];
            }
            1e6 * clock.elapsed().as_secs_f64() / calls as f64
        })
        .collect();
    assert!(sum.is_finite());
    blocks.sort_by(f64::total_cmp);
    blocks[4]
}

fn main() -> Result<()> {
    println!(
        "{:>6} {:>9} {:>9} {:>12} {:>9} {:>9}",
        "d", "by hand", "fused", "fused + tape", "ops f64", "ops f32"
    );
    for d in [2, 100, 4096, 65_536] {
        let mut by_hand = Normal {
            mean: (0..d).map(|i| (i as f64).sin()).collect(),
            weight: (0..d).map(|i| 1.5 + (i as f64).cos()).collect(),
        };
        let fused = Fused::new(Parameters::new().vector("x", d, Constraint::Real)?)
            .with(by_hand.clone())?;
        let ops = |dtype: DType| -> Result<_> {
            let mean = Tensor::from_slice(&by_hand.mean, d, &Device::Cpu)?.to_dtype(dtype)?;
            let weight =
                (Tensor::from_slice(&by_hand.weight, d, &Device::Cpu)?.to_dtype(dtype)? * -0.5)?;
            GraphDensity::with_dtype(d, dtype, &Device::Cpu, move |x: &Tensor| {
                x.sub(&mean)?.sqr()?.mul(&weight)?.sum_all()
            })
        };
        let (mut ops64, mut ops32) = (ops(DType::F64)?, ops(DType::F32)?);
        let mut one = GraphDensity::new(d, &Device::Cpu, |x| fused.ln_density(x))?;
        let mut tape = GraphDensity::new(d, &Device::Cpu, |x| fused.ln_density(x)? + 1.0)?;
        println!(
            "{d:>6} {:>9.3} {:>9.3} {:>12.3} {:>9.3} {:>9.3}",
            microseconds(&mut by_hand),
            microseconds(&mut one),
            microseconds(&mut tape),
            microseconds(&mut ops64),
            microseconds(&mut ops32)
        );
    }
    Ok(())
}
