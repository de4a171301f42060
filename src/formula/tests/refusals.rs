//! Texts that are refused: the place and the message of the error.

use super::super::*;

/// Checks an error against the text with the place marked by `«…»`, and a part of the message.
fn assert_refused(error: &FormulaError, marked: &str, part: &str) {
    let (start, end) = (error.span.start, error.span.end);
    let source = &error.source;
    let shown = format!("{}«{}»{}", &source[..start], &source[start..end], &source[end..]);
    assert_eq!(shown, marked, "{}", error.message);
    assert!(error.message.contains(part), "{marked}: {}", error.message);
}

/// Returns the text without the marks.
fn unmarked(marked: &str) -> String {
    marked.replace(['«', '»'], "")
}

#[test]
fn errors_in_laws_have_place_and_reason() {
    for (marked, part) in [
        ("loss ~ E + A/N^«^»alpha", "expected a number, a name or `(`"),
        ("«»", "the law is empty"),
        ("«   »", "the law is empty"),
        ("E + A/N«»", "expected `~`"),
        ("loss «=» E + A/N", "expected `~`"),
        ("«~» a", "expected a number"),
        ("y ~«»", "nothing follows"),
        ("y ~ a «~» b", "only one `~`"),
        ("y ~ «(»a + b", "never closed"),
        ("y ~ «(»a + b where a > 0", "never closed"),
        ("y ~ a + b«)»", "no matching `(`"),
        ("y ~ 2 «a»", "a product is written with `*`"),
        ("y ~ «lgo»(a)", "did you mean `log`"),
        ("y ~ a where«»", "expected a parameter's name"),
        ("y ~ «log(a, b)»", "`log` takes 1 argument, but 2 were given"),
        ("y ~ «max(a)»", "`max` takes 2 or more arguments, but 1 was given"),
        ("y ~ «exp()»", "`exp` takes 1 argument, but 0 were given"),
        ("y ~ max(a,«)»", "expected a number"),
        ("y ~ «slove»(t, 0, 1, t - a)", "did you mean `solve`"),
        ("y ~ «solve()»", "`solve(unknown, low, high, equation)`, but 0 arguments were given"),
        ("y ~ a + «solve(t, 0, t - a)»", "but 3 arguments were given"),
        ("y ~ solve«(»t, 0, 1, t - a", "never closed"),
        ("y ~ solve«(»", "never closed"),
        ("y ~ solve(«2», 0, 1, t - a)", "expected the name of an unknown"),
        ("y ~ solve(«t + 1», 0, 1, t - a)", "expected the name of an unknown"),
        ("y ~ solve(«pi», 0, 1, pi - a)", "constant"),
        ("y ~ solve(«t», 0, 1, t - a) with t = 2*a", "`t` is defined by `with`"),
        ("y ~ solve(t, 0, «t» + 1, t - a)", "`t` is the unknown, so it has no value here"),
        ("y ~ solve(t, 0, 1, «u - a»)", "does not mention its unknown `t`"),
        ("y ~ solve(t, 0, 1, t - «solve(u, 0, 1, u - a)»)", "may not contain another `solve`"),
        ("y ~ solve(t, 0, 1, t - u) with u = «solve(w, 0, 1, w - a)»", "may not contain another `solve`"),
        ("y ~ a*«t» + solve(t, 0, 1, t - a)", "`t` is the unknown of `solve`, so it has no value outside"),
        ("y ~ solve(y, 0, 1, y - a*x) where «y» > 0", "so it has no domain"),
        (
            "y ~ solve(t, 0, 1, t - a) where a in [0, «solve(u, 0, 1, u - 2)»]",
            "the edges of a domain are numbers",
        ),
        ("y ~ a + «'x'»", "only in conditions"),
        ("y ~ a «>» b", "only in a condition"),
        ("y ~ «1e999»", "too large"),
        ("y ~ «+»a", "expected a number"),
        ("y ~ a where «b» > 0", "not in the law"),
        ("y ~ alpha where «alhpa» > 0", "did you mean `alpha`"),
        ("y/s ~ a * s where «s» > 0", "left side"),
        (
            "y ~ a where a in «[2, 1]»",
            "the domain of `a` is empty: its lower bound 2.0 is above its upper bound 1.0",
        ),
        ("y ~ a where a in [«0/0», 1]", "NaN"),
        ("y ~ a where a in [«b», 1]", "not a constant"),
        ("y ~ a where a in «[inf, inf]»", "no finite number"),
        ("y ~ a where a in «(»0, 1)", "expected `[`"),
        ("y ~ a where a = «inf»", "finite"),
        ("y ~ a where a «!=» 0", "a domain is written"),
        ("y ~ a where «0» < a", "expected a parameter's name"),
        ("y ~ a where a > 0 «a» < 1", "expected `,`"),
        ("y ~ a where a > 0,«»", "expected a parameter's name"),
        ("y ~ a where a > 1, «a < 0»", "the domain of `a` is empty"),
        ("y ~ a where a = 1, «a = 1»", "has a domain already"),
        ("y ~ a where a in [0, 1], «a > 0»", "has a domain already"),
        ("y ~ a where «\"a\"» > 0", "a name in double quotes is a column"),
        ("y ~ a where «pi» > 0", "constant"),
        ("y ~ b with b = 1 where «b» > 0", "defined by `with`"),
        ("y ~ b with b = 1, «b» = 2", "defined twice"),
        ("y ~ b with b = «b» + 1", "its own definition"),
        ("y ~ b with b = «c», c = 2", "before its definition"),
        ("y ~ b with b «2»", "expected `=`"),
        ("y ~ b with «»", "expected a name to define"),
        ("y ~ b with b = 2 «with» c = 1", "expected an operator"),
        ("y ~ b where b > 0 «with» c = 1", "comes before"),
    ] {
        let text = unmarked(marked);
        let error = match parse_formula(&text) {
            Ok(law) => panic!("{text} parses as {law:?}"),
            Err(error) => error,
        };
        assert_refused(&error, marked, part);
    }
}

#[test]
fn errors_in_conditions_have_place_and_reason() {
    for (marked, part) in [
        ("a < b «<» c", "do not chain"),
        ("a = «null»", "is null"),
        ("a in (1, «null»)", "is null"),
        ("a is «1»", "expected `null`"),
        ("a in «5»", "expected `(`"),
        ("a in («)»", "expected a number, a text"),
        ("a in «(»1", "never closed"),
        ("a «not» b", "expected an operator"),
        ("a and«»", "nothing follows"),
        ("a «~» b", "only in a law"),
        ("a = «'»x", "never closed"),
    ] {
        let error = match parse_condition(&unmarked(marked)) {
            Ok(expr) => panic!("{marked} parses as {expr:?}"),
            Err(error) => error,
        };
        assert_refused(&error, marked, part);
    }
}

#[test]
fn a_report_shows_line_caret_and_reason() {
    let error = parse_formula("loss ~ E + A/N^^alpha").expect_err("refused");
    let expected = "  |
1 | loss ~ E + A/N^^alpha
  |                ^ expected a number, a name or `(`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn only_the_line_of_the_error_is_shown() {
    let error = parse_formula("loss ~ E +\n  A/M^(alpha\nwhere E > 0").expect_err("refused");
    let expected = "  |
2 |   A/M^(alpha
  |       ^ this `(` is never closed";
    assert_eq!(error.to_string(), expected);
    let long = format!("y ~ {}+ )", "abc + ".repeat(100));
    let shown = parse_formula(&long).expect_err("refused").to_string();
    assert!(shown.lines().all(|line| line.chars().count() < 250), "{shown}");
}
