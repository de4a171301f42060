//! Finds the symmetries of a law: transformations of the parameters that leave the prediction unchanged for all data.
//!
//! Examples are the exchange of two exponentials, the exchange of a sigmoid's plateaus together with a change of the
//! sign of its slope, and a change of the sign of a squared width. No data distinguishes equivalent parameter vectors.
//! One of them, the representative, is reported, so that estimates of different sweeps are comparable:
//!
//! 1. the one with the fewest negative shape parameters (those in which the law is not linear);
//! 2. of these, the one whose first differing shape parameter, in the order of the formula, is the smallest.
//!
//! # Method
//!
//! Candidates come from the formula (terms of a sum or factors of a product that are equal except for the names of
//! their parameters) and from an enumeration (exchanges of shape parameters and changes of their signs, a few at a
//! time). Given the transformation of the shape parameters, the transformation of the linear parameters is solved for
//! at one parameter vector. It is accepted if its coefficients are −1, 0 or 1, or these times the ratio of two
//! exchanged shape parameters (the flip-flop of absorption and elimination rates in pharmacokinetics). A symmetry must
//! then leave the value of the law unchanged at many points.

use std::collections::HashSet;

use faer::Mat;

use crate::formula::{BinaryOp, Domain, Expr, ExprKind, Function};
use crate::linalg::least_squares;

use crate::lanes::scalar;

use super::Law;
use super::draws::{Draws, draw};

/// The number of points at which the images of the linear parameters are solved for.
const POINTS: usize = 24;

/// The number of points at which a symmetry must hold.
const TRIALS: usize = 64;

/// The number of parameter vectors from which the best conditioned is chosen.
const PARAMETER_SETS: usize = 16;

/// The smallest number of points at which the law must be finite.
const MIN_POINTS: usize = 16;

/// The relative difference within which two values agree.
const TOLERANCE: f64 = 1e-9;

/// The relative change of a value from which a parameter has an effect at a point.
const MIN_EFFECT: f64 = 1e-6;

/// The difference from an integer within which a coefficient counts as one.
const INTEGER_TOLERANCE: f64 = 1e-5;

/// The largest number of shape parameters for which two exchanges at once, all sign changes and ratios are tried.
const MAX_SHAPES_FOR_PAIRS: usize = 5;

/// The largest number of shape parameters for which all single exchanges are tried.
const MAX_SHAPES_FOR_EXCHANGES: usize = 12;

/// The largest cost of evaluating the candidates: candidates times values of the law times the size of the formula.
/// Beyond it, exchanges and changes of sign are not combined, and the list of candidates is truncated.
const MAX_OPERATIONS: usize = 2_000_000;

/// The largest number of equivalent vectors that are listed.
const MAX_IMAGES: usize = 720;

/// The image of one parameter under a symmetry: a sum of terms.
#[derive(Clone, Debug, PartialEq)]
struct Image(Vec<ImageTerm>);

/// A parameter times a coefficient, and times the ratio of two parameters if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ImageTerm {
    parameter: usize,
    coefficient: f64,
    ratio: Option<(usize, usize)>,
}

impl Image {
    /// Returns the image `coefficient·parameter`.
    fn of(parameter: usize, coefficient: f64) -> Image {
        Image(vec![ImageTerm { parameter, coefficient, ratio: None }])
    }

    /// Returns the value of the image at a parameter vector in natural units.
    fn value(&self, natural: &[f64]) -> f64 {
        let ratio = |ratio: Option<(usize, usize)>| ratio.map_or(1.0, |(a, b)| natural[a] / natural[b]);
        self.0.iter().map(|t| t.coefficient * natural[t.parameter] * ratio(t.ratio)).sum()
    }
}

/// The symmetries of a law, given by generators of their group.
#[derive(Clone, Debug, Default)]
pub struct Symmetries {
    /// The image of each parameter under each generator.
    generators: Vec<Vec<Image>>,
    /// The free parameters in which the law is not linear, in the order of the law.
    shape: Vec<usize>,
    domains: Vec<Domain>,
}

impl Symmetries {
    /// Finds the symmetries of a law.
    #[must_use]
    pub fn of(law: &Law) -> Symmetries {
        let domains: Vec<Domain> = law.parameters.iter().map(|p| p.domain).collect();
        let search = SymmetrySearch::new(law);
        let mut found = Symmetries { generators: Vec::new(), shape: search.shape.clone(), domains };
        let probe = search.trials.first().cloned().unwrap_or_default();
        for candidate in search.candidates() {
            let Some(images) = search.complete(&candidate) else { continue };
            let image: Vec<f64> = images.iter().map(|i| i.value(&probe.parameters)).collect();
            let known =
                found.all_images(&probe.parameters).iter().any(|known| equal_to_rounding(known, &image));
            if !known && search.holds(&images) {
                found.generators.push(images);
            }
        }
        found
    }

    /// Returns whether the law has no symmetries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.generators.is_empty()
    }

    /// Returns the equivalent vectors in the domains, the given one first; all are in natural units.
    #[must_use]
    pub fn images(&self, natural: &[f64]) -> Vec<Vec<f64>> {
        let mut images = self.all_images(natural);
        let mut first = true;
        images.retain(|image| std::mem::take(&mut first) || self.in_domain(image));
        images
    }

    /// Returns the representative of the equivalent vectors, in natural units.
    #[must_use]
    pub fn canonical(&self, natural: &[f64]) -> Vec<f64> {
        let negative = |image: &[f64]| self.shape.iter().filter(|&&i| image[i] < 0.0).count();
        let order = |a: &Vec<f64>, b: &Vec<f64>| {
            let values = self.shape.iter().map(|&i| a[i].total_cmp(&b[i]));
            negative(a).cmp(&negative(b)).then(values.fold(std::cmp::Ordering::Equal, |o, next| o.then(next)))
        };
        self.images(natural).into_iter().min_by(order).unwrap_or_else(|| natural.to_vec())
    }

    /// Returns the equivalent vector with the smallest sum of squared relative differences from given values.
    /// Parameters without a given value are ignored.
    pub fn nearest(&self, natural: &[f64], given: impl Fn(usize) -> Option<f64>) -> Vec<f64> {
        let distance = |image: &Vec<f64>| -> f64 {
            let difference = |(i, x): (usize, &f64)| {
                let given = given(i)?;
                let size = x.abs() + given.abs();
                (size > 0.0).then(|| ((x - given) / size).powi(2))
            };
            image.iter().enumerate().filter_map(difference).sum()
        };
        let nearer = |a: &Vec<f64>, b: &Vec<f64>| distance(a).total_cmp(&distance(b));
        self.images(natural).into_iter().min_by(nearer).unwrap_or_else(|| natural.to_vec())
    }

    /// Returns whether a vector lies in the domains of the parameters.
    fn in_domain(&self, natural: &[f64]) -> bool {
        self.domains.iter().zip(natural).all(|(domain, x)| match domain {
            Domain::Range { low, high } => low <= x && x <= high,
            Domain::Fixed(_) | Domain::Held => true,
        })
    }

    /// Returns the equivalent vectors, inside the domains or not.
    fn all_images(&self, natural: &[f64]) -> Vec<Vec<f64>> {
        let mut images = vec![natural.to_vec()];
        let mut next = 0;
        while next < images.len() && images.len() < MAX_IMAGES {
            for generator in &self.generators {
                let image: Vec<f64> = generator.iter().map(|i| i.value(&images[next])).collect();
                if image.iter().all(|x| x.is_finite())
                    && !images.iter().any(|known| equal_to_rounding(known, &image))
                {
                    images.push(image);
                }
            }
            next += 1;
        }
        images
    }
}

/// Returns whether two vectors are equal up to rounding.
fn equal_to_rounding(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * (a.abs() + b.abs()))
}

/// A point: values of the variables and of the parameters.
#[derive(Clone, Debug, Default)]
struct SamplePoint {
    variables: Vec<f64>,
    parameters: Vec<f64>,
}

/// A transformation of the shape parameters: a permutation, changes of sign, and at most one scaling by a ratio.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    /// The parameter that replaces each parameter of the law.
    from: Vec<usize>,
    sign: Vec<f64>,
    /// A shape parameter that is multiplied by the ratio of two exchanged shape parameters.
    scaled: Option<(usize, (usize, usize))>,
}

/// The law with its linear and shape parameters, and the points at which candidates are tested.
struct SymmetrySearch<'a> {
    law: &'a Law,
    shape: Vec<usize>,
    linear: Vec<usize>,
    /// Points with a common parameter vector.
    points: Vec<SamplePoint>,
    /// [`SymmetrySearch::columns`] at the points.
    columns: Vec<Vec<f64>>,
    /// Points with a parameter vector each.
    trials: Vec<SamplePoint>,
}

impl<'a> SymmetrySearch<'a> {
    fn new(law: &'a Law) -> SymmetrySearch<'a> {
        let mut draws = Draws::new(1);
        let point = |draws: &mut Draws| SamplePoint {
            variables: law.variables.iter().map(|_| scalar::exp(draws.uniform() * 2.0 - 1.0)).collect(),
            parameters: law.parameters.iter().map(|p| draw(p.domain, draws)).collect(),
        };
        let trials: Vec<SamplePoint> = (0..TRIALS).map(|_| point(&mut draws)).collect();
        let mut search = SymmetrySearch {
            law,
            shape: Vec::new(),
            linear: Vec::new(),
            points: Vec::new(),
            columns: Vec::new(),
            trials,
        };
        for (i, ..) in law.free_parameters() {
            if search.is_linear_in(i) {
                search.linear.push(i);
            } else {
                search.shape.push(i);
            }
        }
        // The least-squares problem is best conditioned where the columns have similar norms.
        let sets: Vec<Vec<SamplePoint>> = (0..PARAMETER_SETS)
            .map(|_| {
                let fixed = point(&mut draws).parameters;
                (0..POINTS).map(|_| SamplePoint { parameters: fixed.clone(), ..point(&mut draws) }).collect()
            })
            .collect();
        let balance = |points: &Vec<SamplePoint>| {
            let columns = search.columns(points, &points[0].parameters);
            let norms = columns[1..].iter().map(|c| c.iter().map(|x| x * x).sum::<f64>());
            let (least, most) = norms.fold((f64::MAX, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
            if (least / most).is_finite() { least / most } else { 0.0 }
        };
        let best = sets.iter().max_by(|a, b| balance(a).total_cmp(&balance(b))).cloned();
        search.points = best.unwrap_or_default();
        if let Some(first) = search.points.first() {
            search.columns = search.columns(&search.points, &first.parameters);
        }
        search
    }

    /// Returns the law's value with all linear parameters at zero, then the factor of each linear parameter.
    fn columns(&self, points: &[SamplePoint], parameters: &[f64]) -> Vec<Vec<f64>> {
        let with = |own: Option<usize>| {
            let mut parameters = parameters.to_vec();
            self.linear.iter().for_each(|&i| parameters[i] = if own == Some(i) { 1.0 } else { 0.0 });
            self.values(points, |_| parameters.clone())
        };
        let rest = with(None);
        let own = self.linear.iter().map(|&i| with(Some(i)));
        let own = own.map(|values| values.iter().zip(&rest).map(|(a, b)| a - b).collect());
        std::iter::once(rest.clone()).chain(own).collect()
    }

    /// Returns the law's value at points with other parameters; NaN where it is undefined.
    fn values(&self, points: &[SamplePoint], parameters: impl Fn(&SamplePoint) -> Vec<f64>) -> Vec<f64> {
        let parameters: Vec<Vec<f64>> = points.iter().map(parameters).collect();
        let variable = |k: usize| points.iter().map(|p| p.variables[k]).collect();
        self.law.evaluate(points.len(), variable, |i| parameters.iter().map(|values| values[i]).collect())
    }

    /// Returns whether the law is linear in a parameter jointly with the linear parameters found so far.
    fn is_linear_in(&self, parameter: usize) -> bool {
        let at = |own: f64, others: f64| {
            self.values(&self.trials, |point| {
                let mut parameters = point.parameters.clone();
                self.linear.iter().for_each(|&i| parameters[i] *= others);
                parameters[parameter] *= own;
                parameters
            })
        };
        let [once, twice, thrice] = [1.0, 2.0, 3.0].map(|own| at(own, 1.0));
        let [scaled, both] = [1.0, 2.0].map(|own| at(own, 2.0));
        let is_affine = |k: usize| {
            let size = once[k].abs() + thrice[k].abs();
            let second_difference = once[k] + thrice[k] - 2.0 * twice[k];
            let mixed = both[k] - scaled[k] - (twice[k] - once[k]);
            let tolerance = TOLERANCE * (size + scaled[k].abs() + both[k].abs());
            (size.is_finite()).then(|| second_difference.abs() <= tolerance && mixed.abs() <= tolerance)
        };
        let verdicts: Vec<bool> = (0..TRIALS).filter_map(is_affine).collect();
        verdicts.len() >= MIN_POINTS && verdicts.iter().all(|is_affine| *is_affine)
    }

    /// Returns the transformations of the shape parameters that are tried.
    fn candidates(&self) -> Vec<Candidate> {
        let n = self.law.parameters.len();
        let shape = &self.shape;
        let same: Vec<usize> = (0..n).collect();
        let exchange = |pairs: &[(usize, usize)]| {
            let mut from = same.clone();
            pairs.iter().for_each(|&(a, b)| from.swap(a, b));
            from
        };
        let mut places: Vec<Vec<usize>> = exchanges(self.law, &self.law.prediction)
            .into_iter()
            .map(|pairs| {
                let of_shape = |&(a, b): &(usize, usize)| shape.contains(&a) && shape.contains(&b);
                exchange(&pairs.into_iter().filter(of_shape).collect::<Vec<(usize, usize)>>())
            })
            .collect();
        let pairs: Vec<(usize, usize)> =
            shape.iter().flat_map(|&a| shape.iter().filter(move |&&b| a < b).map(move |&b| (a, b))).collect();
        if shape.len() <= MAX_SHAPES_FOR_EXCHANGES {
            places.extend(pairs.iter().map(|&pair| exchange(&[pair])));
        }
        if shape.len() <= MAX_SHAPES_FOR_PAIRS {
            for (k, &(a, b)) in pairs.iter().enumerate() {
                let others =
                    pairs[k + 1..].iter().filter(|(c, d)| ![a, b].contains(c) && ![a, b].contains(d));
                places.extend(others.map(|&other| exchange(&[(a, b), other])));
            }
        }
        places.insert(0, same.clone());
        let mut signs: Vec<Vec<usize>> = vec![Vec::new()];
        let signed: Vec<usize> = shape.iter().copied().filter(|&i| self.can_be_negative(i)).collect();
        signs.extend(signed.iter().map(|&i| vec![i]));
        for (k, &i) in signed.iter().enumerate() {
            signs.extend(signed[k + 1..].iter().map(|&j| vec![i, j]));
        }
        if shape.len() <= MAX_SHAPES_FOR_PAIRS && signed.len() >= 3 {
            signs.push(signed.clone());
        }
        let per_candidate = (self.linear.len() + 1) * self.law.prediction.size();
        let allowed = MAX_OPERATIONS / per_candidate;
        let combined = places.len() * signs.len() <= allowed;
        let mut candidates = Vec::new();
        let mut known = HashSet::new();
        for from in &places {
            for negated in signs.iter().filter(|negated| combined || *from == same || negated.is_empty()) {
                let mut sign = vec![1.0; n];
                negated.iter().for_each(|&i| sign[i] = -1.0);
                let candidate = Candidate { from: from.clone(), sign, scaled: None };
                if (*from != same || !negated.is_empty()) && known.insert((from, negated)) {
                    candidates.push(candidate);
                }
            }
            let moved: Vec<usize> = (0..n).filter(|&i| from[i] > i).collect();
            if let &[a] = moved.as_slice()
                && shape.len() <= MAX_SHAPES_FOR_PAIRS
            {
                let b = from[a];
                for &scaled in shape.iter().filter(|&&i| from[i] == i) {
                    candidates.extend([(a, b), (b, a)].map(|ratio| Candidate {
                        from: from.clone(),
                        sign: vec![1.0; n],
                        scaled: Some((scaled, ratio)),
                    }));
                }
            }
        }
        candidates.truncate(allowed);
        candidates
    }

    /// Returns whether a parameter's domain contains negative values.
    fn can_be_negative(&self, parameter: usize) -> bool {
        matches!(self.law.parameters[parameter].domain, Domain::Range { low, .. } if low < 0.0)
    }

    /// Returns the images of all parameters under a candidate, with the images of the linear parameters solved for;
    /// `None` if they do not have the allowed form.
    fn complete(&self, candidate: &Candidate) -> Option<Vec<Image>> {
        let n = self.law.parameters.len();
        let mut images: Vec<Image> =
            (0..n).map(|i| Image::of(candidate.from[i], candidate.sign[i])).collect();
        if let Some((scaled, ratio)) = candidate.scaled {
            images[scaled].0[0].ratio = Some(ratio);
        }
        let m = self.linear.len();
        if POINTS < MIN_POINTS.max(m + 4) {
            return None;
        }
        let before = &self.points.first()?.parameters;
        let mut after: Vec<f64> = images.iter().map(|image| image.value(before)).collect();
        for &i in &self.linear {
            after[i] = before[i];
        }
        let old = &self.columns;
        let new = self.columns(&self.points, &after);
        let finite = |k: &usize| old.iter().chain(&new).all(|column| column[*k].is_finite());
        let rows: Vec<usize> = (0..POINTS).filter(finite).collect();
        let m = self.linear.len();
        if rows.len() < MIN_POINTS.max(m + 4) {
            return None;
        }
        let size = rows.iter().map(|&k| old[0][k].abs()).fold(0.0, f64::max);
        if rows.iter().any(|&k| (old[0][k] - new[0][k]).abs() > TOLERANCE * size) {
            return None;
        }
        if m == 0 {
            return Some(images);
        }
        let matrix = Mat::from_fn(rows.len(), m, |k, j| new[1 + j][rows[k]]);
        let wanted = Mat::from_fn(rows.len(), m, |k, j| old[1 + j][rows[k]]);
        let solved = least_squares(matrix, wanted);
        let swapped: Vec<(usize, usize)> =
            (0..n).filter(|&i| candidate.from[i] != i).map(|i| (i, candidate.from[i])).collect();
        for (j, &own) in self.linear.iter().enumerate() {
            let terms: Option<Vec<Option<ImageTerm>>> =
                (0..m).map(|k| term(solved[(j, k)], self.linear[k], &swapped, before)).collect();
            images[own] = Image(terms?.into_iter().flatten().collect());
        }
        Some(images)
    }

    /// Returns whether the images leave the law's value unchanged wherever it is finite, and every transformed
    /// parameter has an effect on the value.
    fn holds(&self, images: &[Image]) -> bool {
        let before = self.values(&self.trials, |point| point.parameters.clone());
        let image =
            |point: &SamplePoint| images.iter().map(|i| i.value(&point.parameters)).collect::<Vec<f64>>();
        let after = self.values(&self.trials, image);
        let both: Vec<usize> =
            (0..TRIALS).filter(|&k| before[k].is_finite() && after[k].is_finite()).collect();
        let same =
            |&k: &usize| (before[k] - after[k]).abs() <= TOLERANCE * (before[k].abs() + after[k].abs());
        let mut moved = (0..images.len()).filter(|&i| images[i] != Image::of(i, 1.0));
        let matters = |i: usize| {
            let changed = self.values(&self.trials, |point| {
                let mut parameters = point.parameters.clone();
                parameters[i] *= 1.5;
                parameters
            });
            both.iter().any(|&k| (changed[k] - before[k]).abs() > MIN_EFFECT * before[k].abs())
        };
        both.len() >= MIN_POINTS && both.iter().all(same) && moved.all(matters)
    }
}

/// Returns the term of an image that a coefficient represents: `Some(None)` if it is zero, `None` if it is not of an
/// allowed form.
fn term(
    coefficient: f64,
    parameter: usize,
    swapped: &[(usize, usize)],
    before: &[f64],
) -> Option<Option<ImageTerm>> {
    let ratios = swapped.iter().map(|&(a, b)| (Some((a, b)), before[a] / before[b]));
    for (ratio, unit) in std::iter::once((None, 1.0)).chain(ratios) {
        for coefficient_of in [0.0, 1.0, -1.0] {
            if (coefficient - coefficient_of * unit).abs() <= INTEGER_TOLERANCE {
                let term = ImageTerm { parameter, coefficient: coefficient_of, ratio };
                return Some((coefficient_of != 0.0).then_some(term));
            }
        }
    }
    None
}

/// Returns the exchanges of parameters that exchange two terms of a sum, two factors of a product, or two arguments of
/// `min` or `max`.
fn exchanges(law: &Law, expr: &Expr) -> Vec<Vec<(usize, usize)>> {
    let mut found = Vec::new();
    let mut known: HashSet<Vec<(usize, usize)>> = HashSet::new();
    // Expressions to visit, each with the operations for which the enclosing expression has compared its operands.
    let mut open: Vec<(&Expr, &[Commutative])> = vec![(expr, &[])];
    while let Some((expr, compared)) = open.pop() {
        open.extend(expr.children().into_iter().map(|child| (child, inner_operations(expr))));
        for operation in [Commutative::Sum, Commutative::Product, Commutative::Extreme] {
            if compared.contains(&operation) {
                continue;
            }
            let mut operands = Vec::new();
            collect_operands(expr, operation, &mut operands);
            for (k, a) in operands.iter().enumerate() {
                for b in &operands[k + 1..] {
                    let mut pairs = Vec::new();
                    if matches(law, a, b, &mut pairs) {
                        pairs.retain(|(a, b)| a != b);
                        pairs.iter_mut().for_each(|pair| *pair = (pair.0.min(pair.1), pair.0.max(pair.1)));
                        pairs.sort_unstable();
                        pairs.dedup();
                        let mut places: Vec<usize> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
                        places.sort_unstable();
                        let is_exchange = places.windows(2).all(|two| two[0] != two[1]);
                        if !pairs.is_empty() && is_exchange && known.insert(pairs.clone()) {
                            found.push(pairs);
                        }
                    }
                }
            }
        }
    }
    found
}

/// A commutative operation.
#[derive(Clone, Copy, PartialEq)]
enum Commutative {
    Sum,
    Product,
    /// `min` or `max`.
    Extreme,
}

/// Returns the operations for which [`collect_operands`] continues into the children of an expression.
fn inner_operations(expr: &Expr) -> &'static [Commutative] {
    match &expr.kind {
        ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub, ..) => &[Commutative::Sum],
        ExprKind::Binary(BinaryOp::Mul | BinaryOp::Div, ..) => &[Commutative::Product],
        ExprKind::Negate(_) => &[Commutative::Sum, Commutative::Product],
        _ => &[],
    }
}

/// Collects the operands of nested sums, of nested products, or of one `min` or `max`.
fn collect_operands<'a>(expr: &'a Expr, operation: Commutative, into: &mut Vec<&'a Expr>) {
    match &expr.kind {
        ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) if operation == Commutative::Sum => {
            collect_operands(a, operation, into);
            collect_operands(b, operation, into);
        }
        ExprKind::Binary(BinaryOp::Mul | BinaryOp::Div, a, b) if operation == Commutative::Product => {
            collect_operands(a, operation, into);
            collect_operands(b, operation, into);
        }
        ExprKind::Call(Function::Min | Function::Max, arguments) if operation == Commutative::Extreme => {
            into.extend(arguments);
        }
        ExprKind::Negate(a) if operation != Commutative::Extreme => collect_operands(a, operation, into),
        _ => into.push(expr),
    }
}

/// Returns whether two expressions are equal except for the names of parameters; appends the pairs of different or
/// equal parameters.
fn matches(law: &Law, a: &Expr, b: &Expr, pairs: &mut Vec<(usize, usize)>) -> bool {
    let same_kind = match (&a.kind, &b.kind) {
        (ExprKind::Number(x), ExprKind::Number(y)) => return x == y,
        (ExprKind::Name(x), ExprKind::Name(y)) => {
            return match (law.parameter(x), law.parameter(y)) {
                (Some(x), Some(y)) => {
                    pairs.push((x, y));
                    true
                }
                (None, None) => x == y,
                _ => false,
            };
        }
        (ExprKind::Negate(_), ExprKind::Negate(_)) => true,
        (ExprKind::Binary(p, ..), ExprKind::Binary(q, ..)) => p == q,
        (ExprKind::Call(p, _), ExprKind::Call(q, _)) => p == q,
        _ => false,
    };
    let (a, b) = (a.children(), b.children());
    same_kind && a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| matches(law, a, b, pairs))
}

#[cfg(test)]
mod tests {
    use crate::testing::{catalogue_law, typed_law};

    use super::Symmetries;

    fn of(formula: &str) -> Symmetries {
        Symmetries::of(&typed_law(formula, &["x", "y", "z"]))
    }

    // The expected numbers follow from algebra.
    #[test]
    fn the_number_of_images_is_that_of_algebra() {
        for (formula, count) in [
            ("y ~ a + b*x", 1),
            ("y ~ a*exp(-p*x) + b*exp(-q*x)", 2),
            ("y ~ a*exp(-p*x) + b*exp(-q*x) + c*exp(-r*x)", 6),
            // The signs of the widths have no effect.
            ("y ~ a*exp(-(x - m)^2/s^2) + b*exp(-(x - k)^2/t^2)", 8),
            // The plateaus are exchanged and the slope changes sign.
            ("y ~ c + (d - c)/(1 + (x/e)^b) where e > 0", 2),
            ("y ~ c + (d - c)/(1 + exp(b*(log(x) - log(e)))) where e > 0", 2),
            ("y ~ c + a/(1 + exp(b*(x - m)))", 2),
            ("y ~ a*tanh(b*x)", 2),
            // The exponents belong to different variables, so the terms cannot be exchanged.
            ("y ~ a*exp(-p*x) + b*exp(-q*z)", 1),
            ("y ~ a*p/(p - q)*(exp(-q*x) - exp(-p*x)) where p > 0, q > 0", 2),
            ("y ~ 10*p/(v*(p - q))*(exp(-q*x) - exp(-p*x)) where p > 0, q > 0, v > 0", 2),
            ("y ~ a*(p + x)*(q + x)", 2),
            ("y ~ a*x^b + c", 1),
            ("y ~ min(a + b*x, c + d*x)", 2),
            ("y ~ abs(a + b*x)", 2),
            ("y ~ abs(a + b*x) + c*z", 2),
        ] {
            let symmetries = of(formula);
            let point: Vec<f64> = (0..8).map(|i| 1.0 + 0.37 * f64::from(i)).collect();
            let n = symmetries.domains.len();
            assert_eq!(symmetries.all_images(&point[..n]).len(), count, "{formula}: {symmetries:?}");
        }
        for law in ["chinchilla", "power-offset", "exp3", "pow4", "wbl4"] {
            assert!(Symmetries::of(&catalogue_law(law)).is_empty(), "{law}");
        }
    }

    /// The reported vector has the fewest negative shape parameters, then the smallest.
    #[test]
    fn canonical_vectors_follow_the_rule() {
        let sigmoid = of("y ~ c + (d - c)/(1 + (x/e)^b) where e > 0");
        let names = ["c", "d", "e", "b"];
        assert_eq!(sigmoid.domains.len(), names.len());
        assert_eq!(sigmoid.canonical(&[1.0, 5.0, 3.0, -2.0]), [5.0, 1.0, 3.0, 2.0]);
        assert_eq!(sigmoid.canonical(&[1.0, 5.0, 3.0, 2.0]), [1.0, 5.0, 3.0, 2.0]);
        let logistic = of("y ~ c + a/(1 + exp(b*(x - m)))");
        assert_eq!(logistic.canonical(&[1.0, 4.0, -2.0, 7.0]), [5.0, -4.0, 2.0, 7.0]);
        let two = of("y ~ a*exp(-p*x) + b*exp(-q*x)");
        assert_eq!(two.canonical(&[1.0, 9.0, 2.0, 4.0]), [2.0, 4.0, 1.0, 9.0]);
        // Flip-flop: the amplitude changes in the ratio of the rates.
        let bateman = of("y ~ a*p/(p - q)*(exp(-q*x) - exp(-p*x)) where p > 0, q > 0");
        assert_eq!(bateman.canonical(&[3.0, 2.0, 0.5]), [12.0, 0.5, 2.0]);
    }
}
