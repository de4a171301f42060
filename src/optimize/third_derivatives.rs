//! The connection of normal coordinates and third derivatives of a sum of gram, which replicates take to be their
//! sweep's own (see `normal_coordinates`).

use crate::lanes::Lanes;
use crate::lanes::Pack;
use crate::linalg::triangle;

use crate::linalg::{cholesky, cholesky_solve};
use crate::problem::total;

/// Derivatives of a law's values over the lanes: the first ones, and those second ones that are not zero, output after
/// output, each as many packs as there are of `weight`, the observations' weights `w·s²·ρ″`.
#[derive(Clone, Copy)]
pub struct Derivatives<'a> {
    pub first: &'a [Pack],
    pub second: &'a [Pack],
    /// Which coordinates the second ones are by.
    pub pairs: &'a [(usize, usize)],
    pub weight: &'a [Pack],
}

/// What sums over observations are made into.
#[derive(Debug, Default)]
pub struct Tensors {
    /// `Γ`: by its upper index, lower triangles of the others.
    pub connection: Vec<f64>,
    /// `½ ∂³f`, as in [`Expansion`](super::Expansion).
    pub third: Vec<f64>,
    gram: Vec<f64>,
    /// `Σ w·∂²m·∂m`: by the triangle of the second derivative, then the first.
    products: Vec<f64>,
}

impl Tensors {
    /// Of `p` coordinates; false where the observations do not determine all directions.
    #[inline(always)]
    pub fn set<L: Lanes>(&mut self, token: L::Token, of: Derivatives, p: usize) -> bool {
        let Tensors { connection, third, gram, products } = self;
        let n_packs = of.weight.len();
        let first = |a: usize| &of.first[a * n_packs..(a + 1) * n_packs];
        zeroed(gram, p * p);
        for a in 0..p {
            for b in 0..=a {
                gram[a * p + b] = sum::<L>(token, of.weight, first(a), first(b));
            }
        }
        if !cholesky(gram, p) {
            return false;
        }
        let pairs = triangle(p);
        zeroed(products, pairs * p);
        for (&(a, b), second) in of.pairs.iter().zip(of.second.chunks_exact(n_packs)) {
            let place = (triangle(a.max(b)) + a.min(b)) * p;
            for c in 0..p {
                products[place + c] = sum::<L>(token, of.weight, second, first(c));
            }
        }
        third.clear();
        for (i, j) in (0..p).flat_map(|i| (0..p).map(move |j| (i, j))) {
            let v = |i: usize, j: usize, k: usize| products[(triangle(j.max(k)) + j.min(k)) * p + i];
            third.extend((0..=j).map(|k| v(i, j, k) + v(j, i, k) + v(k, i, j)));
        }
        halve(third, p);
        zeroed(connection, p * pairs);
        for (k, column) in products.chunks_exact_mut(p).enumerate() {
            cholesky_solve(gram, p, column);
            for (c, value) in column.iter().enumerate() {
                connection[c * pairs + k] = *value;
            }
        }
        true
    }
}

fn zeroed(values: &mut Vec<f64>, length: usize) {
    values.clear();
    values.resize(length, 0.0);
}

/// `Σ weight·x·y`. Observations without weight add nothing, whatever the law gives there.
#[inline(always)]
fn sum<L: Lanes>(token: L::Token, weight: &[Pack], x: &[Pack], y: &[Pack]) -> f64 {
    let zero = L::splat(token, 0.0);
    let mut sum = zero;
    for ((weight, x), y) in weight.iter().zip(x).zip(y) {
        let weight = L::load(token, &weight.0);
        let product = weight * L::load(token, &x.0) * L::load(token, &y.0);
        sum = sum + L::select(weight.eq(zero), zero, product);
    }
    total(sum)
}

/// Makes each of the lower triangles half a quadratic form by a sum over the triangle: entries off the diagonal count
/// twice.
pub fn halve(triangles: &mut [f64], p: usize) {
    for lower in triangles.chunks_exact_mut(triangle(p)) {
        for j in 0..p {
            lower[triangle(j) + j] *= 0.5;
        }
    }
}
