//! Evaluation of a law in 256-bit arithmetic, as a reference for the compiled programs.
//!
//! The prediction is evaluated from the syntax tree of the formula. Only the definition of the coordinates comes from
//! the compiled law: the program that turns coordinates into parameters is interpreted here, operation by operation.
//! The root of a `solve` is found by bisection and secant steps.
//!
//! Finite differences need the law at many points that differ in one or two coordinates. The value of a node is cached
//! per displacement of the coordinates that the node depends on.

use std::collections::HashMap;

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign};

use crate::compile::{Op, Operand, ParameterProgram};
use crate::formula::{BinaryOp, Expr, ExprKind, Function};
use crate::law::{Law, Unary};

/// The precision of all numbers in bits: 77 decimal digits.
pub const BITS: usize = 256;
const ROUND: RoundingMode = RoundingMode::ToEven;

/// The number of bisections before secant steps.
const BISECTIONS: usize = 16;

/// The largest number of bisections and secant steps.
const MAX_STEPS: usize = 400;

/// The binary logarithm of the change of a root, as a fraction of its bracket's width, at which the root has converged.
const ROOT_TOLERANCE_EXPONENT: i32 = -240;

/// Reduces numbers by `choose`, the minimum or maximum of two; NaN where one of the numbers is NaN.
fn extreme(x: &[BigFloat], choose: fn(&BigFloat, &BigFloat) -> BigFloat) -> BigFloat {
    if x.iter().any(BigFloat::is_nan) {
        return BigFloat::nan(None);
    }
    x.iter().cloned().reduce(|a, b| choose(&a, &b)).unwrap_or_else(|| BigFloat::nan(None))
}

/// Returns the number in 256 bits; the conversion is exact.
#[must_use]
pub fn from_f64(x: f64) -> BigFloat {
    BigFloat::from_f64(x, BITS)
}

/// Returns `x·2^exponent`.
#[must_use]
pub fn scaled(x: &BigFloat, exponent: i32) -> BigFloat {
    let mut x = x.clone();
    if let (false, Some(e)) = (x.is_zero(), x.exponent()) {
        x.set_exponent(e + exponent);
    }
    x
}

/// Returns the number in float64, within a unit in the last place.
#[must_use]
pub fn to_f64(x: &BigFloat) -> f64 {
    if x.is_zero() {
        return 0.0;
    }
    let Some((words, _, sign, exponent, _)) = x.as_raw_parts() else { return f64::NAN };
    // The mantissa is a fraction whose words are stored least significant first.
    let leading = words.last().map_or(0.0, |&word| word as f64) * 0.5_f64.powi(64);
    let size = libm::ldexp(leading, exponent);
    if sign == Sign::Neg { -size } else { size }
}

/// Returns `a + b`.
#[must_use]
pub fn add(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.add(b, BITS, ROUND)
}

/// Returns `a − b`.
#[must_use]
pub fn sub(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.sub(b, BITS, ROUND)
}

/// Returns `a·b`.
#[must_use]
pub fn mul(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.mul(b, BITS, ROUND)
}

/// Returns `a/b`.
#[must_use]
pub fn div(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.div(b, BITS, ROUND)
}

/// Returns whether `x` lies in the closed interval from `low` to `high`.
fn between(x: &BigFloat, low: &BigFloat, high: &BigFloat) -> bool {
    x.cmp(low).is_some_and(|order| order >= 0) && x.cmp(high).is_some_and(|order| order <= 0)
}

/// Up to two coordinates that are displaced by one step each: one more than the coordinate's index, with the sign of
/// the step; 0 for no coordinate.
pub type Displacement = [i16; 2];

/// The displacement of no coordinate.
pub const UNDISPLACED: Displacement = [0, 0];

/// The position of a node in [`PreciseLaw::nodes`].
type Id = usize;

#[derive(Debug)]
enum NodeKind {
    Coordinate(usize),
    Constant(BigFloat),
    /// A variable, by its position in the law.
    Variable(usize),
    /// The unknown of the equation around the node.
    Unknown,
    Negate(Id),
    Binary(BinaryOp, Id, Id),
    Call(Function, Vec<Id>),
    /// The zero of `equation` between `low` and `high`.
    Root {
        low: Id,
        high: Id,
        equation: Id,
    },
}

#[derive(Debug)]
struct PreciseNode {
    kind: NodeKind,
    /// The coordinates that the node depends on, one bit each.
    coordinates: u64,
    /// Whether the node depends on the unknown of the equation around it; its value is then not cached.
    depends_on_unknown: bool,
}

/// A law as a graph over coordinates.
#[derive(Debug)]
pub struct PreciseLaw {
    /// Every node stands after the nodes that it uses.
    nodes: Vec<PreciseNode>,
    parameters: Vec<Id>,
    prediction: Id,
}

/// The part of a law that has no evaluation in 256-bit arithmetic.
#[derive(Debug, thiserror::Error)]
#[error("the high-precision evaluation has no {0}")]
pub struct Unsupported(String);

impl PreciseLaw {
    /// Returns a law over the solver's coordinates. `natural` is the program that computes the law's parameters from
    /// them; `means` are the means of the problem's columns, which centre the coordinates.
    ///
    /// # Errors
    /// If the formula or the program uses an operation that has no evaluation here.
    pub fn new(law: &Law, natural: &ParameterProgram, means: &[f64]) -> Result<PreciseLaw, Unsupported> {
        let mut built = PreciseLaw { nodes: Vec::new(), parameters: Vec::new(), prediction: 0 };
        built.parameters = built.program(natural, means)?;
        built.prediction = built.expression(law, &law.prediction, None)?;
        Ok(built)
    }

    /// Returns a law whose coordinates are its parameters in natural units.
    ///
    /// # Errors
    /// If the formula uses an operation that has no evaluation here.
    pub fn in_parameters(law: &Law) -> Result<PreciseLaw, Unsupported> {
        let mut built = PreciseLaw { nodes: Vec::new(), parameters: Vec::new(), prediction: 0 };
        built.parameters = (0..law.parameters.len()).map(|i| built.push(NodeKind::Coordinate(i))).collect();
        built.prediction = built.expression(law, &law.prediction, None)?;
        Ok(built)
    }

    /// Adds a node and returns its position.
    fn push(&mut self, kind: NodeKind) -> Id {
        let below: Vec<Id> = match &kind {
            NodeKind::Coordinate(_) | NodeKind::Constant(_) | NodeKind::Variable(_) | NodeKind::Unknown => {
                Vec::new()
            }
            NodeKind::Negate(a) => vec![*a],
            NodeKind::Binary(_, a, b) => vec![*a, *b],
            NodeKind::Call(_, arguments) => arguments.clone(),
            NodeKind::Root { low, high, equation } => vec![*low, *high, *equation],
        };
        let own = if let NodeKind::Coordinate(i) = kind { 1 << i } else { 0 };
        let coordinates = below.iter().fold(own, |all, &id| all | self.nodes[id].coordinates);
        let depends_on_unknown = match kind {
            NodeKind::Unknown => true,
            NodeKind::Root { .. } => false,
            _ => below.iter().any(|&id| self.nodes[id].depends_on_unknown),
        };
        self.nodes.push(PreciseNode { kind, coordinates, depends_on_unknown });
        self.nodes.len() - 1
    }

    /// Adds the nodes of an expression; `unknown` is the unknown of the equation around it.
    fn expression(&mut self, law: &Law, expr: &Expr, unknown: Option<&str>) -> Result<Id, Unsupported> {
        let kind = match &expr.kind {
            ExprKind::Number(x) => NodeKind::Constant(from_f64(*x)),
            ExprKind::Name(name) if unknown == Some(name) => NodeKind::Unknown,
            ExprKind::Name(name) => {
                if let Some(i) = law.parameter(name) {
                    return Ok(self.parameters[i]);
                }
                let variable = law.variables.iter().position(|v| v == name);
                NodeKind::Variable(variable.ok_or_else(|| Unsupported(format!("`{name}`")))?)
            }
            ExprKind::Negate(a) => NodeKind::Negate(self.expression(law, a, unknown)?),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.expression(law, a, unknown)?, self.expression(law, b, unknown)?);
                NodeKind::Binary(*op, a, b)
            }
            ExprKind::Call(function, arguments) => {
                let arguments: Result<Vec<Id>, Unsupported> =
                    arguments.iter().map(|a| self.expression(law, a, unknown)).collect();
                NodeKind::Call(*function, arguments?)
            }
            ExprKind::Solve { unknown: name, low, high, equation } => {
                let (low, high) = (self.expression(law, low, unknown)?, self.expression(law, high, unknown)?);
                NodeKind::Root { low, high, equation: self.expression(law, equation, Some(name))? }
            }
            _ => return Err(Unsupported("conditions".to_string())),
        };
        Ok(self.push(kind))
    }

    /// Adds the nodes of a program and returns those of its outputs.
    fn program(&mut self, program: &ParameterProgram, means: &[f64]) -> Result<Vec<Id>, Unsupported> {
        let mut slots: Vec<Id> =
            (0..program.n_coordinates).map(|i| self.push(NodeKind::Coordinate(i))).collect();
        let known = means.iter().copied().chain(std::iter::repeat(0.0)).take(program.n_columns);
        for x in known.chain(program.constants.iter().copied()) {
            slots.push(self.push(NodeKind::Constant(from_f64(x))));
        }
        slots.resize(program.n_slots.max(slots.len()), 0);
        for instruction in &program.instructions {
            let slot = |operand: Operand| match operand {
                Operand::Slot(i) => Ok(slots[i as usize]),
                _ => Err(Unsupported("parameters that depend on data".to_string())),
            };
            let (a, b, c) = (slot(instruction.a)?, slot(instruction.b)?, slot(instruction.c)?);
            let kind = match instruction.op {
                Op::Add => NodeKind::Binary(BinaryOp::Add, a, b),
                Op::Sub => NodeKind::Binary(BinaryOp::Sub, a, b),
                Op::Mul => NodeKind::Binary(BinaryOp::Mul, a, b),
                Op::Div => NodeKind::Binary(BinaryOp::Div, a, b),
                Op::Pow => NodeKind::Binary(BinaryOp::Pow, a, b),
                Op::MulAdd => {
                    let product = self.push(NodeKind::Binary(BinaryOp::Mul, a, b));
                    NodeKind::Binary(BinaryOp::Add, product, c)
                }
                Op::NegMulAdd => {
                    let product = self.push(NodeKind::Binary(BinaryOp::Mul, a, b));
                    NodeKind::Binary(BinaryOp::Sub, c, product)
                }
                Op::MulSub => {
                    let product = self.push(NodeKind::Binary(BinaryOp::Mul, a, b));
                    NodeKind::Binary(BinaryOp::Sub, product, c)
                }
                Op::NegMul => {
                    let product = self.push(NodeKind::Binary(BinaryOp::Mul, a, b));
                    NodeKind::Negate(product)
                }
                Op::Unary(Unary::Neg) => NodeKind::Negate(a),
                Op::Unary(Unary::Exp) => NodeKind::Call(Function::Exp, vec![a]),
                Op::Unary(Unary::Ln | Unary::LnBase) => NodeKind::Call(Function::Log, vec![a]),
                Op::LogAddExp => {
                    let powers = [a, b].map(|x| self.push(NodeKind::Call(Function::Exp, vec![x])));
                    let sum = self.push(NodeKind::Binary(BinaryOp::Add, powers[0], powers[1]));
                    NodeKind::Call(Function::Log, vec![sum])
                }
                other => return Err(Unsupported(format!("{other:?} among the coordinates"))),
            };
            slots[instruction.target as usize] = self.push(kind);
        }
        Ok(program.outputs.iter().map(|&slot| slots[slot as usize]).collect())
    }
}

/// The evaluation of a law at one observation, at a point and at displacements from the point.
#[derive(Debug)]
pub struct PreciseEvaluation<'a> {
    law: &'a PreciseLaw,
    theta: Vec<BigFloat>,
    steps: Vec<BigFloat>,
    /// In the order of the law's variables.
    variables: Vec<BigFloat>,
    cache: HashMap<(Id, Displacement), BigFloat>,
    constants: &'a mut Consts,
}

impl<'a> PreciseEvaluation<'a> {
    /// Returns the evaluation at the point `theta` and the observation `variables`, in the order of the law's
    /// variables. A [`Displacement`] moves coordinate `i` by `steps[i]`.
    pub fn new(
        law: &'a PreciseLaw,
        theta: &[f64],
        steps: &[BigFloat],
        variables: &[f64],
        constants: &'a mut Consts,
    ) -> PreciseEvaluation<'a> {
        PreciseEvaluation {
            law,
            theta: theta.iter().map(|&x| from_f64(x)).collect(),
            steps: steps.to_vec(),
            variables: variables.iter().map(|&x| from_f64(x)).collect(),
            cache: HashMap::new(),
            constants,
        }
    }

    /// Returns the law's prediction.
    pub fn prediction(&mut self, displacement: Displacement) -> BigFloat {
        self.value(self.law.prediction, displacement, None)
    }

    /// Returns a parameter of the law in natural units.
    pub fn parameter(&mut self, index: usize, displacement: Displacement) -> BigFloat {
        self.value(self.law.parameters[index], displacement, None)
    }

    /// Returns the value of a node; `unknown` is the value of the unknown of the equation around it.
    fn value(&mut self, id: Id, displacement: Displacement, unknown: Option<&BigFloat>) -> BigFloat {
        let law = self.law;
        let node = &law.nodes[id];
        // The part of the displacement that the node depends on: the key of the cache.
        let mut displaced =
            displacement.map(|d| if d != 0 && node.coordinates >> (d.abs() - 1) & 1 == 1 { d } else { 0 });
        displaced.sort_unstable();
        if let (false, Some(cached)) = (node.depends_on_unknown, self.cache.get(&(id, displaced))) {
            return cached.clone();
        }
        let value = match &node.kind {
            NodeKind::Coordinate(i) => displaced.iter().fold(self.theta[*i].clone(), |x, &d| match d {
                0 => x,
                d if d > 0 => add(&x, &self.steps[*i]),
                _ => sub(&x, &self.steps[*i]),
            }),
            NodeKind::Constant(x) => x.clone(),
            NodeKind::Variable(i) => self.variables[*i].clone(),
            NodeKind::Unknown => unknown.cloned().unwrap_or_else(|| BigFloat::nan(None)),
            NodeKind::Negate(a) => self.value(*a, displaced, unknown).neg(),
            NodeKind::Binary(op, a, b) => {
                let (a, b) = (self.value(*a, displaced, unknown), self.value(*b, displaced, unknown));
                match op {
                    BinaryOp::Add => add(&a, &b),
                    BinaryOp::Sub => sub(&a, &b),
                    BinaryOp::Mul => mul(&a, &b),
                    BinaryOp::Div => div(&a, &b),
                    BinaryOp::Pow => self.power(&a, &b),
                }
            }
            NodeKind::Call(function, arguments) => {
                let values: Vec<BigFloat> =
                    arguments.iter().map(|a| self.value(*a, displaced, unknown)).collect();
                self.call(*function, &values)
            }
            NodeKind::Root { low, high, equation } => {
                let (low, high) = (self.value(*low, displaced, None), self.value(*high, displaced, None));
                // The root at the undisplaced point is a first guess at displaced points.
                let guess = self.cache.get(&(id, UNDISPLACED)).cloned();
                self.root(&low, &high, guess, |evaluation, y| evaluation.value(*equation, displaced, Some(y)))
            }
        };
        if !node.depends_on_unknown {
            self.cache.insert((id, displaced), value.clone());
        }
        value
    }

    fn exp(&mut self, x: &BigFloat) -> BigFloat {
        x.exp(BITS, ROUND, self.constants)
    }

    fn ln(&mut self, x: &BigFloat) -> BigFloat {
        x.ln(BITS, ROUND, self.constants)
    }

    /// Returns the power: by multiplication for small integer exponents, which allow any base, else by logarithms.
    fn power(&mut self, base: &BigFloat, exponent: &BigFloat) -> BigFloat {
        let size = to_f64(exponent).abs();
        if exponent.is_int() && size < 64.0 {
            let power = base.powi(size as usize, BITS, ROUND);
            return if exponent.is_negative() { div(&from_f64(1.0), &power) } else { power };
        }
        if base.is_zero() && exponent.is_positive() {
            return from_f64(0.0);
        }
        let logarithm = self.ln(base);
        self.exp(&mul(exponent, &logarithm))
    }

    /// Returns the value of a function.
    fn call(&mut self, function: Function, x: &[BigFloat]) -> BigFloat {
        let Some(first) = x.first() else { return BigFloat::nan(None) };
        match function {
            Function::Exp => self.exp(first),
            Function::Log => self.ln(first),
            Function::Log10 | Function::Log2 => {
                let base = from_f64(if function == Function::Log2 { 2.0 } else { 10.0 });
                let (value, base) = (self.ln(first), self.ln(&base));
                div(&value, &base)
            }
            Function::Sqrt => first.sqrt(BITS, ROUND),
            Function::Abs => first.abs(),
            Function::Sin => first.sin(BITS, ROUND, self.constants),
            Function::Cos => first.cos(BITS, ROUND, self.constants),
            Function::Tan => first.tan(BITS, ROUND, self.constants),
            Function::Atan => first.atan(BITS, ROUND, self.constants),
            Function::Tanh => first.tanh(BITS, ROUND, self.constants),
            Function::Sigmoid => {
                let exponential = self.exp(&first.neg());
                div(&from_f64(1.0), &add(&from_f64(1.0), &exponential))
            }
            Function::Min => extreme(x, BigFloat::min),
            Function::Max => extreme(x, BigFloat::max),
        }
    }

    /// Returns the root of a monotone function strictly between `low` and `high`, by bisection and the secant method;
    /// NaN where the function has no change of sign. A `guess` within the bracket replaces the bisections.
    fn root(
        &mut self,
        low: &BigFloat,
        high: &BigFloat,
        guess: Option<BigFloat>,
        f: impl Fn(&mut Self, &BigFloat) -> BigFloat,
    ) -> BigFloat {
        let width = sub(high, low);
        let margin = scaled(&width, -200);
        let (mut low, mut high) = (add(low, &margin), sub(high, &margin));
        let (at_low, at_high) = (f(self, &low), f(self, &high));
        if at_low.is_nan() || at_high.is_nan() || at_low.is_negative() == at_high.is_negative() {
            return BigFloat::nan(None);
        }
        let rises = at_low.is_negative();
        let tolerance = scaled(&width, ROOT_TOLERANCE_EXPONENT).abs();
        let middle = |low: &BigFloat, high: &BigFloat| scaled(&add(low, high), -1);
        let mut previous: Option<(BigFloat, BigFloat)> = None;
        let mut current = middle(&low, &high);
        let mut bisections = BISECTIONS;
        if let Some(guess) = guess.filter(|x| between(x, &low, &high)) {
            let value = f(self, &guess);
            current = add(&guess, &scaled(&sub(&high, &guess), -60));
            previous = Some((guess, value));
            bisections = 0;
        }
        for step in 0..MAX_STEPS {
            let value = f(self, &current);
            if value.is_zero() {
                return current;
            }
            if value.is_negative() == rises {
                low = current.clone();
            } else {
                high = current.clone();
            }
            let mut next = middle(&low, &high);
            if let (true, Some((x, y))) = (step >= bisections, &previous) {
                let slope = div(&sub(&value, y), &sub(&current, x));
                let secant = sub(&current, &div(&value, &slope));
                let change = sub(&secant, &current).abs();
                if change.cmp(&tolerance).is_some_and(|order| order <= 0) {
                    return secant;
                }
                if between(&secant, &low, &high) {
                    next = secant;
                }
            }
            previous = Some((current, value));
            current = next;
        }
        BigFloat::nan(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::Residual;
    use crate::testing::{problem, typed_law};

    /// Returns the prediction of the formula `text`, whose only parameter has the value `parameter`, at `x`.
    fn predict(text: &str, parameter: f64, x: f64) -> f64 {
        let law = typed_law(text, &["x", "y"]);
        let columns = [("y", vec![1.0]), ("x", vec![x])];
        let (_, problem) = problem(&law, Residual::Linear, crate::problem::Loss::L2, &columns);
        let precise = PreciseLaw::new(&law, &problem.model.natural, &problem.means).unwrap();
        let theta = problem.coordinates(&[parameter]);
        let mut constants = Consts::new().unwrap();
        to_f64(
            &PreciseEvaluation::new(&precise, &theta, &[from_f64(0.0)], &[x], &mut constants)
                .prediction(UNDISPLACED),
        )
    }

    /// The expected values are mathematical constants and identities.
    #[test]
    fn functions_have_known_values() {
        let close =
            |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 4e-16, "{got} {expected}");
        close(predict("y ~ b*exp(x)", 1.0, 1.0), std::f64::consts::E);
        close(predict("y ~ b*log(x)", 1.0, 2.0), std::f64::consts::LN_2);
        close(predict("y ~ b*log10(x)", 1.0, 1e5), 5.0);
        close(predict("y ~ b*log2(x)", 1.0, 8.0), 3.0);
        close(predict("y ~ 4*b*atan(x)", 1.0, 1.0), std::f64::consts::PI);
        close(predict("y ~ b*tanh(x) - b*(exp(2*x) - 1)/(exp(2*x) + 1) + 1", 1.0, 0.7), 1.0);
        close(predict("y ~ b*sigmoid(x)*(1 + exp(-x))", 1.0, 0.3), 1.0);
        close(predict("y ~ b*(sin(x)^2 + cos(x)^2)", 1.0, 0.3), 1.0);
        close(predict("y ~ b*tan(x)*cos(x)/sin(x)", 1.0, 0.3), 1.0);
        close(predict("y ~ b*sqrt(abs(x))", 3.0, -4.0), 6.0);
        close(predict("y ~ min(b, x, 7) + max(b, x)", 3.0, -4.0), -1.0);
        close(predict("y ~ b*(x - 5)^3", 1.0, 2.0), -27.0);
        close(predict("y ~ b*x^(-2)", 1.0, -2.0), 0.25);
        close(predict("y ~ x^b", 0.5, 9.0), 3.0);
    }

    /// The fixed point of the cosine (the Dottie number), and a root at e⁻⁶⁰, close to the lower end of its bracket.
    #[test]
    fn roots_solve_their_equation() {
        let root = predict("y ~ solve(t, 0, b, t = x*cos(t))", 1.5, 1.0);
        assert!((root - 0.739_085_133_215_160_6).abs() < 2e-16, "{root}");
        let root = predict("y ~ solve(t, 0, b, log(t) = x)", 1.0, -60.0);
        assert!((root / (-60.0_f64).exp() - 1.0).abs() < 1e-15, "{root}");
    }

    #[test]
    fn conversion_from_and_to_float64_is_exact() {
        for x in [0.0, 1.0, -2.5, 1e300, -3e-300, std::f64::consts::PI] {
            assert_eq!(to_f64(&from_f64(x)), x);
        }
        assert!(to_f64(&BigFloat::nan(None)).is_nan());
        assert_eq!(to_f64(&scaled(&from_f64(3.0), -4)), 0.1875);
    }
}
