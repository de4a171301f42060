//! Large formulas: compiled in little time, or refused with a reason.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sweepfit::formula::parse_formula;
use sweepfit::internals::optimize::Models;
use sweepfit::law::{Law, Residual, Symmetries};

/// What a law may take on a busy machine. Alone, each takes less than two seconds.
const LIMIT: Duration = Duration::from_secs(10);

/// Parses and compiles a law for both residuals and finds its symmetries: the reason why it is refused, if it is.
fn compile(text: &str) -> Result<(), String> {
    let formula = parse_formula(text).map_err(|e| e.message)?;
    let columns = ["x", "y", "z"].map(String::from);
    let law = Law::from_formula(formula, &columns).map_err(|e| e.to_string())?;
    for residual in [Residual::Linear, Residual::Log] {
        let _ = Models::compile(law.clone(), residual);
    }
    let _ = Symmetries::of(&law);
    Ok(())
}

/// [`compile`] on a thread of its own; panics where it takes longer than [`LIMIT`].
fn within_limit(name: &str, text: String) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let start = Instant::now();
    thread::spawn(move || sender.send(compile(&text)));
    let result = receiver.recv_timeout(LIMIT);
    let took = start.elapsed();
    println!("{name}: {took:.2?} {:?}", result.as_ref().map(|r| r.as_ref().err()));
    result.unwrap_or_else(|e| panic!("{name}: {e} after {took:.2?}"))
}

/// `y ~ last with t0 = first, t1 = next(t0), …`, as many as a text holds.
fn chain(prediction: &str, first: &str, depth: usize, next: impl Fn(&str) -> String) -> String {
    let mut text = format!("y ~ {} with t0 = {first}", prediction.replace("LAST", &format!("t{depth}")));
    for k in 1..=depth {
        text += &format!(", t{k} = {}", next(&format!("t{}", k - 1)));
    }
    text
}

/// A subexpression that contains the one of this name.
type Next = fn(&str) -> String;

/// Sums, products, powers, extremes and exponentials of a subexpression that stands in each of them twice, in every
/// place where compilation looks into them: the prediction, exponents, logarithms, quotients.
fn shared() -> Vec<(String, String)> {
    let first = ["x*c", "x + c", "exp(c*x)", "exp(c*x) + exp(d*x)", "c*x^d + 1"];
    let domains = ["where b > 0", "where b > 0, c > 0", "where c > 0"];
    let next: [(&str, usize, Next); 9] = [
        ("square", 10, |t| format!("{t}*{t} + {t}")),
        ("sum", 13, |t| format!("{t} + {t}")),
        ("difference", 13, |t| format!("{t} - ({t} + 1)")),
        ("sixteenth power", 60, |t| format!("({t} + c)^16")),
        ("second power", 60, |t| format!("{t}^2")),
        ("least", 11, |t| format!("min({t}, {t} + 1)")),
        ("greatest", 13, |t| format!("max({t}, {t})")),
        ("logarithm", 10, |t| format!("log({t} + {t}*{t})")),
        ("quotient", 13, |t| format!("{t}/(1 + {t})")),
    ];
    let last = ["a*LAST + b", "a*exp(-b*LAST)", "a*LAST^b", "a/(exp(b*x) + exp(LAST))", "b*log(a*LAST)"];
    let mut all = Vec::new();
    for (name, depth, next) in next {
        for first in first {
            for last in last {
                for domain in domains {
                    let text = format!("{} {domain}", chain(last, first, depth, next));
                    all.push((format!("{name}: {last} of {first} {domain}"), text));
                }
            }
        }
    }
    all
}

#[test]
fn shared_subexpressions_take_little_time() {
    for (name, text) in shared() {
        let _ = within_limit(&name, text);
    }
}

#[test]
fn long_formulas_take_little_time() {
    let many = |n: usize, term: fn(usize) -> String, by: &str| (0..n).map(term).collect::<Vec<_>>().join(by);
    let term = |i: usize| format!("a{i}*x^b{i}");
    for (title, text) in [
        ("32 powers", format!("y ~ {}", many(32, term, " + "))),
        (
            "32 positive powers",
            format!("y ~ {} where {}", many(32, term, " + "), many(32, |i| format!("a{i} > 0"), ", ")),
        ),
        ("32 factors", format!("y ~ {}", many(32, |i| format!("(a{i} + x^b{i})"), "*"))),
        ("240 terms", format!("y ~ {}", many(240, |i| format!("a{}*x", i % 64), " + "))),
        ("240 powers", format!("y ~ {}", many(240, |i| format!("x^a{}", i % 64), " + "))),
        ("990 powers", format!("y ~ {}", many(990, |i| format!("a{}*x^{i}", i % 20), " + "))),
        ("990 exponentials", format!("y ~ log({})", many(990, |i| format!("exp({i}*a*x)"), " + "))),
        ("990 factors", format!("y ~ {}", many(990, |i| format!("exp(a{}*x)", i % 9), "*"))),
        (
            "the greatest of 4,000",
            format!("y ~ max({}) + a", many(4_000, |i| ["x", "b", "c*x"][i % 3].into(), ",")),
        ),
        ("the greatest of 2,000", format!("y ~ max({}) + a", many(2_000, |i| format!("a{}*x", i % 20), ","))),
    ] {
        within_limit(title, text).expect(title);
    }
}

#[test]
fn formulas_that_are_too_large_are_refused() {
    let many = |n: usize, term: fn(usize) -> String, by: &str| (0..n).map(term).collect::<Vec<_>>().join(by);
    for (title, text, reason) in [
        ("5,000 terms", format!("y ~ a + {}", many(5_000, |i| format!("x{i}"), "+")), "bytes"),
        ("4,000 terms", format!("y ~ a + {}", many(4_000, |_| "x".into(), "+")), "more than 1000 terms"),
        ("nested", format!("y ~ a + {}x{}", "(".repeat(8_000), ")".repeat(8_000)), "nested more than"),
        ("nested deeper", format!("y ~ a + {}x{}", "(".repeat(10_000), ")".repeat(10_000)), "bytes"),
        ("in definitions", chain("a*LAST", "x + c", 900, |t| format!("exp({t})")), "more than"),
        ("doubled", chain("a*LAST", "x + c", 60, |t| format!("{t} + {t}")), "more than 20000"),
        (
            "64 in 990 places",
            format!("y ~ {}", many(990, |i| format!("x^a{}", i % 64), " + ")),
            "too large to be fitted",
        ),
        (
            "the greatest",
            format!("y ~ max({})", many(2_000, |i| format!("a{}*x", i % 64), ",")),
            "too large to be fitted",
        ),
    ] {
        let refused = within_limit(title, text).expect_err(title);
        assert!(refused.contains(reason) && refused.len() < 1_000, "{title}: {refused}");
    }
}
