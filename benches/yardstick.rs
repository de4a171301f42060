//! Compares the evaluation of a compiled law with a hand-written AVX-512 loop for one law: the normal equations of
//! Chinchilla's law with residuals of logarithms.
//!
//! Run `cargo bench --bench yardstick`. It prints nanoseconds per observation of both and their ratio, each the least
//! of many rounds. The rounds alternate between the two, so that other load on the machine slows both alike. It then
//! prints, for one thread, replicates per second of a long and of a short sweep, and the time of fits to real
//! learning curves if `../shared/data` has them. Times depend on the machine: compare them with the time of the
//! hand-written loop, which is 2.64 ns on the machine for which the targets were set.

mod common;

use std::path::Path;
use std::time::Instant;

#[cfg(target_arch = "x86_64")]
use fearless_simd::Level;
use sweepfit::engine::{Job, LawText};
use sweepfit::infer::{Context, InferenceOptions, replicate};
#[cfg(target_arch = "x86_64")]
use sweepfit::internals::lanes::Pack;
use sweepfit::internals::optimize::{Models, Workspace, Workspaces};
#[cfg(target_arch = "x86_64")]
use sweepfit::internals::problem::{CurvatureMix, LaneData, Objective, Order, ProgramWorkspace, Sums};
use sweepfit::internals::problem::{Loss, Problem, bind_columns};
use sweepfit::law::{Catalogue, Residual};

use common::{chinchilla, fitted};

#[cfg(target_arch = "x86_64")]
mod fused {
    //! Computes residual, Jacobian and the 15 + 5 + 1 sums of the normal equations in one loop, eight observations at a
    //! time. Coordinates are those of the solver: E, log-amplitudes at the geometric mean of the data, exponents.

    use core::arch::x86_64::*;

    /// Taylor coefficients of `e^r` from `r²/2` on; on |r| ≤ ln 2/2 the error is below 1e-16.
    const EXP: [f64; 11] = [
        0.5,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5040.0,
        1.0 / 40320.0,
        1.0 / 362880.0,
        1.0 / 3628800.0,
        1.0 / 39916800.0,
        1.0 / 479001600.0,
    ];

    #[target_feature(enable = "avx512f,avx512dq")]
    fn exp(x: __m512d) -> __m512d {
        let n = _mm512_roundscale_pd::<0>(_mm512_mul_pd(x, _mm512_set1_pd(core::f64::consts::LOG2_E)));
        let r = _mm512_fnmadd_pd(n, _mm512_set1_pd(core::f64::consts::LN_2), x);
        let r = _mm512_fnmadd_pd(n, _mm512_set1_pd(2.3190468138462996e-17), r);
        let c = |i: usize| _mm512_set1_pd(EXP[i]);
        let r2 = _mm512_mul_pd(r, r);
        let r4 = _mm512_mul_pd(r2, r2);
        let a = _mm512_fmadd_pd(_mm512_fmadd_pd(c(3), r, c(2)), r2, _mm512_fmadd_pd(c(1), r, c(0)));
        let b = _mm512_fmadd_pd(_mm512_fmadd_pd(c(7), r, c(6)), r2, _mm512_fmadd_pd(c(5), r, c(4)));
        let d = _mm512_fmadd_pd(c(10), r2, _mm512_fmadd_pd(c(9), r, c(8)));
        let tail = _mm512_fmadd_pd(_mm512_fmadd_pd(d, r4, b), r4, a);
        let e = _mm512_add_pd(_mm512_set1_pd(1.0), _mm512_fmadd_pd(tail, r2, r));
        _mm512_scalef_pd(e, n)
    }

    /// `ln` by the series of the inverse hyperbolic tangent on the mantissa between √½ and √2.
    #[target_feature(enable = "avx512f,avx512dq")]
    fn ln(x: __m512d) -> __m512d {
        let one = _mm512_set1_pd(1.0);
        let k = _mm512_getexp_pd(_mm512_mul_pd(x, _mm512_set1_pd(core::f64::consts::SQRT_2)));
        let m = _mm512_scalef_pd(x, _mm512_sub_pd(_mm512_setzero_pd(), k));
        let s = _mm512_div_pd(_mm512_sub_pd(m, one), _mm512_add_pd(m, one));
        let z = _mm512_mul_pd(s, s);
        let mut series = _mm512_set1_pd(2.0 / 21.0);
        for i in (1..10).rev() {
            series = _mm512_fmadd_pd(series, z, _mm512_set1_pd(2.0 / (2.0 * i as f64 + 1.0)));
        }
        let value = _mm512_fmadd_pd(_mm512_mul_pd(series, z), s, _mm512_add_pd(s, s));
        _mm512_fmadd_pd(k, _mm512_set1_pd(core::f64::consts::LN_2), value)
    }

    /// Objective, gradient (5), Hessian (15, lower triangle by rows).
    #[target_feature(enable = "avx512f,avx512dq")]
    pub fn normal_equations(theta: &[f64; 5], u: &[f64], v: &[f64], target: &[f64], sums: &mut [f64; 21]) {
        let [e, a, alpha, b, beta] = theta.map(|x| _mm512_set1_pd(x));
        let mut total = [_mm512_setzero_pd(); 21];
        let one = _mm512_set1_pd(1.0);
        for k in (0..u.len()).step_by(8) {
            // SAFETY: the caller's slices are of one length, a multiple of eight.
            let (u, v, t) = unsafe {
                (
                    _mm512_loadu_pd(u.as_ptr().add(k)),
                    _mm512_loadu_pd(v.as_ptr().add(k)),
                    _mm512_loadu_pd(target.as_ptr().add(k)),
                )
            };
            let first = exp(_mm512_fnmadd_pd(alpha, u, a));
            let second = exp(_mm512_fnmadd_pd(beta, v, b));
            let prediction = _mm512_add_pd(e, _mm512_add_pd(first, second));
            let residual = _mm512_sub_pd(ln(prediction), t);
            let inverse = _mm512_div_pd(one, prediction);
            let (first, second) = (_mm512_mul_pd(first, inverse), _mm512_mul_pd(second, inverse));
            let zero = _mm512_setzero_pd();
            let jacobian = [
                inverse,
                first,
                _mm512_sub_pd(zero, _mm512_mul_pd(first, u)),
                second,
                _mm512_sub_pd(zero, _mm512_mul_pd(second, v)),
            ];
            total[0] = _mm512_fmadd_pd(residual, residual, total[0]);
            let mut place = 6;
            for i in 0..5 {
                total[1 + i] = _mm512_fmadd_pd(residual, jacobian[i], total[1 + i]);
                for j in 0..=i {
                    total[place] = _mm512_fmadd_pd(jacobian[i], jacobian[j], total[place]);
                    place += 1;
                }
            }
        }
        for (sum, total) in sums.iter_mut().zip(total) {
            *sum = _mm512_reduce_add_pd(total);
        }
        sums[0] *= 0.5;
    }
}

/// Replicates per second, the best of a few runs, all of which must converge.
fn replicates(name: &str, models: &Models, problem: &Problem, bootstrap: usize) {
    let fit = fitted(models, problem);
    let options = InferenceOptions { bootstrap, ..InferenceOptions::default() };
    let one = common::pool(1);
    let mut best = f64::INFINITY;
    let mut failed = 0;
    for _ in 0..7 {
        let begun = Instant::now();
        let found = one.install(|| {
            let workspaces = Workspaces::default();
            let mut workspace = Workspace::default();
            let context = Context::silent(&workspaces, &mut workspace);
            replicate(models, &fit, &options, &context)
        });
        best = best.min(begun.elapsed().as_secs_f64());
        failed = found.expect("replicates").n_failed();
    }
    let each = best / bootstrap as f64;
    println!("  {name:40} {:7.2} µs each, {:9.0} per second, {failed} failed", each * 1e6, 1.0 / each);
}

/// Ten points of a power law with an offset.
fn ten_points() -> (Models, Problem) {
    let law =
        Catalogue::built_in().expect("the catalogue parses").get("power-offset").expect("a law").clone();
    let models = Models::compile(law.clone(), Residual::Log);
    let x: Vec<f64> = (0..10).map(|i| 10.0 * 1e3_f64.powf(f64::from(i) / 9.0)).collect();
    let noise = [0.4, -1.1, 0.9, 0.2, -0.6, 1.3, -0.8, 0.1, 0.7, -1.0];
    let y: Vec<f64> =
        x.iter().zip(noise).map(|(x, e)| (1.5 + 4.0 * x.powf(-0.4)) * (1.0 + 0.01 * e)).collect();
    let columns: Vec<(&str, &[f64])> = vec![("x", &x), ("y", &y)];
    let (problem, _) = bind_columns(&law, models.full(), &law.response, Loss::L2, &columns);
    (models, problem)
}

/// The learning curves of LCDB, 32 starts each.
fn learning_curves() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/learning_curves_lcdb.parquet");
    if !Path::new(FILE).exists() {
        println!("  no learning curves beside the checkout: skipped");
        return;
    }
    let job = Job {
        inputs: vec![FILE.to_string()],
        by: vec!["dataset_id".into(), "learner".into()],
        lets: vec![("x".to_string(), "n_train".to_string()), ("y".to_string(), "err_test".to_string())],
        laws: vec![LawText::Name("pow4".to_string())],
        residual: Some(Residual::Linear),
        loss: Some(Loss::L2.into()),
        starts: Some(32),
        bootstrap: 0,
        ..Job::default()
    };
    let loaded = common::Loaded::new(&job);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let begun = Instant::now();
    let found = loaded.fit(&common::pool(threads));
    println!(
        "  {} learning curves, pow4, 32 starts each, {threads} threads: {:.2} s",
        found.records.len(),
        begun.elapsed().as_secs_f64()
    );
}

fn uses() {
    println!("on one thread");
    for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }] {
        let (models, problem) = chinchilla(loss);
        replicates(&format!("replicates of {} points, {loss}", problem.n()), &models, &problem, 4000);
    }
    let (models, problem) = ten_points();
    replicates("replicates of 10 points, power-offset, l2", &models, &problem, 200_000);
    learning_curves();
}

#[cfg(target_arch = "x86_64")]
fn main() {
    kernel();
    uses();
}

#[cfg(target_arch = "x86_64")]
fn kernel() {
    if !is_x86_feature_detected!("avx512f") || !is_x86_feature_detected!("avx512dq") {
        println!("no AVX-512 here: the yardstick cannot run");
        return;
    }
    let (models, problem) = chinchilla(Loss::L2);
    let fit = fitted(&models, &problem);
    let theta = &fit.solution.as_ref().expect("it fits").theta;
    let n = problem.n();
    let model = &problem.model;
    let columns: Vec<&[f64]> = problem.columns.columns().collect();
    // Coordinates come in the law's order, E, A, alpha, B, beta, and so do the centred columns.
    let theta: [f64; 5] = theta.as_slice().try_into().expect("five coordinates");

    let level = Level::new();
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    let in_lanes = LaneData::repeated(&problem);
    let spread = LaneData::spread(&problem, &problem.observations.weight);
    let (mut workspace, mut sums) = (ProgramWorkspace::default(), Sums::default());
    let mut by_hand = [0.0; 21];
    let rounds = 2000;
    let (mut best_hand, mut best_lanes, mut best_spread) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    let time = |best: &mut f64, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        for _ in 0..10 {
            work();
        }
        *best = best.min(begun.elapsed().as_secs_f64() / 10.0);
    };
    for _ in 0..rounds {
        time(&mut best_hand, &mut || {
            // SAFETY: the instruction sets were found above.
            unsafe {
                fused::normal_equations(
                    std::hint::black_box(&theta),
                    columns[0],
                    columns[1],
                    &problem.target,
                    &mut by_hand,
                )
            }
        });
        for (best, data) in [(&mut best_lanes, &in_lanes), (&mut best_spread, &spread)] {
            let objective = Objective {
                model,
                loss: Loss::L2,
                order: Order::Hessian,
                data,
                mix: &CurvatureMix::GAUSS_NEWTON,
            };
            time(best, &mut || {
                objective.evaluate(level, std::hint::black_box(&coordinates), &mut workspace, &mut sums)
            });
        }
    }
    let totals: Vec<f64> = sums.packs.iter().map(|pack| pack.0.iter().sum()).collect();
    for (k, (hand, engine)) in by_hand.iter().zip(&totals).enumerate() {
        let scale = by_hand[0].max(hand.abs());
        assert!((hand - engine).abs() < 1e-9 * scale, "sum {k}: by hand {hand}, engine {engine}");
    }
    let hand = best_hand * 1e9 / n as f64;
    let lanes = best_lanes * 1e9 / (8 * n) as f64;
    let spread = best_spread * 1e9 / n as f64;
    println!(
        "normal equations of chinchilla, {n} observations; ns per observation, ratio to the loop by hand"
    );
    println!("  by hand, fused          {hand:6.2}");
    println!("  engine, eight fits      {lanes:6.2}  {:.2}", lanes / hand);
    println!("  engine, one fit alone   {spread:6.2}  {:.2}", spread / hand);
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("the yardstick is written for AVX-512");
    uses();
}
