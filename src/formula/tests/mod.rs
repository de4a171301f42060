//! Tests of the language as a whole: laws and their parts.

mod hostile;
mod refusals;
mod round_trip;

use super::*;

const INF: f64 = f64::INFINITY;

fn law(text: &str) -> Formula {
    parse_formula(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn domain(text: &str) -> Domain {
    law(&format!("y ~ p * x where {text}")).domains[0].1
}

#[test]
fn a_law_is_parsed_into_its_parts() {
    let text =
        "loss ~ E + A / N^alpha + B / D^beta  where  E > 0, A > 0, B > 0, alpha in [0, 2], beta in [0, 2]";
    let law = law(text);
    assert_eq!(law.source, text);
    assert_eq!(law.response.to_string(), "loss");
    assert_eq!(law.prediction.to_string(), "E + A / N^alpha + B / D^beta");
    assert_eq!(names(&law.prediction), ["E", "A", "N", "alpha", "B", "D", "beta"]);
    let written: Vec<_> = law.domains.iter().map(|d| &text[d.2.clone()]).collect();
    assert_eq!(written, ["E > 0", "A > 0", "B > 0", "alpha in [0, 2]", "beta in [0, 2]"]);
    assert_eq!(law.domains[3].1, Domain::Range { low: 0.0, high: 2.0 });
}

#[test]
fn domains_of_every_form_are_parsed() {
    for (text, low, high) in [
        ("p > 0", 0.0, INF),
        ("p >= 0", 0.0, INF),
        ("p < 1", -INF, 1.0),
        ("p <= -1e3/2", -INF, -500.0),
        ("p in [-inf, 2*pi]", -INF, 2.0 * std::f64::consts::PI),
        ("p IN [-1, log(exp(2))]", -1.0, 2.0),
        ("p > 0, p < 1", 0.0, 1.0),
        ("p > -inf", -INF, INF),
    ] {
        assert_eq!(domain(text), Domain::Range { low, high }, "{text}");
    }
    assert_eq!(domain("p = 0.34"), Domain::Fixed(0.34));
    assert_eq!(domain("p == -1/4"), Domain::Fixed(-0.25));
    assert_eq!(domain("p in [2, 2]"), Domain::Fixed(2.0));
}

#[test]
fn definitions_are_substituted() {
    let text = "log(y) ~ a * u + v with u = log(N) - 1, v = u^2 / b where a > 0";
    let law = law(text);
    assert_eq!(law.prediction.to_string(), "a * (log(N) - 1) + (log(N) - 1)^2 / b");
    // The place of the whole is on the right side; the place of a definition's expression is in the definition.
    assert_eq!(&text[law.prediction.span.clone()], "a * u + v");
    let ExprKind::Binary(_, left, _) = &law.prediction.kind else {
        panic!("not a sum");
    };
    let ExprKind::Binary(_, _, u) = &left.kind else {
        panic!("not a product");
    };
    assert_eq!(&text[u.span.clone()], "log(N) - 1");
    // A quoted name is a column, whatever is defined.
    let law = parse_formula("y ~ u + \"u\" with u = 1").expect("parses");
    assert_eq!(law.prediction.to_string(), "1 + u");
}

/// Returns the tree with all places empty.
fn without_spans(mut expr: Expr) -> Expr {
    fn strip(expr: &mut Expr) {
        expr.span = 0..0;
        match &mut expr.kind {
            ExprKind::Number(_)
            | ExprKind::Decimal(_)
            | ExprKind::Text(_)
            | ExprKind::Bool(_)
            | ExprKind::Name(_) => {}
            ExprKind::Negate(a)
            | ExprKind::Not(a)
            | ExprKind::IsNull { operand: a, .. }
            | ExprKind::Like { operand: a, .. } => strip(a),
            ExprKind::Binary(_, a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::And(a, b)
            | ExprKind::Or(a, b) => {
                strip(a);
                strip(b);
            }
            ExprKind::Call(_, list) => list.iter_mut().for_each(strip),
            ExprKind::Solve { low, high, equation, .. } => {
                [low, high, equation].into_iter().for_each(|e| strip(e));
            }
            ExprKind::In { operand, list, .. } => {
                strip(operand);
                list.iter_mut().for_each(strip);
            }
        }
    }
    strip(&mut expr);
    expr
}
