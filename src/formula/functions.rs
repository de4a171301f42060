//! The table of the language's functions, for the parser, the evaluator and the reference.
//!
//! Each function is the one of its name in [`scalar`], whose values have the same bits on every machine and in compiled
//! programs. `min` and `max` are [`lanes::min`] and [`lanes::max`]: NaN where an argument is NaN.

use super::suggest::{counted, nearest};
use crate::lanes::{self, scalar, slices};

/// The name of `solve(unknown, low, high, equation)` in formulas.
pub(super) const SOLVE: &str = "solve";

/// A function of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// eˣ
    Exp,
    /// Natural logarithm
    Log,
    /// Logarithm to base 10
    Log10,
    /// Logarithm to base 2
    Log2,
    /// Square root
    Sqrt,
    /// Absolute value
    Abs,
    /// Sine of radians
    Sin,
    /// Cosine of radians
    Cos,
    /// Tangent of radians
    Tan,
    /// Inverse tangent in radians
    Atan,
    /// Hyperbolic tangent
    Tanh,
    /// Logistic function
    Sigmoid,
    /// Smallest argument
    Min,
    /// Largest argument
    Max,
}

/// The number of arguments that a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly this number.
    Exactly(usize),
    /// This number or more.
    AtLeast(usize),
}

impl Arity {
    /// Returns whether a call may have `count` arguments.
    #[must_use]
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Self::Exactly(n) => count == n,
            Self::AtLeast(n) => count >= n,
        }
    }
}

impl std::fmt::Display for Arity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{}", counted(*n, "argument")),
            Self::AtLeast(n) => write!(f, "{n} or more arguments"),
        }
    }
}

/// An entry of the reference of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionEntry {
    /// The function.
    pub function: Function,
    /// The function's name in formulas.
    pub name: &'static str,
    /// The number of arguments that it takes.
    pub arity: Arity,
    /// The function's meaning, in one line.
    pub meaning: &'static str,
}

/// Returns the entry of a function of one argument.
const fn one(function: Function, name: &'static str, meaning: &'static str) -> FunctionEntry {
    FunctionEntry { function, name, arity: Arity::Exactly(1), meaning }
}

/// Returns the entry of a function of two or more arguments.
const fn many(function: Function, name: &'static str, meaning: &'static str) -> FunctionEntry {
    FunctionEntry { function, name, arity: Arity::AtLeast(2), meaning }
}

/// All functions, in the order of the variants of [`Function`], which [`Function::entry`] relies on.
static TABLE: [FunctionEntry; 14] = [
    one(Function::Exp, "exp", "e to the power x"),
    one(Function::Log, "log", "natural logarithm"),
    one(Function::Log10, "log10", "logarithm to base 10"),
    one(Function::Log2, "log2", "logarithm to base 2"),
    one(Function::Sqrt, "sqrt", "square root"),
    one(Function::Abs, "abs", "absolute value"),
    one(Function::Sin, "sin", "sine of x in radians"),
    one(Function::Cos, "cos", "cosine of x in radians"),
    one(Function::Tan, "tan", "tangent of x in radians"),
    one(Function::Atan, "atan", "inverse tangent, in radians"),
    one(Function::Tanh, "tanh", "hyperbolic tangent"),
    one(Function::Sigmoid, "sigmoid", "logistic function 1 / (1 + exp(-x))"),
    many(Function::Min, "min", "smallest of the arguments"),
    many(Function::Max, "max", "largest of the arguments"),
];

/// Names of functions in other languages, which an edit distance would not find, with our names.
const FOREIGN_NAMES: [(&str, &str); 9] = [
    ("ln", "log"),
    ("lg", "log10"),
    ("logistic", "sigmoid"),
    ("expit", "sigmoid"),
    ("root", "solve"),
    ("arctan", "atan"),
    ("fabs", "abs"),
    ("minimum", "min"),
    ("maximum", "max"),
];

/// Returns all functions of the language, in the order of the reference.
#[must_use]
pub fn reference() -> &'static [FunctionEntry] {
    &TABLE
}

impl Function {
    /// Returns the function of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|entry| entry.name == name).map(|entry| entry.function)
    }

    /// Returns the function's entry of the reference.
    #[must_use]
    pub fn entry(self) -> &'static FunctionEntry {
        &TABLE[self as usize]
    }

    /// Returns the function's name in formulas.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Returns the number of arguments that the function takes.
    #[must_use]
    pub fn arity(self) -> Arity {
        self.entry().arity
    }

    /// Returns the function's value: NaN without arguments. Arguments beyond the arity are ignored.
    #[must_use]
    pub fn apply(self, arguments: &[f64]) -> f64 {
        let Some((&x, rest)) = arguments.split_first() else {
            return f64::NAN;
        };
        match self {
            Self::Min => rest.iter().fold(x, |low, &next| lanes::min(low, next)),
            Self::Max => rest.iter().fold(x, |high, &next| lanes::max(high, next)),
            one => one.of_one(x),
        }
    }

    /// Returns the function's value at one number, which is `x` for `min` and `max`.
    #[must_use]
    #[inline]
    pub fn of_one(self, x: f64) -> f64 {
        match self {
            Self::Exp => scalar::exp(x),
            Self::Log => scalar::ln(x),
            Self::Log10 => scalar::log10(x),
            Self::Log2 => scalar::log2(x),
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Sin => scalar::sin(x),
            Self::Cos => scalar::cos(x),
            Self::Tan => scalar::tan(x),
            Self::Atan => scalar::atan(x),
            Self::Tanh => scalar::tanh(x),
            Self::Sigmoid => scalar::sigmoid(x),
            Self::Min | Self::Max => x,
        }
    }
}

impl Function {
    /// Replaces every argument by the value of a function of one argument.
    pub fn of_each(self, values: &mut [f64]) {
        match self {
            Self::Exp => slices::exp(values),
            Self::Log => slices::ln(values),
            _ => values.iter_mut().for_each(|x| *x = self.of_one(*x)),
        }
    }
}

/// Returns the message for a call of a function that does not exist.
#[must_use]
pub fn unknown(name: &str) -> String {
    if name == "pow" || name == "power" {
        return format!("there is no function `{name}`: a power is written `x^y`");
    }
    let near = FOREIGN_NAMES
        .iter()
        .find(|(foreign, _)| foreign.eq_ignore_ascii_case(name))
        .map(|&(_, ours)| ours)
        .or_else(|| nearest(name, TABLE.iter().map(|entry| entry.name).chain([SOLVE])));
    match near {
        Some(near) => format!("there is no function `{name}`: did you mean `{near}`?"),
        None => {
            let all: Vec<_> = TABLE.iter().map(|entry| entry.name).chain([SOLVE]).collect();
            format!(
                "there is no function `{name}` (a product is written `{name} * (…)`; the functions are {})",
                all.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for entry in reference() {
            assert_eq!(entry.function.entry(), entry);
            assert_eq!(Function::named(entry.name), Some(entry.function));
        }
    }

    #[test]
    fn sigmoid_is_accurate_in_both_tails() {
        assert_eq!(scalar::sigmoid(0.0), 0.5);
        // 1/(1+exp(40)) and 1/(1+exp(-1)) in 40-digit decimal arithmetic.
        let lower = 4.248_354_255_291_589e-18;
        assert!((scalar::sigmoid(-40.0) / lower - 1.0).abs() < 1e-15);
        assert!((scalar::sigmoid(1.0) - 0.731_058_578_630_004_9).abs() < 1e-16);
        assert_eq!(scalar::sigmoid(800.0), 1.0);
        assert_eq!(scalar::sigmoid(-800.0), 0.0);
        assert!(scalar::sigmoid(-740.0) > 0.0);
        assert_eq!(scalar::sigmoid(f64::INFINITY), 1.0);
        assert_eq!(scalar::sigmoid(f64::NEG_INFINITY), 0.0);
        assert!(scalar::sigmoid(f64::NAN).is_nan());
    }

    #[test]
    fn integral_values_are_exact() {
        assert_eq!(Function::Log.apply(&[std::f64::consts::E]), 1.0);
        assert_eq!(Function::Log2.apply(&[8.0]), 3.0);
        assert_eq!(Function::Log10.apply(&[1000.0]), 3.0);
        assert_eq!(Function::Max.apply(&[1.0, 3.0, 2.0]), 3.0);
        assert_eq!(Function::Min.apply(&[1.0, -3.0, 2.0]), -3.0);
        assert!(Function::Exp.apply(&[]).is_nan());
        assert!(Function::Min.apply(&[1.0, f64::NAN, 2.0]).is_nan());
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        assert!(unknown("lgo").contains("did you mean `log`"));
        assert!(unknown("Exp").contains("did you mean `exp`"));
        assert!(unknown("ln").contains("did you mean `log`"));
        assert!(unknown("sigmod").contains("did you mean `sigmoid`"));
        assert!(unknown("pow").contains("x^y"));
        assert!(unknown("alpha").contains("a product is written"));
    }
}
