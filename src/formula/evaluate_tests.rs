use std::collections::BTreeMap;

use super::super::{parse_condition, parse_expression};
use super::*;

/// Columns of any type.
struct TestTable {
    rows: usize,
    columns: BTreeMap<&'static str, Column>,
}

impl Columns for TestTable {
    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    fn names(&self) -> Vec<String> {
        self.columns.keys().map(|name| (*name).to_owned()).collect()
    }
}

fn table<const N: usize>(rows: usize, columns: [(&'static str, Column); N]) -> TestTable {
    TestTable { rows, columns: columns.into() }
}

fn numbers<const N: usize>(values: [Option<f64>; N]) -> Column {
    Column::Number {
        values: values.iter().map(|x| x.unwrap_or(7.0)).collect(),
        valid: Some(values.iter().map(Option::is_some).collect()),
    }
}

fn texts<const N: usize>(values: [Option<&str>; N]) -> Column {
    Column::Text {
        values: values.iter().map(|x| x.unwrap_or("?").to_owned()).collect(),
        valid: Some(values.iter().map(Option::is_some).collect()),
    }
}

fn bools(values: &[Option<bool>]) -> Column {
    Column::Bool {
        values: values.iter().map(|x| x.unwrap_or(true)).collect(),
        valid: Some(values.iter().map(Option::is_some).collect()),
    }
}

fn truths(text: &str, table: &TestTable) -> Vec<Option<bool>> {
    let expr = parse_condition(text).expect(text);
    match evaluate(&expr, table).expect(text) {
        Column::Bool { values, valid } => {
            (0..table.rows).map(|row| valid.as_ref().is_none_or(|v| v[row]).then_some(values[row])).collect()
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn value(text: &str) -> f64 {
    let expr = parse_expression(text).expect(text);
    match evaluate(&expr, &table(1, [])).expect(text) {
        Column::Number { values, valid: None } => values[0],
        other => panic!("{text}: {other:?}"),
    }
}

/// Python's values of the same expressions, with `**` for `^`.
#[test]
fn precedence_is_that_of_python() {
    for (text, python) in [
        ("-2^2", -4.0),
        ("2^-1", 0.5),
        ("2^-3^2", 0.001_953_125),
        ("2^3^2", 512.0),
        ("(2^3)^2", 64.0),
        ("2*3^2", 18.0),
        ("-2*3", -6.0),
        ("2*-3^2", -18.0),
        ("2^-1*4", 2.0),
        ("1-2-3", -4.0),
        ("8/4/2", 1.0),
        ("8/4*2", 4.0),
        ("1+2*3-4/2", 5.0),
        ("--2", 2.0),
        ("2--2", 4.0),
        ("-2^-2", -0.25),
        ("0.1+0.2", 0.300_000_000_000_000_04),
        ("1e16+1-1e16", 0.0),
        ("max(1, 2, 3) - min(3, 2) * 2", -1.0),
        ("log(exp(1)) + sqrt(16) + abs(-3)", 8.0),
        ("1.7^0.3", 1.172_558_924_272_542),
    ] {
        assert_eq!(value(text), python, "{text}");
    }
    assert_eq!(value("tan(pi/4)"), 0.999_999_999_999_999_9);
    assert!(value("log(-1)").is_nan());
    assert_eq!(value("1/0"), f64::INFINITY);
}

#[test]
fn arithmetic_with_null_is_null() {
    let t = table(
        3,
        [
            ("x", numbers([Some(1.0), None, Some(3.0)])),
            ("y", numbers([None, Some(2.0), Some(4.0)])),
            ("z", Column::Number { values: vec![1.0, 2.0, 3.0], valid: None }),
        ],
    );
    let run = |text: &str| {
        let expr = parse_expression(text).expect(text);
        evaluate(&expr, &t).expect(text)
    };
    for text in ["x + y", "y - x", "max(x, 0, y)", "x ^ y * z"] {
        let column = run(text);
        assert_eq!(column.valid(), Some(&[false, false, true][..]), "{text}");
    }
    assert_eq!(run("-exp(x)").valid(), Some(&[true, false, true][..]));
    let Column::Number { values, valid: None } = run("1 - z * z") else {
        panic!("not a column without nulls");
    };
    assert_eq!(values, [0.0, -3.0, -8.0]);
}

/// The truth tables of SQL (ISO/IEC 9075-2, boolean value expressions).
#[test]
fn logic_is_three_valued() {
    let (t, f, n) = (Some(true), Some(false), None);
    let data =
        table(9, [("a", bools(&[t, t, t, f, f, f, n, n, n])), ("b", bools(&[t, f, n, t, f, n, t, f, n]))]);
    assert_eq!(truths("a and b", &data), [t, f, n, f, f, f, n, f, n]);
    assert_eq!(truths("a or b", &data), [t, t, t, t, f, n, t, n, n]);
    assert_eq!(truths("not a", &data), [f, f, f, t, t, t, n, n, n]);
    assert_eq!(truths("a = b", &data), [t, f, n, f, t, n, n, n, n]);
    assert_eq!(truths("a != true", &data), [f, f, f, t, t, t, n, n, n]);
    assert_eq!(truths("a is null", &data), [f, f, f, f, f, f, t, t, t]);
    assert_eq!(truths("(a and b) is not null", &data), [t, t, f, t, t, t, f, t, f]);
    assert_eq!(truths("true or b", &data), [t; 9]);
    assert_eq!(truths("a in (b, false)", &data), [t, f, n, t, t, t, n, n, n]);
}

#[test]
fn comparisons_with_null_are_null_and_nan_compares_as_in_ieee_754() {
    let (t, f, n) = (Some(true), Some(false), None);
    let data = table(4, [("x", numbers([Some(1.0), Some(2.0), None, Some(f64::NAN)]))]);
    assert_eq!(truths("x < 2", &data), [t, f, n, f]);
    assert_eq!(truths("x >= 2", &data), [f, t, n, f]);
    assert_eq!(truths("x = x", &data), [t, t, n, f]);
    assert_eq!(truths("x <> 1", &data), [f, t, n, t]);
    assert_eq!(truths("x in (1, 3)", &data), [t, f, n, f]);
    assert_eq!(truths("x not in (1, 3)", &data), [f, t, n, t]);
    assert_eq!(truths("x is null", &data), [f, f, t, f]);
    assert_eq!(truths("1 = 1", &data), [t; 4]);
}

/// SQL: `1 in (1, null)` is true, `2 in (1, null)` and `2 not in (1, null)` are null.
#[test]
fn in_is_null_without_a_match_if_the_list_contains_null() {
    let (t, f, n) = (Some(true), Some(false), None);
    let data = table(3, [("x", numbers([Some(1.0), Some(2.0), None])), ("gap", numbers([None, None, None]))]);
    assert_eq!(truths("x in (1, gap)", &data), [t, n, n]);
    assert_eq!(truths("x not in (1, gap)", &data), [f, n, n]);
    assert_eq!(truths("x in (1, 2)", &data), [t, t, n]);
}

#[test]
fn texts_compare_by_code_point() {
    let (t, f, n) = (Some(true), Some(false), None);
    let data = table(4, [("s", texts([Some("Z"), Some("a"), Some("ä"), None]))]);
    assert_eq!(truths("s < 'a'", &data), [t, f, f, n]);
    assert_eq!(truths("s >= 'z'", &data), [f, f, t, n]);
    assert_eq!(truths("s in ('a', 'ä')", &data), [f, t, t, n]);
    assert_eq!(truths("not s = 'a'", &data), [t, f, t, n]);
}

#[test]
fn texts_and_empty_batches_can_be_results() {
    let data = table(2, [("s", texts([Some("a"), None]))]);
    let expr = parse_expression("s").expect("parses");
    assert_eq!(evaluate(&expr, &data), Ok(texts([Some("a"), None])));
    let empty = table(0, []);
    let expr = parse_expression("1 + 1").expect("parses");
    assert_eq!(evaluate(&expr, &empty).map(|c| c.len()), Ok(0));
}

#[test]
fn columns_of_the_wrong_type_name_or_length_are_refused() {
    let data = table(2, [("s", texts([Some("a"), None])), ("short", numbers([Some(1.0)]))]);
    let refused = |text: &str| {
        let expr = parse_condition(text).expect(text);
        evaluate(&expr, &data).expect_err(text).message
    };
    assert!(refused("'s' + 1 > 2").contains("`'s'` is text, but `+` needs numbers"));
    assert!(refused("shrot > 1").contains("did you mean `short`"));
    assert!(refused("short > 1").contains("does not have 2 rows"));
}

#[test]
fn equations_are_solved_row_by_row() {
    let columns = table(
        3,
        [("x", numbers([Some(2.0), None, Some(-9.0)])), ("t", numbers([Some(5.0), Some(5.0), Some(5.0)]))],
    );
    let solved = |text: &str| {
        let expr = parse_condition(text).expect(text);
        match evaluate(&expr, &columns).expect(text) {
            Column::Number { values, valid } => {
                let valid = valid.unwrap_or_else(|| vec![true; 3]);
                values.into_iter().zip(valid).map(|(v, valid)| valid.then_some(v)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    // In the equation the unknown hides the column `t`.
    let got = solved("t - solve(t, 0, 3, t^2 = x)");
    assert!((got[0].expect("a root") - (5.0 - std::f64::consts::SQRT_2)).abs() < 1e-15);
    assert_eq!(got[1], None);
    assert!(got[2].expect("not null").is_nan());
    let got = solved("solve(u, -inf, inf, u^3 - u*0 = 8)");
    assert_eq!(got, [Some(2.0); 3]);
    let expr = parse_condition("solve(u, 0, x, u - z) > 1").expect("parses");
    assert!(evaluate(&expr, &columns).expect_err("no such column").message.contains("no column `z`"));
}
