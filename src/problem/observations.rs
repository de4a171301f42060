//! Which rows of a sweep a law can use, and why not the others.

use crate::formula::{Column, Expr, ExprKind, Table, evaluate};
use crate::law::{LN_ZERO, Law, Model, Recipe, Residual, Unary};
use crate::sweep::{Sweep, is_null};

use super::derive_column;

/// Which of a sweep's columns a law reads.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Names of the sweep's columns, in its order.
    pub names: Vec<String>,
    /// Indices of the columns the law reads: response's columns first, then its variables.
    pub used: Vec<usize>,
    /// The left side.
    pub response: Expr,
    pub weight: Option<usize>,
    pub sigma: Option<usize>,
}

/// The usable observations of one sweep for one law, in the law's canonical order.
#[derive(Clone, Debug)]
pub struct Observations {
    /// The left side's value, not transformed.
    pub response: Vec<f64>,
    pub weight: Vec<f64>,
    /// None where every σ is 1.
    pub sigma: Option<Vec<f64>>,
    pub cluster: Option<Vec<u32>>,
    /// Position of each observation in the sweep.
    pub rows: Vec<u32>,
    /// Values of the model's data expressions.
    sources: Vec<Vec<f64>>,
    /// Whether an observation differs from the one before it in what the law reads.
    distinct_from_last: Vec<bool>,
}

/// A row that a law cannot use.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Position in the sweep.
    pub row: u32,
    pub reason: String,
}

impl Observations {
    /// Sorts a sweep's rows into usable and rejected.
    pub fn bind(
        law: &Law,
        model: &Model,
        binding: &Binding,
        sweep: &Sweep,
    ) -> (Observations, Vec<Rejection>) {
        let mut rejections = Vec::new();
        let mut rows: Vec<u32> = Vec::with_capacity(sweep.len());
        for row in 0..sweep.len() {
            match unusable(binding, sweep, row) {
                Some(reason) => rejections.push(Rejection { row: row as u32, reason }),
                None => rows.push(row as u32),
            }
        }

        // Results must not depend on what else the job reads, so the order is by this law's columns alone.
        let key = |row: u32| {
            binding
                .used
                .iter()
                .chain(&binding.weight)
                .chain(&binding.sigma)
                .map(move |&c| sweep.columns[c][row as usize])
        };
        let by_key = |&a: &u32, &b: &u32| {
            key(a)
                .zip(key(b))
                .map(|(x, y)| x.total_cmp(&y))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        };
        if !rows.is_sorted_by(|a, b| by_key(a, b).is_le()) {
            rows.sort_by(by_key);
        }

        let used: Vec<&Expr> = std::iter::once(&binding.response).chain(&model.sources).collect();
        let mut values = evaluate_all(&used, binding, sweep, &rows);
        let mut keep = vec![true; rows.len()];
        // Of the model's columns those up to the last that may have no value.
        let n_columns =
            model.recipes.iter().rposition(|r| matches!(r, Recipe::Unary(..))).map_or(0, |k| k + 1);
        let (columns, _) = model_columns(&model.recipes[..n_columns], &values[1..], &vec![1.0; rows.len()]);
        for (i, &row) in rows.iter().enumerate() {
            if let Some(reason) = unusable_values(law, model, &used, &values, &columns, i) {
                rejections.push(Rejection { row, reason });
                keep[i] = false;
            }
        }
        if keep.contains(&false) {
            retain(&mut rows, &keep);
            values.iter_mut().for_each(|v| retain(v, &keep));
        }
        rejections.sort_by_key(|r| r.row);

        let gather = |column: usize| rows.iter().map(|&r| sweep.columns[column][r as usize]).collect();
        let sources = values.split_off(1);
        let observations = Observations {
            response: values.swap_remove(0),
            weight: binding.weight.map_or_else(|| vec![1.0; rows.len()], gather),
            sigma: binding.sigma.map(gather),
            cluster: sweep.cluster.map(|c| rows.iter().map(|&r| c[r as usize]).collect()),
            sources,
            distinct_from_last: distinct_from_last(binding, sweep, &rows),
            rows,
        };
        (observations, rejections)
    }

    /// Number of observations.
    pub fn len(&self) -> usize {
        self.response.len()
    }

    pub fn is_empty(&self) -> bool {
        self.response.is_empty()
    }

    /// Number of observations of positive weight that differ in what the law reads.
    pub fn n_distinct(&self) -> usize {
        // Equal observations stand side by side; a group counts once if any of it has weight.
        let mut count = 0;
        let mut counted = false;
        for (new, weight) in self.distinct_from_last.iter().zip(&self.weight) {
            counted &= !new;
            if *weight > 0.0 && !counted {
                count += 1;
                counted = true;
            }
        }
        count
    }

    /// The observations without some of them, given by position.
    pub fn without(&self, left_out: &[usize]) -> Observations {
        let mut keep = vec![true; self.len()];
        left_out.iter().for_each(|&i| keep[i] = false);
        let mut rest = self.clone();
        retain(&mut rest.response, &keep);
        retain(&mut rest.weight, &keep);
        retain(&mut rest.rows, &keep);
        retain(&mut rest.distinct_from_last, &keep);
        rest.sources.iter_mut().for_each(|values| retain(values, &keep));
        if let Some(sigma) = &mut rest.sigma {
            retain(sigma, &keep);
        }
        if let Some(cluster) = &mut rest.cluster {
            retain(cluster, &keep);
        }
        rest
    }

    pub fn sigma_at(&self, i: usize) -> f64 {
        self.sigma.as_ref().map_or(1.0, |sigma| sigma[i])
    }

    /// The values of the model's n-th data expression.
    pub fn source(&self, i: usize) -> &[f64] {
        &self.sources[i]
    }

    /// All columns of a model and their weighted means. The model may be the law's own or one with some of
    /// the law's parameters fixed, which reads the same data expressions in the same order.
    pub fn columns(&self, model: &Model) -> (Vec<Vec<f64>>, Vec<f64>) {
        model_columns(&model.recipes, &self.sources, &self.weight)
    }
}

fn model_columns(recipes: &[Recipe], sources: &[Vec<f64>], weight: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(recipes.len());
    let mut means = Vec::with_capacity(recipes.len());
    for &recipe in recipes {
        let (values, mean) = match recipe {
            Recipe::Source(i) => (sources[i as usize].clone(), 0.0),
            _ => derive_column(recipe, &columns, weight).unwrap_or_default(),
        };
        columns.push(values);
        means.push(mean);
    }
    (columns, means)
}

fn distinct_from_last(binding: &Binding, sweep: &Sweep, rows: &[u32]) -> Vec<bool> {
    let same = |a: u32, b: u32| {
        binding.used.iter().all(|&c| sweep.columns[c][a as usize] == sweep.columns[c][b as usize])
    };
    (0..rows.len()).map(|i| i == 0 || !same(rows[i - 1], rows[i])).collect()
}

fn retain<T: Copy>(values: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    values.retain(|_| flags.next().copied().unwrap_or(true));
}

/// Why a row's stored values cannot be used.
fn unusable(binding: &Binding, sweep: &Sweep, row: usize) -> Option<String> {
    let value = |c: usize| sweep.columns[c][row];
    for &c in binding.used.iter().chain(&binding.weight).chain(&binding.sigma) {
        let x = value(c);
        let name = &binding.names[c];
        if is_null(x) {
            return Some(format!("`{name}` is null"));
        }
        if !x.is_finite() {
            return Some(format!("`{name}` is {}, not a finite number", spelled(x)));
        }
    }
    if let Some(c) = binding.weight
        && value(c) < 0.0
    {
        return Some(format!("the weight `{}` is negative ({})", binding.names[c], value(c)));
    }
    if let Some(c) = binding.sigma
        && value(c) <= 0.0
    {
        return Some(format!("the sigma `{}` is not positive ({})", binding.names[c], value(c)));
    }
    None
}

fn spelled(x: f64) -> &'static str {
    if x.is_nan() {
        "NaN"
    } else if x > 0.0 {
        "infinite"
    } else {
        "minus infinity"
    }
}

/// Why what the formula makes of a row cannot be used.
fn unusable_values(
    law: &Law,
    model: &Model,
    used: &[&Expr],
    values: &[Vec<f64>],
    columns: &[Vec<f64>],
    i: usize,
) -> Option<String> {
    for (expr, column) in used.iter().zip(values) {
        if !column[i].is_finite() {
            return Some(format!("`{expr}` is {} here, not a finite number", spelled(column[i])));
        }
    }
    let response = values[0][i];
    if model.residual == Residual::Log && response <= 0.0 {
        return Some(format!(
            "`{}` is not positive ({response}), which the residual space `log` needs",
            used[0]
        ));
    }
    // Logarithms that the law takes of data: a zero base of a power is fine, a negative one is not.
    for (recipe, column) in model.recipes.iter().zip(columns) {
        if let Recipe::Unary(op, from) = recipe
            && !column[i].is_finite()
            && column[i] != LN_ZERO
        {
            let of = match model.recipes[*from as usize] {
                Recipe::Source(s) => format!("`{}`", model.sources[s as usize]),
                _ => "a term of the formula".to_string(),
            };
            let x = columns[*from as usize][i];
            let what = match op {
                Unary::LnBase => "a power that is not a whole number",
                _ => "the logarithm",
            };
            return Some(format!("{of} is {x}, of which `{}` takes {what}", law.name));
        }
    }
    None
}

/// Values of expressions over rows of a sweep; NaN where one cannot be computed.
fn evaluate_all(expressions: &[&Expr], binding: &Binding, sweep: &Sweep, rows: &[u32]) -> Vec<Vec<f64>> {
    let gather = |c: usize| -> Vec<f64> { rows.iter().map(|&r| sweep.columns[c][r as usize]).collect() };
    let column_of = |name: &str| binding.names.iter().position(|n| n == name);
    let mut table: Option<Table> = None;
    expressions
        .iter()
        .map(|expr| {
            // Most data expressions are plain columns.
            if let ExprKind::Name(name) = &expr.kind
                && let Some(c) = column_of(name)
            {
                return gather(c);
            }
            let table = table.get_or_insert_with(|| {
                let mut table = Table::new(rows.len());
                binding.used.iter().for_each(|&c| table.push_numbers(&binding.names[c], gather(c)));
                table
            });
            match evaluate(expr, table) {
                Ok(Column::Number { values, .. }) => values,
                _ => vec![f64::NAN; rows.len()],
            }
        })
        .collect()
}
