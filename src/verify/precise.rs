//! A law in 256-bit arithmetic, straight from its syntax tree: what the compiled programs are held against.
//!
//! The only thing taken from the compiled law is what its coordinates are: the program that turns them into the
//! parameters is interpreted here, operation by operation, as their definition. The prediction is the formula as
//! written; a `solve` is bracketed and refined until its root stands still.
//!
//! Differences ask for the law at many points that differ in one or two coordinates. A node is computed once for
//! every way in which the coordinates that it follows are moved.

use std::collections::HashMap;

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign};

use crate::compile::{Op, Operand, ParameterProgram};
use crate::formula::{BinaryOp, Expr, ExprKind, Function};
use crate::law::{Law, Unary};

/// Precision of all numbers, 77 decimal digits.
pub const BITS: usize = 256;
const ROUND: RoundingMode = RoundingMode::ToEven;

/// Halvings of a bracket before secants, and most steps altogether.
const HALVINGS: usize = 16;
const MOST_STEPS: usize = 400;
/// A root that moves less than this power of two of its bracket stands still.
const STANDS_STILL: i32 = -240;

/// Returns what `choose` makes of numbers one after the other; NaN where one of them is.
fn extreme(x: &[BigFloat], choose: fn(&BigFloat, &BigFloat) -> BigFloat) -> BigFloat {
    if x.iter().any(BigFloat::is_nan) {
        return BigFloat::nan(None);
    }
    x.iter().cloned().reduce(|a, b| choose(&a, &b)).unwrap_or_else(|| BigFloat::nan(None))
}

#[must_use]
pub fn number(x: f64) -> BigFloat {
    BigFloat::from_f64(x, BITS)
}

/// `x·2^exponent`.
#[must_use]
pub fn scaled(x: &BigFloat, exponent: i32) -> BigFloat {
    let mut x = x.clone();
    if let (false, Some(e)) = (x.is_zero(), x.exponent()) {
        x.set_exponent(e + exponent);
    }
    x
}

/// The nearest float64, to a unit in the last place.
#[must_use]
pub fn to_f64(x: &BigFloat) -> f64 {
    if x.is_zero() {
        return 0.0;
    }
    let Some((words, _, sign, exponent, _)) = x.as_raw_parts() else { return f64::NAN };
    // The mantissa is a fraction whose last word leads.
    let leading = words.last().map_or(0.0, |&word| word as f64) * 0.5_f64.powi(64);
    let size = libm::ldexp(leading, exponent);
    if sign == Sign::Neg { -size } else { size }
}

#[must_use]
pub fn add(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.add(b, BITS, ROUND)
}

#[must_use]
pub fn sub(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.sub(b, BITS, ROUND)
}

#[must_use]
pub fn mul(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.mul(b, BITS, ROUND)
}

#[must_use]
pub fn div(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.div(b, BITS, ROUND)
}

fn between(x: &BigFloat, low: &BigFloat, high: &BigFloat) -> bool {
    x.cmp(low).is_some_and(|order| order >= 0) && x.cmp(high).is_some_and(|order| order <= 0)
}

/// Up to two coordinates that are moved by their step: one more than the coordinate's index, negative where the step
/// is taken back; 0 for none.
pub type Move = [i16; 2];

pub const HERE: Move = [0, 0];

type Id = usize;

#[derive(Debug)]
enum NodeKind {
    Coordinate(usize),
    Constant(BigFloat),
    /// A variable, by its place in the law.
    Variable(usize),
    Unknown,
    Negate(Id),
    Binary(BinaryOp, Id, Id),
    Call(Function, Vec<Id>),
    Root {
        low: Id,
        high: Id,
        equation: Id,
    },
}

#[derive(Debug)]
struct PreciseNode {
    kind: NodeKind,
    /// The coordinates below it, one bit each.
    follows: u64,
    /// Whether it depends on the unknown of the equation around it.
    open: bool,
}

/// A law as a graph over the solver's coordinates.
#[derive(Debug)]
pub struct PreciseLaw {
    nodes: Vec<PreciseNode>,
    parameters: Vec<Id>,
    prediction: Id,
}

/// Why a law cannot be evaluated here.
#[derive(Debug, thiserror::Error)]
#[error("the high-precision evaluation has no {0}")]
pub struct Unsupported(String);

impl PreciseLaw {
    /// `natural` defines the coordinates: it gives the law's parameters; `means` are those of the data's columns.
    pub fn new(law: &Law, natural: &ParameterProgram, means: &[f64]) -> Result<PreciseLaw, Unsupported> {
        let mut built = PreciseLaw { nodes: Vec::new(), parameters: Vec::new(), prediction: 0 };
        built.parameters = built.program(natural, means)?;
        built.prediction = built.expression(law, &law.prediction, None)?;
        Ok(built)
    }

    /// The law with its parameters themselves as coordinates.
    pub fn in_parameters(law: &Law) -> Result<PreciseLaw, Unsupported> {
        let mut built = PreciseLaw { nodes: Vec::new(), parameters: Vec::new(), prediction: 0 };
        built.parameters = (0..law.parameters.len()).map(|i| built.push(NodeKind::Coordinate(i))).collect();
        built.prediction = built.expression(law, &law.prediction, None)?;
        Ok(built)
    }

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
        let follows = below.iter().fold(own, |all, &id| all | self.nodes[id].follows);
        let open = match kind {
            NodeKind::Unknown => true,
            NodeKind::Root { .. } => false,
            _ => below.iter().any(|&id| self.nodes[id].open),
        };
        self.nodes.push(PreciseNode { kind, follows, open });
        self.nodes.len() - 1
    }

    fn expression(&mut self, law: &Law, expr: &Expr, unknown: Option<&str>) -> Result<Id, Unsupported> {
        let kind = match &expr.kind {
            ExprKind::Number(x) => NodeKind::Constant(number(*x)),
            ExprKind::Name(name) if unknown == Some(name) => NodeKind::Unknown,
            ExprKind::Name(name) => {
                if let Some(i) = law.parameter(name) {
                    return Ok(self.parameters[i]);
                }
                let place = law.variables.iter().position(|v| v == name);
                NodeKind::Variable(place.ok_or_else(|| Unsupported(format!("`{name}`")))?)
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

    /// Nodes of a program's outputs.
    fn program(&mut self, program: &ParameterProgram, means: &[f64]) -> Result<Vec<Id>, Unsupported> {
        let mut slots: Vec<Id> =
            (0..program.n_coordinates).map(|i| self.push(NodeKind::Coordinate(i))).collect();
        let known = means.iter().copied().chain(std::iter::repeat(0.0)).take(program.n_columns);
        for x in known.chain(program.constants.iter().copied()) {
            slots.push(self.push(NodeKind::Constant(number(x))));
        }
        slots.resize(program.n_slots.max(slots.len()), 0);
        for instruction in &program.instructions {
            let slot = |operand: Operand| match operand {
                Operand::Slot(i) => Ok(slots[i as usize]),
                _ => Err(Unsupported("parameters that follow data".to_string())),
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

/// A law at one point and one observation.
#[derive(Debug)]
pub struct At<'a> {
    law: &'a PreciseLaw,
    theta: Vec<BigFloat>,
    steps: Vec<BigFloat>,
    /// By the law's variables.
    variables: Vec<BigFloat>,
    known: HashMap<(Id, Move), BigFloat>,
    constants: &'a mut Consts,
}

impl<'a> At<'a> {
    /// `steps` are how far a [`Move`] moves each coordinate.
    pub fn new(
        law: &'a PreciseLaw,
        theta: &[f64],
        steps: &[BigFloat],
        variables: &[f64],
        constants: &'a mut Consts,
    ) -> At<'a> {
        At {
            law,
            theta: theta.iter().map(|&x| number(x)).collect(),
            steps: steps.to_vec(),
            variables: variables.iter().map(|&x| number(x)).collect(),
            known: HashMap::new(),
            constants,
        }
    }

    pub fn prediction(&mut self, moved: Move) -> BigFloat {
        self.value(self.law.prediction, moved, None)
    }

    /// A parameter of the law in natural units.
    pub fn parameter(&mut self, index: usize, moved: Move) -> BigFloat {
        self.value(self.law.parameters[index], moved, None)
    }

    fn value(&mut self, id: Id, moved: Move, unknown: Option<&BigFloat>) -> BigFloat {
        let law = self.law;
        let node = &law.nodes[id];
        let mut felt = moved.map(|m| if m != 0 && node.follows >> (m.abs() - 1) & 1 == 1 { m } else { 0 });
        felt.sort_unstable();
        if let (false, Some(known)) = (node.open, self.known.get(&(id, felt))) {
            return known.clone();
        }
        let value = match &node.kind {
            NodeKind::Coordinate(i) => felt.iter().fold(self.theta[*i].clone(), |x, &m| match m {
                0 => x,
                m if m > 0 => add(&x, &self.steps[*i]),
                _ => sub(&x, &self.steps[*i]),
            }),
            NodeKind::Constant(x) => x.clone(),
            NodeKind::Variable(i) => self.variables[*i].clone(),
            NodeKind::Unknown => unknown.cloned().unwrap_or_else(|| BigFloat::nan(None)),
            NodeKind::Negate(a) => self.value(*a, felt, unknown).neg(),
            NodeKind::Binary(op, a, b) => {
                let (a, b) = (self.value(*a, felt, unknown), self.value(*b, felt, unknown));
                match op {
                    BinaryOp::Add => add(&a, &b),
                    BinaryOp::Sub => sub(&a, &b),
                    BinaryOp::Mul => mul(&a, &b),
                    BinaryOp::Div => div(&a, &b),
                    BinaryOp::Pow => self.power(&a, &b),
                }
            }
            NodeKind::Call(function, arguments) => {
                let values: Vec<BigFloat> = arguments.iter().map(|a| self.value(*a, felt, unknown)).collect();
                self.call(*function, &values)
            }
            NodeKind::Root { low, high, equation } => {
                let (low, high) = (self.value(*low, felt, None), self.value(*high, felt, None));
                let near = self.known.get(&(id, HERE)).cloned();
                self.root(&low, &high, near, |at, y| at.value(*equation, felt, Some(y)))
            }
        };
        if !node.open {
            self.known.insert((id, felt), value.clone());
        }
        value
    }

    fn exp(&mut self, x: &BigFloat) -> BigFloat {
        x.exp(BITS, ROUND, self.constants)
    }

    fn ln(&mut self, x: &BigFloat) -> BigFloat {
        x.ln(BITS, ROUND, self.constants)
    }

    fn power(&mut self, base: &BigFloat, exponent: &BigFloat) -> BigFloat {
        let size = to_f64(exponent).abs();
        if exponent.is_int() && size < 64.0 {
            let power = base.powi(size as usize, BITS, ROUND);
            return if exponent.is_negative() { div(&number(1.0), &power) } else { power };
        }
        if base.is_zero() && exponent.is_positive() {
            return number(0.0);
        }
        let logarithm = self.ln(base);
        self.exp(&mul(exponent, &logarithm))
    }

    fn call(&mut self, function: Function, x: &[BigFloat]) -> BigFloat {
        let Some(first) = x.first() else { return BigFloat::nan(None) };
        match function {
            Function::Exp => self.exp(first),
            Function::Log => self.ln(first),
            Function::Log10 | Function::Log2 => {
                let base = number(if function == Function::Log2 { 2.0 } else { 10.0 });
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
                let small = self.exp(&first.neg());
                div(&number(1.0), &add(&number(1.0), &small))
            }
            Function::Min => extreme(x, BigFloat::min),
            Function::Max => extreme(x, BigFloat::max),
        }
    }

    /// The root of a monotone function strictly between two ends, `near` which it may be; NaN where there is none.
    fn root(
        &mut self,
        low: &BigFloat,
        high: &BigFloat,
        near: Option<BigFloat>,
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
        let still = scaled(&width, STANDS_STILL).abs();
        let middle = |low: &BigFloat, high: &BigFloat| scaled(&add(low, high), -1);
        let mut before: Option<(BigFloat, BigFloat)> = None;
        let mut here = middle(&low, &high);
        let mut halvings = HALVINGS;
        if let Some(near) = near.filter(|x| between(x, &low, &high)) {
            let value = f(self, &near);
            here = add(&near, &scaled(&sub(&high, &near), -60));
            before = Some((near, value));
            halvings = 0;
        }
        for step in 0..MOST_STEPS {
            let value = f(self, &here);
            if value.is_zero() {
                return here;
            }
            if value.is_negative() == rises {
                low = here.clone();
            } else {
                high = here.clone();
            }
            let mut next = middle(&low, &high);
            if let (true, Some((x, y))) = (step >= halvings, &before) {
                let slope = div(&sub(&value, y), &sub(&here, x));
                let secant = sub(&here, &div(&value, &slope));
                let moved = sub(&secant, &here).abs();
                if moved.cmp(&still).is_some_and(|order| order <= 0) {
                    return secant;
                }
                if between(&secant, &low, &high) {
                    next = secant;
                }
            }
            before = Some((here, value));
            here = next;
        }
        BigFloat::nan(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::Residual;
    use crate::testing::{problem, typed_law};

    /// The prediction of `law` at b = `parameter` for x = `x`.
    fn at(text: &str, parameter: f64, x: f64) -> f64 {
        let law = typed_law(text, &["x", "y"]);
        let columns = [("y", vec![1.0]), ("x", vec![x])];
        let (_, problem) = problem(&law, Residual::Linear, crate::problem::Loss::L2, &columns);
        let precise = PreciseLaw::new(&law, &problem.model.natural, &problem.means).unwrap();
        let theta = problem.coordinates(&[parameter]);
        let mut constants = Consts::new().unwrap();
        to_f64(&At::new(&precise, &theta, &[number(0.0)], &[x], &mut constants).prediction(HERE))
    }

    /// Values from tables, and identities.
    #[test]
    fn functions_have_their_values() {
        let close =
            |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 4e-16, "{got} {expected}");
        close(at("y ~ b*exp(x)", 1.0, 1.0), std::f64::consts::E);
        close(at("y ~ b*log(x)", 1.0, 2.0), std::f64::consts::LN_2);
        close(at("y ~ b*log10(x)", 1.0, 1e5), 5.0);
        close(at("y ~ b*log2(x)", 1.0, 8.0), 3.0);
        close(at("y ~ 4*b*atan(x)", 1.0, 1.0), std::f64::consts::PI);
        close(at("y ~ b*tanh(x) - b*(exp(2*x) - 1)/(exp(2*x) + 1) + 1", 1.0, 0.7), 1.0);
        close(at("y ~ b*sigmoid(x)*(1 + exp(-x))", 1.0, 0.3), 1.0);
        close(at("y ~ b*(sin(x)^2 + cos(x)^2)", 1.0, 0.3), 1.0);
        close(at("y ~ b*tan(x)*cos(x)/sin(x)", 1.0, 0.3), 1.0);
        close(at("y ~ b*sqrt(abs(x))", 3.0, -4.0), 6.0);
        close(at("y ~ min(b, x, 7) + max(b, x)", 3.0, -4.0), -1.0);
        close(at("y ~ b*(x - 5)^3", 1.0, 2.0), -27.0);
        close(at("y ~ b*x^(-2)", 1.0, -2.0), 0.25);
        close(at("y ~ x^b", 0.5, 9.0), 3.0);
    }

    /// The cosine's fixed point, and a root a breath from its lower end.
    #[test]
    fn roots_stand_where_the_equation_says() {
        let root = at("y ~ solve(t, 0, b, t = x*cos(t))", 1.5, 1.0);
        assert!((root - 0.739_085_133_215_160_6).abs() < 2e-16, "{root}");
        let root = at("y ~ solve(t, 0, b, log(t) = x)", 1.0, -60.0);
        assert!((root / (-60.0_f64).exp() - 1.0).abs() < 1e-15, "{root}");
    }

    #[test]
    fn numbers_go_there_and_back() {
        for x in [0.0, 1.0, -2.5, 1e300, -3e-300, std::f64::consts::PI] {
            assert_eq!(to_f64(&number(x)), x);
        }
        assert!(to_f64(&BigFloat::nan(None)).is_nan());
        assert_eq!(to_f64(&scaled(&number(3.0), -4)), 0.1875);
    }
}
