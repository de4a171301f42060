//! Tests of the functions against correctly rounded values, and of each level against the scalar functions.

use super::*;
use crate::testing::levels;
use fearless_simd::{Level, dispatch, f64x4, f64x8};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A function of one or two arguments over any type of lanes.
trait Function {
    const NAME: &'static str;
    fn call<L: Lanes>(x: L, y: L) -> L;
}

macro_rules! functions {
    ($(struct $name:ident = |$x:ident, $y:ident| $f:ident($($arg:ident),*);)*) => {
        $(
            struct $name;
            impl Function for $name {
                const NAME: &'static str = stringify!($f);
                #[inline(always)]
                fn call<L: Lanes>($x: L, $y: L) -> L {
                    super::$f($($arg),*)
                }
            }
        )*
        /// Calls `$check::<F>()` for every function.
        macro_rules! for_all {
            ($check:ident) => { $( $check::<$name>(); )* };
        }
    };
}
functions! {
    struct Exp = |x, _y| exp(x);
    struct Ln = |x, _y| ln(x);
    struct Log2 = |x, _y| log2(x);
    struct Log10 = |x, _y| log10(x);
    struct Pow = |x, y| pow(x, y);
    struct Sigmoid = |x, _y| sigmoid(x);
    struct LogAddExp = |x, y| log_add_exp(x, y);
    struct Tanh = |x, _y| tanh(x);
    struct Sin = |x, _y| sin(x);
    struct Cos = |x, _y| cos(x);
    struct Tan = |x, _y| tan(x);
    struct Atan = |x, _y| atan(x);
}

/// Evaluates a function eight lanes at a time and checks that vectors of four return equal bits. The slices' lengths
/// are multiples of eight.
fn blocks<F: Function>(level: Level, x: &[f64], y: &[f64], to: &mut [f64]) {
    dispatch!(level, simd => {
        let pairs = x.chunks_exact(8).zip(y.chunks_exact(8));
        for ((x, y), to) in pairs.zip(to.chunks_exact_mut(8)) {
            F::call(f64x8::load(simd, x), f64x8::load(simd, y)).store(to);
            let mut halves = [0.0; 8];
            for from in [0, 4] {
                let half = F::call(f64x4::load(simd, &x[from..]), f64x4::load(simd, &y[from..]));
                half.store(&mut halves[from..]);
            }
            assert!(to.iter().zip(halves).all(|(&a, b)| same(a, b)), "{} by four at {x:?} {y:?}", F::NAME);
        }
    });
}

/// Evaluates a function in vectors.
fn vectors<F: Function>(level: Level, points: &[(f64, f64)]) -> Vec<f64> {
    let (mut x, mut y): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
    let whole = points.len().next_multiple_of(8);
    x.resize(whole, 1.0);
    y.resize(whole, 1.0);
    let mut to = vec![0.0; whole];
    blocks::<F>(level, &x, &y, &mut to);
    to
}

/// Evaluates a function number by number.
#[inline(never)]
fn scalars<F: Function>(points: &[(f64, f64)]) -> Vec<f64> {
    points.iter().map(|&(x, y)| F::call(x, y)).collect()
}

/// Returns whether two numbers have equal bits or are both NaN.
fn same(a: f64, b: f64) -> bool {
    f64::to_bits(a) == f64::to_bits(b) || (a.is_nan() && b.is_nan())
}

/// Returns how many steps to a neighbouring `f64` lead from one number to the other.
fn ulps(a: f64, b: f64) -> u64 {
    let place = |v: f64| {
        let bits = f64::to_bits(v) as i64;
        if bits < 0 { i64::MIN - bits } else { bits }
    };
    if same(a, b) {
        0
    } else if a.is_nan() || b.is_nan() || (a == b) {
        u64::MAX
    } else {
        place(a).abs_diff(place(b))
    }
}

/// Returns the arguments and correctly rounded values of a function, which `tests/golden/lanes.py` computes.
fn golden(name: &str) -> Vec<((f64, f64), f64)> {
    let text = include_str!("../../tests/golden/lanes.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            if words.next() != Some(name) {
                return None;
            }
            let bits = words.map(|word| u64::from_str_radix(word, 16).unwrap());
            let values: Vec<f64> = bits.map(f64::from_bits).collect();
            Some(((values[0], values[values.len() - 2]), values[values.len() - 1]))
        })
        .collect()
}

/// Checks that every level returns the bits of the scalar function.
fn assert_levels_agree<F: Function>(points: &[(f64, f64)], expected: &[f64]) {
    let check = |what: &str, values: &[f64]| {
        for ((point, &value), &expected) in points.iter().zip(values).zip(expected) {
            assert!(
                same(value, expected),
                "{} of {point:?}: {value:e} on {what}, {expected:e} on one lane",
                F::NAME
            );
        }
    };
    for (name, level) in levels() {
        check(name, &vectors::<F>(level, points));
    }
}

fn check_golden<F: Function>() {
    let cases = golden(F::NAME);
    assert!(cases.len() > 200, "{} has {} cases", F::NAME, cases.len());
    let points: Vec<_> = cases.iter().map(|case| case.0).collect();
    let values = scalars::<F>(&points);
    let mut worst = (0, (0.0, 0.0));
    let mut off = 0;
    for ((point, expected), &value) in cases.iter().zip(&values) {
        let distance = ulps(value, *expected);
        assert!(
            distance <= 2,
            "{} of {point:?} is {value:e}, should be {expected:e} ({distance} ulp)",
            F::NAME
        );
        off += u64::from(distance > 0);
        if distance > worst.0 {
            worst = (distance, *point);
        }
    }
    println!("{}: {off} of {} are off, the worst {worst:?}", F::NAME, cases.len());
    assert_levels_agree::<F>(&points, &values);
}

#[test]
fn values_are_within_two_ulp_of_correctly_rounded_on_every_level() {
    for_all!(check_golden);
}

/// Returns a random number: with any bits, of any magnitude, special, or of moderate size.
fn random(rng: &mut ChaCha8Rng) -> f64 {
    let bits = rng.next_u64();
    let unit = (rng.next_u64() >> 11) as f64 * 2.0_f64.powi(-52) - 1.0;
    match rng.next_u32() % 8 {
        0 => f64::from_bits(bits),
        1 => unit * 2.0_f64.powi((bits % 128) as i32 - 64),
        2 => (unit * 20.0).round(),
        3 => 1.0 + unit * 2.0_f64.powi(-((bits % 52) as i32)),
        4 => unit * 800.0,
        5 => unit * 1e-310,
        6 => [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 708.0][(bits % 6) as usize],
        _ => unit * 8.0,
    }
}

fn check_random<F: Function>() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let points: Vec<_> = (0..20_000).map(|_| (random(&mut rng), random(&mut rng))).collect();
    let values = scalars::<F>(&points);
    assert_levels_agree::<F>(&points, &values);
}

#[test]
fn functions_have_equal_bits_on_every_level() {
    for_all!(check_random);
}

#[test]
fn operations_have_equal_bits_on_every_level() {
    struct Mixed;
    impl Function for Mixed {
        const NAME: &'static str = "mixed";
        #[inline(always)]
        fn call<L: Lanes>(x: L, y: L) -> L {
            let rounded = x.floor() - y.round_ties_even() + x.min(y) * y.max(x);
            let bits = (x.to_bits() ^ y.to_bits()).minus(x.fill_bits(77)) >> 3;
            let odd = L::from_bits((bits | (y.to_bits() << 2)) & x.fill_bits(u64::MAX >> 2));
            let mask = x.ge(y) | (x.le(-y) & !x.is_nan());
            let root = x.abs().sqrt().copysign(y) / y.mul_add(x, odd);
            L::select(mask, root, rounded)
        }
    }
    check_random::<Mixed>();
}

/// Compares `exp` and `ln`, which use tables, with the more accurate functions behind `pow`, which use none.
#[test]
fn errors_of_exp_and_ln_are_below_the_stated_bounds() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut worst_exp, mut worst_ln) = (0.0_f64, 0.0_f64);
    for i in 0..400_000 {
        let unit = (rng.next_u64() >> 11) as f64 * 2.0_f64.powi(-52) - 1.0;
        let x = unit * [0.1, 1.0, 30.0, 700.0][i % 4];
        let (n, t, t_low) = super::exp::accurate_expm1(x, 0.0);
        // The unit in the last place of the value without its power of two, which is from 0.7 to 1.42.
        let ulp = if t < 0.0 { 2.0_f64.powi(-53) } else { 2.0_f64.powi(-52) };
        let off = exp(x) * super::exp::exp2_int(-n) - 1.0 - t - t_low;
        worst_exp = worst_exp.max(off.abs() / ulp);

        let near = 1.0 + unit * 2.0_f64.powi(-((i % 40) as i32));
        let x = [near, 1.05 + 0.4 * unit, 2.0_f64.powf(1000.0 * unit)][i % 3];
        if x > 0.0 && x != 1.0 {
            let (k, m) = super::ln::split(x);
            let (value, low) = super::ln::ln_double_double(k, m);
            let ulp = f64::from_bits(value.to_bits() & (0x7ff << 52)) * 2.0_f64.powi(-52);
            worst_ln = worst_ln.max((ln(x) - value - low).abs() / ulp);
        }
    }
    println!("exp is off by {worst_exp} ulp, ln by {worst_ln}");
    assert!(worst_exp < 1.11 && worst_ln < 1.02, "exp is off by {worst_exp} ulp, ln by {worst_ln}");
}

#[test]
fn minimum_and_maximum_keep_nan() {
    for (a, b) in [(f64::NAN, 1.0), (1.0, f64::NAN)] {
        assert!(Lanes::min(a, b).is_nan() && Lanes::max(a, b).is_nan());
    }
    assert_eq!(Lanes::min(1.0, 2.0), 1.0);
    assert_eq!(Lanes::max(1.0, f64::INFINITY), f64::INFINITY);
}

#[test]
fn identities_hold() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..50_000 {
        let (x, y) = (random(&mut rng), random(&mut rng));
        if !x.is_finite() || !y.is_finite() {
            continue;
        }
        let near = |a: f64, b: f64, tolerance: f64| {
            assert!((a - b).abs() <= tolerance, "{a:e} against {b:e} at {x:e}, {y:e}");
        };
        if x > 0.0 {
            // The exponential turns the logarithm's absolute error into a relative error.
            if x >= f64::MIN_POSITIVE {
                near(exp(ln(x)) / x, 1.0, 2e-13);
            }
            assert!(ulps(pow(x, 1.0), x) == 0 && ulps(pow(x, 0.5), x.sqrt()) <= 1);
        }
        near(sin(x).mul_add(sin(x), cos(x) * cos(x)), 1.0, 1e-15);
        assert!(ulps(tan(x), sin(x) / cos(x)) <= 4);
        assert!(ulps(tanh(x), -tanh(-x)) == 0 && ulps(atan(x), -atan(-x)) == 0);
        near(sigmoid(x) + sigmoid(-x), 1.0, 1e-15);
        assert!(ulps(log_add_exp(x, y), log_add_exp(y, x)) == 0);
        assert!(log_add_exp(x, y) >= x.max(y));
        if x.abs() < 1e4 {
            near(tan(atan(x)), x, 1e-12 * (1.0 + x * x));
        }
    }
    for k in -1022..1024 {
        assert_eq!(log2(2.0_f64.powi(k)), f64::from(k));
        assert_eq!(pow(2.0, f64::from(k)), 2.0_f64.powi(k));
    }
}

#[test]
#[ignore = "prints timings; run with --nocapture"]
fn timings() {
    fn time<F: Function>() {
        let points: Vec<f64> = (0..4096).map(|i| 0.05 + 0.002 * f64::from(i)).collect();
        for (name, level) in levels() {
            let mut to = vec![0.0; points.len()];
            let y = vec![0.7; points.len()];
            let mut best = f64::INFINITY;
            for _ in 0..200 {
                let start = std::time::Instant::now();
                blocks::<F>(level, &points, &y, &mut to);
                std::hint::black_box(&mut to);
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{} {name}: {:.3} ns", F::NAME, best / 4096.0 * 1e9);
        }
    }
    for_all!(time);
}

/// Data and constants are evaluated by `scalar`, programs by vectors: their values have equal bits.
#[test]
fn scalar_functions_have_the_bits_of_lanes() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..2_000 {
        let (x, y) = (random(&mut rng), random(&mut rng));
        let vectors = fearless_simd::dispatch!(fearless_simd::Level::new(), simd => {
            let splat = |x: f64| <fearless_simd::f64x8<_> as Lanes>::splat(simd, x);
            [
                super::exp(splat(x)),
                super::ln(splat(x)),
                super::log2(splat(x)),
                super::log10(splat(x)),
                super::pow(splat(x), splat(y)),
                super::sin(splat(x)),
                super::cos(splat(x)),
                super::tan(splat(x)),
                super::atan(splat(x)),
                super::tanh(splat(x)),
                super::sigmoid(splat(x)),
            ]
            .map(|vector| {
                let mut lanes = [0.0; 8];
                Lanes::store(vector, &mut lanes);
                lanes[3]
            })
        });
        let scalars = [
            scalar::exp(x),
            scalar::ln(x),
            scalar::log2(x),
            scalar::log10(x),
            scalar::pow(x, y),
            scalar::sin(x),
            scalar::cos(x),
            scalar::tan(x),
            scalar::atan(x),
            scalar::tanh(x),
            scalar::sigmoid(x),
        ];
        for (vector, scalar) in vectors.into_iter().zip(scalars) {
            let same = vector.to_bits() == scalar.to_bits() || (vector.is_nan() && scalar.is_nan());
            assert!(same, "{x:?} {y:?}: {vectors:?} {scalars:?}");
        }
    }
}
