//! Rejections: the rows that a law cannot use, each with its reason.

use std::fmt;

use crate::formula::{counted, quoted};

/// Why a row or a sweep cannot be used, as one of a few words that do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionCode {
    /// A value is null.
    Null,
    /// A value is NaN or infinite.
    NotFinite,
    /// A text is not a number.
    NotANumber,
    /// The weight is negative.
    NegativeWeight,
    /// σ is zero or negative.
    NonpositiveSigma,
    /// The response is zero or negative, and its logarithm is fitted.
    NonpositiveResponse,
    /// The law, or an expression in it, has no finite value.
    Undefined,
    /// The sweep has fewer usable observations than are asked for.
    TooFew,
}

impl RejectionCode {
    /// Returns the word for the column `code`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RejectionCode::Null => "null",
            RejectionCode::NotFinite => "not_finite",
            RejectionCode::NotANumber => "not_a_number",
            RejectionCode::NegativeWeight => "negative_weight",
            RejectionCode::NonpositiveSigma => "nonpositive_sigma",
            RejectionCode::NonpositiveResponse => "nonpositive_response",
            RejectionCode::Undefined => "undefined",
            RejectionCode::TooFew => "too_few",
        }
    }
}

/// A row that a law cannot use.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Its position in the sweep.
    pub row: u32,
    pub reason: RejectionReason,
}

/// Why a row or a sweep cannot be used. [`Display`](fmt::Display) writes the reason as a sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectionReason {
    /// The kind of reason.
    pub code: RejectionCode,
    /// What the reason is about.
    pub subject: RejectionSubject,
    /// The value that is rejected; `None` where the code says it, as for a null.
    pub value: Option<RejectedValue>,
}

/// What a reason for a rejection is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RejectionSubject {
    /// A column or a definition, by its name.
    Column(String),
    /// An expression of the response or of a law, as it is written.
    Expression(String),
    /// The operand of an operation within a law, as it is written; `None` where it has no short form.
    Operand {
        /// The name of the law.
        law: String,
        /// The operation, such as `takes the logarithm of`.
        operation: &'static str,
        /// The operand.
        operand: Option<String>,
    },
    /// A law as a whole, by its name.
    Law(String),
    /// The number of usable observations in a sweep, and the number that is required.
    Observations {
        /// The number that is required.
        required: usize,
    },
}

/// A value that is rejected.
#[derive(Clone, Debug)]
pub enum RejectedValue {
    /// A number.
    Number(f64),
    /// A text, or the beginning of a long one.
    Text(String),
}

/// All NaNs are one value.
impl PartialEq for RejectedValue {
    fn eq(&self, other: &RejectedValue) -> bool {
        match (self, other) {
            (RejectedValue::Number(a), RejectedValue::Number(b)) => a == b || a.is_nan() && b.is_nan(),
            (RejectedValue::Text(a), RejectedValue::Text(b)) => a == b,
            _ => false,
        }
    }
}

impl RejectionReason {
    /// Returns a reason that is about a number.
    #[must_use]
    pub fn of_number(code: RejectionCode, subject: RejectionSubject, value: f64) -> RejectionReason {
        RejectionReason { code, subject, value: Some(RejectedValue::Number(value)) }
    }

    /// Returns the sentence for rejections of several values for this reason.
    #[must_use]
    pub fn of_several(&self) -> String {
        self.sentence(true)
    }

    /// Returns the sentence for one value, or for `several`.
    fn sentence(&self, several: bool) -> String {
        use RejectionCode::{NegativeWeight, NonpositiveResponse, NonpositiveSigma, NotANumber, Null};
        let number = match self.value {
            Some(RejectedValue::Number(x)) if !several => x.to_string(),
            _ => "…".to_owned(),
        };
        // The end of a sentence about a value that is not finite; `place` is empty or ` here`.
        let nonfinite = |place: &str| match self.value {
            Some(RejectedValue::Number(x)) if !several => {
                format!("{}{place}, not a finite number", spelled(x))
            }
            _ => format!("not a finite number{place}"),
        };
        match (&self.subject, self.code) {
            (RejectionSubject::Column(name), Null) => format!("`{name}` is null"),
            (RejectionSubject::Column(name), NotANumber) => match &self.value {
                Some(RejectedValue::Text(text)) if several => {
                    format!("`{name}` is a text that is not a number, such as {}", quoted(text))
                }
                Some(RejectedValue::Text(text)) => {
                    format!("`{name}` is the text {}, which is not a number", quoted(text))
                }
                _ => format!("`{name}` is a text that is not a number"),
            },
            (RejectionSubject::Column(name), NegativeWeight) => {
                format!("the weight `{name}` is negative ({number})")
            }
            (RejectionSubject::Column(name), NonpositiveSigma) => {
                format!("the sigma `{name}` is not positive ({number})")
            }
            (RejectionSubject::Expression(expr), NonpositiveResponse) => {
                format!("`{expr}` is {number}, but the residual space `log` needs a positive value")
            }
            (RejectionSubject::Column(name), _) => format!("`{name}` is {}", nonfinite("")),
            (RejectionSubject::Expression(expr), _) => format!("`{expr}` is {}", nonfinite(" here")),
            (RejectionSubject::Operand { law, operation, operand }, _) => {
                let operand = operand
                    .as_ref()
                    .map_or_else(|| "a term of the formula".to_owned(), |operand| format!("`{operand}`"));
                format!("`{law}` {operation} {operand}, which is {number}")
            }
            (RejectionSubject::Law(law), _) => format!("`{law}` has no finite value here"),
            (RejectionSubject::Observations { required }, _) => {
                let usable = match self.value {
                    Some(RejectedValue::Number(1.0)) if !several => counted(1u8, "usable observation"),
                    _ => format!("{number} usable observations"),
                };
                format!("the sweep has {usable}, fewer than the required {required} (min_points)")
            }
        }
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(false))
    }
}

/// Returns the words for a number that is not finite.
fn spelled(x: f64) -> &'static str {
    if x.is_nan() {
        "NaN"
    } else if x > 0.0 {
        "infinite"
    } else {
        "minus infinity"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_text_is_quoted_escaped_and_cut() {
        let reason = |text: &str| RejectionReason {
            code: RejectionCode::NotANumber,
            subject: RejectionSubject::Column("N".to_owned()),
            value: Some(RejectedValue::Text(text.to_owned())),
        };
        assert_eq!(reason("7B").to_string(), "`N` is the text \"7B\", which is not a number");
        assert_eq!(reason("").to_string(), "`N` is the text \"\", which is not a number");
        assert_eq!(
            reason("a\n\"\u{1b}[2J").to_string(),
            "`N` is the text \"a\\n\\\"\\u{1b}[2J\", which is not a number"
        );
        let long = reason(&"x".repeat(41)).to_string();
        assert_eq!(long, format!("`N` is the text \"{}…\", which is not a number", "x".repeat(40)));
        assert_eq!(reason("7B").of_several(), "`N` is a text that is not a number, such as \"7B\"");
    }

    #[test]
    fn sentences_state_the_value() {
        let column = |name: &str| RejectionSubject::Column(name.to_owned());
        let too_few = |n: f64| {
            RejectionReason::of_number(
                RejectionCode::TooFew,
                RejectionSubject::Observations { required: 3 },
                n,
            )
            .to_string()
        };
        assert_eq!(
            RejectionReason::of_number(RejectionCode::NotFinite, column("x"), f64::NAN).to_string(),
            "`x` is NaN, not a finite number"
        );
        assert_eq!(
            RejectionReason::of_number(RejectionCode::NegativeWeight, column("w"), -1e-3).to_string(),
            "the weight `w` is negative (-0.001)"
        );
        assert_eq!(
            too_few(1.0),
            "the sweep has 1 usable observation, fewer than the required 3 (min_points)"
        );
        assert_eq!(
            too_few(0.0),
            "the sweep has 0 usable observations, fewer than the required 3 (min_points)"
        );
    }
}
