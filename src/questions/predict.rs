//! Predictions at given points: the law's value with its interval, and the interval of a new run.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;

use crate::compile::Scale;
use crate::error::Error;
use crate::formula::{Expr, ExprKind, list};
use crate::infer::{IntervalMethod, Quantity, QuantityEstimate, Source, estimate_quantity};
use crate::law::{Law, Residual};
use crate::output::KeptResult;

use super::points::Points;
use super::table::AnswerTable;
use super::{AskedFit, NO_UNCERTAINTY, Selection, ask, extrapolation, variables};

/// Returns the predictions of a result's fits at some points: one row per fit and point, in this order.
///
/// The interval `ci` is the law's, at the result's confidence. The interval `pi` is that of a new run: the law's and the
/// residuals' spread combined by MOVER (Zou & Donner 2008, Statistics in Medicine 27, 1693), on the scale of the residuals.
///
/// # Errors
/// If no law has a variable that the points give, or the result cannot be read.
pub fn predict(result: &KeptResult, points: &Points, selection: &Selection) -> Result<RecordBatch, Error> {
    check_points(&result.laws, points)?;
    let variables = variables(&result.laws);
    let answers = ask(result, selection, |number, asked| {
        let mut answers = AnswerTable::default();
        for point in (0..points.len()).filter(|&point| joins(result, points, number, point)) {
            answer(&mut answers, &variables, points, point, asked);
        }
        answers
    })?;
    answers.batch(result)
}

/// Checks that some laws can be predicted at points.
///
/// # Errors
/// If a point gives what is no variable of any law, or no law has all of its variables.
pub fn check_points(laws: &[Law], points: &Points) -> Result<(), Error> {
    let variables = variables(laws);
    let refuse = |subject: String, reason: String| Err(Error::Question { subject, reason });
    if let Some(unknown) = points.typed.iter().find(|name| !variables.contains(name)) {
        let reason = format!("no law has this variable; the variables are {}", list(&variables));
        return refuse(format!("the point's `{unknown}`"), reason);
    }
    let missing = |law: &Law| law.variables.iter().find(|name| !points.names.contains(name)).cloned();
    match laws.iter().map(missing).collect::<Option<Vec<String>>>() {
        Some(missing) if !missing.is_empty() => {
            refuse("the points".to_string(), format!("they give no value of `{}`", missing[0]))
        }
        _ => Ok(()),
    }
}

/// Returns whether a point is meant for the sweep of a fit.
fn joins(result: &KeptResult, points: &Points, fit: usize, point: usize) -> bool {
    points.keys.iter().all(|(key, texts)| {
        array_value_to_string(result.table.column(*key), fit).is_ok_and(|text| text == texts[point])
    })
}

/// Appends the prediction of one fit at one point.
fn answer(answers: &mut AnswerTable, variables: &[&String], points: &Points, point: usize, asked: AskedFit) {
    let AskedFit { law, fit, confidence, .. } = asked;
    let given = |name: &String| {
        let column = points.names.iter().position(|n| n == name)?;
        Some(points.columns[column][point]).filter(|x| x.is_finite())
    };
    answers.text("law", &law.name);
    for name in variables {
        let value = if law.variables.contains(name) { given(name) } else { None };
        answers.number(name, value.unwrap_or(f64::NAN));
    }
    let values: Option<Vec<f64>> = law.variables.iter().map(given).collect();
    let missing = law.variables.iter().find(|name| given(name).is_none());
    let mut message =
        missing.map_or_else(String::new, |name| format!("the point gives no value of `{name}`"));
    if !fit.is_trustworthy() {
        message = format!("the fit is `{}`", fit.status);
    }
    let mut found = QuantityEstimate { estimate: f64::NAN, std_error: None, interval: None, method: None };
    let mut new_run = None;
    let mut factor = f64::NAN;
    if let Some(values) = values.filter(|_| message.is_empty()) {
        let quantity = prediction_at(law, &values);
        found = estimate_quantity(&quantity, law, &fit.natural, asked.source, confidence);
        factor =
            values.iter().zip(&fit.variables).map(|(x, range)| extrapolation(*x, *range)).fold(1.0, f64::max);
        let scale = Scale::from(law.residual);
        new_run = found
            .interval
            .and_then(|interval| new_run_interval(scale, found.estimate, interval, fit.new_run_margin?));
        if found.estimate.is_nan() {
            message = "the law has no value here".to_string();
        } else if found.interval.is_none() && matches!(asked.source, Source::Nowhere) {
            message = NO_UNCERTAINTY.to_string();
        } else if found.interval.is_none() {
            message = "the prediction depends on no parameter that has a standard error".to_string();
        }
    }
    answers.number("prediction", found.estimate);
    answers.interval("ci_low", "ci_high", found.interval);
    answers.interval("pi_low", "pi_high", new_run);
    answers.number("confidence", confidence);
    answers.text("ci_method", found.method.map_or("", IntervalMethod::name));
    answers.number("extrapolation", factor);
    answers.text("message", &message);
}

/// Returns the law's prediction at values of its variables, as an expression of its parameters.
pub(crate) fn prediction_expr(law: &Law, values: &[f64]) -> Expr {
    let mut expr = law.prediction.clone();
    substitute(&mut expr, &|name| {
        law.variables.iter().position(|variable| variable == name).map(|i| values[i])
    });
    expr
}

/// Returns the law's prediction at values of its variables, as a quantity of its parameters.
pub(super) fn prediction_at(law: &Law, values: &[f64]) -> Quantity {
    let mut quantity = Quantity::new("prediction", prediction_expr(law, values), law);
    if law.residual == Residual::Log {
        quantity.scale = Scale::Log;
    }
    quantity
}

/// Replaces names by their values.
pub(crate) fn substitute(expr: &mut Expr, value: &dyn Fn(&str) -> Option<f64>) {
    if let ExprKind::Name(name) = &expr.kind {
        if let Some(number) = value(name) {
            expr.kind = ExprKind::Number(number);
        }
        return;
    }
    if let ExprKind::Solve { unknown, low, high, equation } = &mut expr.kind {
        substitute(low, value);
        substitute(high, value);
        let hidden = unknown.clone();
        substitute(equation, &|name| if name == hidden { None } else { value(name) });
        return;
    }
    expr.children_mut().into_iter().for_each(|child| substitute(child, value));
}

/// Returns the interval of a new run, from the law's and the spread of residuals on their scale.
pub(crate) fn new_run_interval(
    scale: Scale,
    estimate: f64,
    (low, high): (f64, f64),
    margin: f64,
) -> Option<(f64, f64)> {
    let centre = scale.transform(estimate);
    let side = |end: f64| libm::hypot(scale.transform(end) - centre, margin);
    let ends = (scale.natural(centre - side(low)), scale.natural(centre + side(high)));
    (ends.0.is_finite() && ends.1.is_finite()).then_some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::catalogue_law;

    /// √(3² + 4²) = 5 on each side, on the scale of the residuals.
    #[test]
    fn spreads_are_combined_on_the_scale_of_the_residuals() {
        assert_eq!(new_run_interval(Scale::Linear, 10.0, (7.0, 13.0), 4.0), Some((5.0, 15.0)));
        let (low, high) = new_run_interval(Scale::Log, 1.0, ((-3.0f64).exp(), 3f64.exp()), 4.0).unwrap();
        assert!((low.ln() + 5.0).abs() < 1e-12 && (high.ln() - 5.0).abs() < 1e-12);
    }

    /// The law's own values at the published parameters of Hoffmann et al. (2022): 1.69 + 406.4/N^0.34 + 410.7/D^0.28.
    #[test]
    fn predictions_are_quantities() {
        let law = catalogue_law("chinchilla");
        let quantity = prediction_at(&law, &[70e9, 1.4e12]);
        let natural: Vec<f64> = (law.parameters.iter())
            .map(|p| match p.name.as_str() {
                "E" => 1.69,
                "A" => 406.4,
                "alpha" => 0.34,
                "B" => 410.7,
                _ => 0.28,
            })
            .collect();
        let expected = 1.69 + 406.4 / 70e9f64.powf(0.34) + 410.7 / 1.4e12f64.powf(0.28);
        let names = (&law.variables[0], &law.variables[1]);
        assert_eq!(names, (&"N".to_string(), &"D".to_string()));
        assert!((quantity.values(&law, &natural)[0] / expected - 1.0).abs() < 1e-14);
    }
}
