//! The elementary functions of many numbers, in vectors. Each result has the bits of [`scalar`](super::scalar)'s.

use fearless_simd::{Level, dispatch, f64x8};

use super::Lanes;

/// Replaces values by a function of them, in vectors and one by one at the end.
#[inline(always)]
fn map<L: Lanes>(token: L::Token, values: &mut [f64], whole: impl Fn(L) -> L, one: impl Fn(f64) -> f64) {
    let mut packs = values.chunks_exact_mut(L::WIDTH);
    for pack in &mut packs {
        whole(L::load(token, pack)).store(pack);
    }
    for value in packs.into_remainder() {
        *value = one(*value);
    }
}

macro_rules! of_one {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        $(
            $(#[$doc])*
            pub fn $name(values: &mut [f64]) {
                dispatch!(Level::new(), simd => map::<f64x8<_>>(simd, values, super::$name, super::$name));
            }
        )+
    };
}

of_one! {
    /// Replaces every x by eˣ.
    exp;
    /// Replaces every x by its natural logarithm.
    ln;
}

/// Replaces every base by its power to the exponent at the same place.
///
/// # Panics
///
/// If there are fewer exponents than bases.
pub fn pow(bases: &mut [f64], exponents: &[f64]) {
    dispatch!(Level::new(), simd => pow_lanes::<f64x8<_>>(simd, bases, exponents));
}

#[inline(always)]
fn pow_lanes<L: Lanes>(token: L::Token, bases: &mut [f64], exponents: &[f64]) {
    let exponents = &exponents[..bases.len()];
    let mut packs = bases.chunks_exact_mut(L::WIDTH);
    let others = exponents.chunks_exact(L::WIDTH);
    let rest = others.remainder();
    for (base, exponent) in (&mut packs).zip(others) {
        super::pow(L::load(token, base), L::load(token, exponent)).store(base);
    }
    for (base, exponent) in packs.into_remainder().iter_mut().zip(rest) {
        *base = super::pow(*base, *exponent);
    }
}

#[cfg(test)]
mod tests {
    use crate::lanes::scalar;
    use crate::testing::Uniform;

    /// Vectors and single numbers agree bit for bit, at lengths that do not fill the last vector, and at the edges.
    #[test]
    fn bits_are_those_of_one_number() {
        let mut uniform = Uniform(3);
        for n in [0, 1, 7, 8, 21] {
            let mut x: Vec<f64> = (0..n).map(|_| uniform.between(-30.0, 30.0)).collect();
            let y: Vec<f64> = (0..n).map(|_| uniform.between(-3.0, 3.0)).collect();
            if let [first, .., last] = x.as_mut_slice() {
                (*first, *last) = (f64::INFINITY, -0.0);
            }
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<u64>>();
            let each = |f: fn(f64) -> f64| bits(x.iter().map(|x| f(*x)).collect());
            for (slices, one) in
                [(super::exp as fn(&mut [f64]), scalar::exp as fn(f64) -> f64), (super::ln, scalar::ln)]
            {
                let mut values = x.clone();
                slices(&mut values);
                assert_eq!(bits(values), each(one));
            }
            let mut powers = x.clone();
            super::pow(&mut powers, &y);
            assert_eq!(bits(powers), bits(x.iter().zip(&y).map(|(x, y)| scalar::pow(*x, *y)).collect()));
        }
    }
}
