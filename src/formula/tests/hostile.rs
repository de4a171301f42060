//! Texts that would exhaust the stack or the memory if sizes were not limited.

use super::super::*;
use super::without_spans;

/// Parses a text and uses the tree in every way, in a thread with a small stack. Returns the error's message.
fn process_on_small_stack(text: String, parse: fn(&str) -> Result<Expr, FormulaError>) -> Result<(), String> {
    struct Nothing;
    impl Columns for Nothing {
        fn rows(&self) -> usize {
            1
        }
        fn column(&self, _: &str) -> Option<&Column> {
            None
        }
        fn names(&self) -> Vec<String> {
            Vec::new()
        }
    }
    let work = move || {
        let expr = parse(&text).map_err(|error| error.message)?;
        let copy = expr.clone();
        assert_eq!(copy, expr);
        let known = ["a".to_owned()];
        let number = |_: &str| Some(Type::Number);
        check(&expr, &number, &known).map_err(|error| error.message)?;
        if names(&expr).is_empty() {
            evaluate(&expr, &Nothing).map_err(|error| error.message)?;
        }
        assert_eq!(parse(&expr.to_string()).map(without_spans).as_ref(), Ok(&without_spans(copy)));
        assert!(!format!("{expr:?}").is_empty());
        Ok(())
    };
    // Frames of unoptimised code are several times larger.
    let stack = if cfg!(debug_assertions) { 6 } else { 1 } << 20;
    let thread = std::thread::Builder::new().stack_size(stack).spawn(work);
    thread.expect("a thread").join().expect("no panic")
}

#[test]
fn hostile_texts_do_not_overflow_a_small_stack() {
    let deep = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(process_on_small_stack(deep(MAX_NESTING), parse_condition), Ok(()));
    assert_eq!(process_on_small_stack(["1"; MAX_HEIGHT].join("+"), parse_expression), Ok(()));
    assert_eq!(process_on_small_stack(["1"; MAX_NESTING].join("^"), parse_expression), Ok(()));
    let nots = format!("{}true", "not ".repeat(MAX_NESTING));
    assert_eq!(process_on_small_stack(nots, parse_condition), Ok(()));
    let ors = ["1=1"; MAX_HEIGHT - 2].join(" or ");
    assert_eq!(process_on_small_stack(ors, parse_condition), Ok(()));
    let calls = format!("{}1{}", "max(1,1+1*".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
    assert_eq!(process_on_small_stack(calls, parse_condition), Ok(()));
    // Every level of precedence in each parenthesis takes the parser's deepest recursion.
    for opening in ["1=1 or 1=1 and 1=1+1*(", "1=1 or 1=1 and 1=1+1*max(1,", "1=1 or 1=1 and 1 in (1,"] {
        let levels = format!("{}1{}", opening.repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
        assert!(process_on_small_stack(levels, parse_condition).is_err_and(|m| m.contains("needs")));
    }
    let levels = "1=1 or 1=1 and not 1=1+1*-1^(".repeat(MAX_NESTING / 4);
    let levels = format!("{levels}1{}", ")".repeat(MAX_NESTING / 4));
    assert!(process_on_small_stack(levels, parse_condition).is_err_and(|m| m.contains("needs")));
    let list = format!("1 in ({}1)", "1,".repeat(5_000));
    assert_eq!(process_on_small_stack(list, parse_condition), Ok(()));

    for (text, part) in [
        (["a"; 5_000].join("+"), "more than 1000 terms"),
        (["a"; 5_000].join(" = 1 or "), "bytes"),
        (["a"; 1_500].join("=1 or "), "more than 1000 terms"),
        (["a"; 5_000].join("^"), "nested more than"),
        (deep(8_000), "nested more than"),
        ("-".repeat(16_000) + "1", "nested more than"),
        ("not ".repeat(4_000) + "a", "nested more than"),
        ("log(".repeat(4_000), "nested more than"),
        ("a in (".repeat(2_700), "nested more than"),
        ("a".repeat(20_000), "bytes"),
    ] {
        let refused = process_on_small_stack(text, parse_condition).expect_err("refused");
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn definitions_cannot_grow_exponentially() {
    let mut text = String::from("y ~ a30 with a0 = x");
    for k in 1..=30 {
        text += &format!(", a{k} = a{} + a{}", k - 1, k - 1);
    }
    let error = parse_formula(&text).expect_err("refused");
    assert!(error.message.contains("more than"), "{}", error.message);
    let mut text = String::from("y ~ a300 with a0 = x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x+x");
    for k in 1..=1000 {
        text += &format!(", a{k}=a{}", k - 1);
    }
    let error = parse_formula(&text).expect_err("refused");
    assert!(error.message.contains("more than"), "{}", error.message);
    let wide = format!("y ~ max({}u) with u = {}x", "u,".repeat(5_000), "x+".repeat(900));
    let error = parse_formula(&wide).expect_err("refused");
    assert!(error.message.contains("more than"), "{}", error.message);
}
