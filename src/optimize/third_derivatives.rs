//! The connection of normal coordinates and the third derivatives of a sum of squares, from the first and second
//! derivatives of the law (Bates & Watts 1980; see `normal_coordinates`).

use crate::lanes::Lanes;
use crate::lanes::Pack;
use crate::linalg::triangle;

use crate::linalg::{cholesky, cholesky_solve};
use crate::problem::total;

/// The derivatives of a law over the lanes, output after output, each of as many packs as `weight`.
#[derive(Clone, Copy)]
pub struct LaneDerivatives<'a> {
    /// The first derivatives, one output per coordinate.
    pub first: &'a [Pack],
    /// The second derivatives that are not identically zero.
    pub second: &'a [Pack],
    /// The two coordinates of each second derivative.
    pub pairs: &'a [(usize, usize)],
    /// The curvature `w·s²·ρ″` of each observation.
    pub weight: &'a [Pack],
}

/// The connection and the third derivatives of one problem at one point.
#[derive(Debug, Default)]
pub struct Tensors {
    /// The connection `Γ`: p lower triangles by rows, one per upper index.
    pub connection: Vec<f64>,
    /// The third derivatives `½ ∂³f`, as in [`Expansion`](super::Expansion).
    pub third: Vec<f64>,
    /// The Gauss–Newton matrix and its Cholesky factor.
    gram: Vec<f64>,
    /// The sums `Σ w·∂²m·∂m`: by the triangle of the second derivative, then the first.
    products: Vec<f64>,
}

impl Tensors {
    /// Computes the tensors in `p` coordinates. Returns false where the Gauss–Newton matrix is not positive definite.
    #[inline(always)]
    pub fn set<L: Lanes>(&mut self, token: L::Token, of: LaneDerivatives, p: usize) -> bool {
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

/// Resizes a vector and fills it with zeros.
fn zeroed(values: &mut Vec<f64>, length: usize) {
    values.clear();
    values.resize(length, 0.0);
}

/// Returns `Σ weight·x·y`. Observations of weight zero contribute nothing, whatever the law gives there.
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

/// Rescales lower triangles so that half a quadratic form is a plain sum over the triangle: diagonal entries are
/// halved, because entries off the diagonal stand for two.
pub fn halve(triangles: &mut [f64], p: usize) {
    for lower in triangles.chunks_exact_mut(triangle(p)) {
        for j in 0..p {
            lower[triangle(j) + j] *= 0.5;
        }
    }
}
