//! Printing a tree and parsing the text again, and parsing arbitrary texts.

use proptest::prelude::*;

use super::super::*;
use super::without_spans;

fn bare(kind: ExprKind) -> Expr {
    Expr::new(kind, 0..0)
}

fn leaf_name() -> impl Strategy<Value = Expr> {
    prop_oneof![
        "[a-zA-Z_][a-zA-Z0-9_]{0,4}",
        "\\PC{0,6}",
        proptest::sample::select(vec!["pi", "inf", "in", "Where", "log", "true", "a\"b", "é", ""])
            .prop_map(str::to_owned),
    ]
    .prop_map(|name| bare(ExprKind::Name(name)))
}

fn leaf_number() -> impl Strategy<Value = Expr> {
    prop_oneof![
        proptest::num::f64::POSITIVE | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        (0u32..1000).prop_map(f64::from),
        Just(std::f64::consts::PI),
    ]
    .prop_map(|x| bare(ExprKind::Number(x.abs().min(f64::MAX))))
}

fn arithmetic_over(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Expr> {
    use BinaryOp::{Add, Div, Mul, Pow, Sub};
    let op = proptest::sample::select(vec![Add, Sub, Mul, Div, Pow]);
    let function = proptest::sample::select(reference());
    prop_oneof![
        inner.clone().prop_map(|a| bare(ExprKind::Negate(Box::new(a)))),
        (op, inner.clone(), inner.clone()).prop_map(|(op, a, b)| bare(ExprKind::Binary(
            op,
            Box::new(a),
            Box::new(b)
        ))),
        (function, proptest::collection::vec(inner, 3)).prop_map(|(entry, mut list)| {
            if let Arity::Exactly(n) = entry.arity {
                list.truncate(n);
            }
            bare(ExprKind::Call(entry.function, list))
        }),
    ]
    .boxed()
}

fn arithmetic() -> impl Strategy<Value = Expr> {
    prop_oneof![leaf_name(), leaf_number()].prop_recursive(6, 48, 3, arithmetic_over)
}

/// Trees of every form, whatever their types: the grammar does not depend on types.
fn condition() -> impl Strategy<Value = Expr> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let leaf = prop_oneof![
        leaf_name(),
        leaf_number(),
        "\\PC{0,6}".prop_map(|text| bare(ExprKind::Text(text))),
        ((1_i128 << 54..1 << 100), 0_u8..38)
            .prop_map(|(x, scale)| { bare(ExprKind::Decimal(Decimal { unscaled: 20 * x + 1, scale })) }),
        any::<bool>().prop_map(|truth| bare(ExprKind::Bool(truth))),
    ];
    leaf.prop_recursive(6, 64, 3, |inner| {
        let op = proptest::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge]);
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        prop_oneof![
            arithmetic_over(inner.clone()),
            (op, pair.clone()).prop_map(|(op, (a, b))| bare(ExprKind::Compare(op, a, b))),
            pair.clone().prop_map(|(a, b)| bare(ExprKind::And(a, b))),
            pair.prop_map(|(a, b)| bare(ExprKind::Or(a, b))),
            inner.clone().prop_map(|a| bare(ExprKind::Not(Box::new(a)))),
            (inner.clone(), any::<bool>()).prop_map(|(a, negated)| {
                let operand = Box::new(a);
                bare(ExprKind::IsNull { operand, negated })
            }),
            (inner.clone(), "\\PC{0,6}", any::<bool>()).prop_map(|(a, pattern, negated)| {
                let operand = Box::new(a);
                bare(ExprKind::Like { operand, pattern, negated })
            }),
            (inner.clone(), proptest::collection::vec(inner, 1..3), any::<bool>()).prop_map(
                |(a, list, negated)| {
                    let operand = Box::new(a);
                    bare(ExprKind::In { operand, list, negated })
                }
            ),
        ]
    })
}

/// Parses a text by every grammar and shows the errors.
fn parse_every_way(text: &str) {
    for error in [parse_formula(text).err(), parse_expression(text).err(), parse_condition(text).err()]
        .into_iter()
        .flatten()
    {
        assert!(!error.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn printed_arithmetic_parses_to_the_same_tree(expr in arithmetic()) {
        let text = expr.to_string();
        prop_assert_eq!(parse_expression(&text).map(without_spans), Ok(expr.clone()), "{}", text);
        prop_assert_eq!(parse_condition(&text).map(without_spans), Ok(expr.clone()), "{}", text);
        let law = parse_formula(&format!("{text} ~ {text}")).expect("a law");
        prop_assert_eq!(without_spans(law.prediction), expr);
    }

    #[test]
    fn printed_conditions_parse_to_the_same_tree(expr in condition()) {
        let text = expr.to_string();
        prop_assert_eq!(parse_condition(&text).map(without_spans), Ok(expr), "{}", text);
    }

    #[test]
    fn no_text_causes_a_panic(text in "\\PC{0,40}") {
        parse_every_way(&text);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        parse_every_way(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_sequence_of_tokens_causes_a_panic(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "a", "b", "pi", "1", ".5", "1e3", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",", "~",
            "with", "where", "in", "=", "<", ">=", "!=", "log", "max", "and", "or", "not", "is",
            "null", "true", "'t'", "\"q\"", "inf", "\n", "\t", "é",
        ]),
        0..20,
    )) {
        parse_every_way(&words.join(" "));
        parse_every_way(&format!("y ~ a {}", words.join(" ")));
        parse_every_way(&format!("y ~ a where a {}", words.join(" ")));
    }
}
