//! The rows of a sweep that a law can use, and the reasons why it cannot use the others.

use std::sync::Arc;

use crate::compile::Model;
use crate::formula::{Column, Expr, ExprKind, Table, evaluate};
use crate::law::{DataColumn, Law, Residual, Unary};
use crate::sweep::{MAX_ROWS, Sweep, is_null, is_text};

use super::ColumnSet;
use super::column_set::{encode_infinity, is_encoded_infinity};
use super::rejection::{RejectedValue, Rejection, RejectionCode, RejectionReason, RejectionSubject};

/// The columns of a sweep that a law reads.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The names of the sweep's columns, in its order.
    pub names: Vec<String>,
    /// The indices of the columns that the law reads: those of the response first, then its variables.
    pub used: Vec<usize>,
    /// The left side of the formula.
    pub response: Expr,
    pub weight: Option<usize>,
    pub sigma: Option<usize>,
}

/// The usable observations of one sweep for one law, in the canonical order of the law.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// The values of the left side, not transformed.
    pub response: Arc<Vec<f64>>,
    pub weight: Vec<f64>,
    /// σ per observation; none where every σ is 1.
    pub sigma: Option<Vec<f64>>,
    pub cluster: Option<Vec<u32>>,
    /// The position of each observation in the sweep.
    pub rows: Vec<u32>,
    /// The values of the model's data expressions.
    sources: ColumnSet,
    /// Whether an observation differs from the one before it in what the law reads.
    distinct_from_last: Vec<bool>,
}

/// Returns the number of a sweep's rows in 32 bits, as all fits count them from here on.
///
/// # Panics
///
/// If there are more than [`MAX_ROWS`].
fn n_rows(len: usize) -> u32 {
    match u32::try_from(len) {
        Ok(n) => n,
        Err(_) => panic!("a sweep has {len} rows, and at most {MAX_ROWS} are fitted as one"),
    }
}

impl Observations {
    /// Sorts a sweep's rows into usable ones and rejected ones. Returns the usable ones, the rejected ones, and those of the
    /// usable ones at which something that the law reads is infinite, each with the reason.
    ///
    /// # Panics
    ///
    /// If the sweep has more than [`MAX_ROWS`].
    #[must_use]
    pub fn bind(
        law: &Law,
        model: &Model,
        binding: &Binding,
        sweep: &Sweep,
    ) -> (Observations, Vec<Rejection>, Vec<Rejection>) {
        let (mut rows, mut rejections) = (Vec::with_capacity(sweep.len()), Vec::new());
        for row in 0..n_rows(sweep.len()) {
            match unusable(binding, sweep, row as usize) {
                Some(reason) => rejections.push(Rejection { row, reason }),
                None => rows.push(row),
            }
        }

        // Results must not depend on the other columns of the job, so the order is by this law's columns alone.
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
            rows.sort_unstable_by(|a, b| by_key(a, b).then(a.cmp(b)));
        }

        let n = rows.len();
        let mut expressions = Expressions { binding, sweep, rows: &rows, table: None };
        let mut response = Vec::with_capacity(n);
        expressions.evaluate(&binding.response, &mut response);
        let mut sources = ColumnSet::default();
        sources.clear(n);
        sources.reserve(model.sources.len());
        model.sources.iter().for_each(|source| expressions.evaluate(source, &mut sources));
        sources.values_mut().for_each(|x| *x = encode_infinity(*x));
        // Only the columns up to the last that may be undefined are needed here.
        let may_have_none = |r: &DataColumn| matches!(r, DataColumn::Unary(..) | DataColumn::Inverse(_));
        let n_columns = model.data_columns.iter().rposition(may_have_none).map_or(0, |k| k + 1);
        let mut columns = ColumnSet::default();
        columns.clear(n);
        columns.derive(&model.data_columns[..n_columns], (&sources, &[]), &vec![1.0; n], &mut Vec::new());
        let mut keep = vec![true; n];
        let mut limits = Vec::new();
        for (i, &row) in rows.iter().enumerate() {
            match state(law, model, binding, (&response, &sources, &columns), i) {
                RowState::Usable => {}
                RowState::Limit(reason) => limits.push(Rejection { row, reason }),
                RowState::Unusable(reason) => {
                    rejections.push(Rejection { row, reason });
                    keep[i] = false;
                }
            }
        }
        if keep.contains(&false) {
            retain(&mut rows, &keep);
            retain(&mut response, &keep);
            sources.retain(&keep);
        }
        rejections.sort_by_key(|r| r.row);

        let gather =
            |column: usize| -> Vec<f64> { rows.iter().map(|&r| sweep.columns[column][r as usize]).collect() };
        let weight = binding.weight.map_or_else(|| vec![1.0; rows.len()], gather);
        let sigma = binding.sigma.map(gather);
        let cluster = sweep.cluster.map(|clusters| rows.iter().map(|&r| clusters[r as usize]).collect());
        let same = |a: u32, b: u32| {
            binding.used.iter().all(|&c| sweep.columns[c][a as usize] == sweep.columns[c][b as usize])
        };
        let distinct_from_last = (0..rows.len()).map(|i| i == 0 || !same(rows[i - 1], rows[i])).collect();
        let observations = Observations {
            response: Arc::new(response),
            weight,
            sigma,
            cluster,
            rows,
            sources,
            distinct_from_last,
        };
        (observations, rejections, limits)
    }

    /// Returns the number of observations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.response.len()
    }

    /// Returns whether there are no observations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.response.is_empty()
    }

    /// Returns the number of distinct observations (in what the law reads) of positive weight.
    #[must_use]
    pub fn n_distinct(&self) -> usize {
        // Equal observations are adjacent; a group counts once if any of it has weight.
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

    /// Returns the observations without those at the given positions.
    #[must_use]
    pub fn without(&self, left_out: &[usize]) -> Observations {
        let mut keep = vec![true; self.len()];
        left_out.iter().for_each(|&i| keep[i] = false);
        let mut rest = self.clone();
        retain(Arc::make_mut(&mut rest.response), &keep);
        retain(&mut rest.weight, &keep);
        retain(&mut rest.rows, &keep);
        retain(&mut rest.distinct_from_last, &keep);
        rest.sources.retain(&keep);
        if let Some(sigma) = &mut rest.sigma {
            retain(sigma, &keep);
        }
        if let Some(cluster) = &mut rest.cluster {
            retain(cluster, &keep);
        }
        rest
    }

    /// Returns σ of an observation.
    #[must_use]
    pub fn sigma_at(&self, i: usize) -> f64 {
        self.sigma.as_ref().map_or(1.0, |sigma| sigma[i])
    }

    /// Returns the values of the model's i-th data expression.
    #[must_use]
    pub fn source(&self, i: usize) -> &[f64] {
        &self.sources[i]
    }

    /// Returns the distinct point (the values of all data expressions) of each observation, as a number, and the number
    /// of distinct points. None where all points are distinct.
    #[must_use]
    pub fn repeated_points(&self) -> Option<(Vec<u32>, usize)> {
        let by_values = |&a: &u32, &b: &u32| {
            self.sources
                .columns()
                .map(|column| column[a as usize].total_cmp(&column[b as usize]))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        };
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(by_values);
        let mut points = vec![0; self.len()];
        let mut count = 0;
        for same in order.chunk_by(|a, b| by_values(a, b).is_eq()) {
            same.iter().for_each(|&i| points[i as usize] = count);
            count += 1;
        }
        ((count as usize) < self.len()).then_some((points, count as usize))
    }

    /// Returns the columns that a model reads, and the weighted means of all its data columns; `held` are the values of parameters that the model
    /// holds. The model may be the law's own or one with some of the law's parameters fixed or held, which reads the
    /// same data expressions in the same order.
    #[must_use]
    pub fn columns(&self, model: &Model, held: &[f64]) -> (ColumnSet, Vec<f64>) {
        let (mut columns, mut means) = (ColumnSet::default(), Vec::new());
        columns.clear(self.len());
        columns.derive(&model.data_columns, (&self.sources, held), &self.weight, &mut means);
        (columns.select(&model.read_columns), means)
    }
}

fn retain<T: Copy>(values: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    values.retain(|_| flags.next().copied().unwrap_or(true));
}

/// Returns why the stored values of a row cannot be used, if they cannot.
fn unusable(binding: &Binding, sweep: &Sweep, row: usize) -> Option<RejectionReason> {
    use RejectionCode::{NegativeWeight, NonpositiveSigma, NotANumber, NotFinite, Null};
    let value = |c: usize| sweep.columns[c][row];
    let column = |c: usize| RejectionSubject::Column(binding.names[c].clone());
    for &c in binding.used.iter().chain(&binding.weight).chain(&binding.sigma) {
        let x = value(c);
        if is_null(x) {
            return Some(RejectionReason { code: Null, subject: column(c), value: None });
        }
        if is_text(x) {
            let cell = sweep.text(c, row);
            return Some(RejectionReason {
                code: NotANumber,
                subject: cell
                    .map_or_else(|| column(c), |cell| RejectionSubject::Column(cell.column.to_string())),
                value: cell.map(|cell| RejectedValue::Text(cell.text.clone())),
            });
        }
        if !x.is_finite() {
            return Some(RejectionReason::of_number(NotFinite, column(c), x));
        }
    }
    if let Some(c) = binding.weight
        && value(c) < 0.0
    {
        return Some(RejectionReason::of_number(NegativeWeight, column(c), value(c)));
    }
    if let Some(c) = binding.sigma
        && value(c) <= 0.0
    {
        return Some(RejectionReason::of_number(NonpositiveSigma, column(c), value(c)));
    }
    None
}

/// Whether the formula can use a row.
enum RowState {
    Usable,
    /// Something that the law reads is infinite.
    Limit(RejectionReason),
    Unusable(RejectionReason),
}

/// Returns whether the formula can use a row; `values` are the response, the data expressions and the model's columns.
fn state(
    law: &Law,
    model: &Model,
    binding: &Binding,
    values: (&[f64], &ColumnSet, &ColumnSet),
    i: usize,
) -> RowState {
    let (response, sources, columns) = values;
    let response = response[i];
    let of_expression = |code, expr: &Expr, x: f64| {
        RejectionReason::of_number(code, RejectionSubject::Expression(expr.to_string()), x)
    };
    let no_number = |expr: &Expr, x: f64| of_expression(RejectionCode::Undefined, expr, x);
    if !response.is_finite() {
        return RowState::Unusable(no_number(&binding.response, response));
    }
    if model.residual == Residual::Log && response <= 0.0 {
        let code = RejectionCode::NonpositiveResponse;
        return RowState::Unusable(of_expression(code, &binding.response, response));
    }
    let mut limit = None;
    for (k, source) in model.sources.iter().enumerate() {
        let x = sources[k][i];
        if x.is_nan() {
            return RowState::Unusable(no_number(source, x));
        }
        if is_encoded_infinity(x) {
            limit.get_or_insert_with(|| no_number(source, x));
        }
    }
    // The logarithm of a negative number is undefined; that of zero is infinite.
    for (k, column) in model.data_columns.iter().enumerate() {
        let (from, operation) = match column {
            DataColumn::Unary(Unary::LnBase, from) => (from, "takes a non-integer power of"),
            DataColumn::Unary(_, from) => (from, "takes the logarithm of"),
            DataColumn::Inverse(from) => (from, "takes the inverse of"),
            _ => continue,
        };
        let value = columns[k][i];
        if !value.is_nan() && !is_encoded_infinity(value) {
            continue;
        }
        let operand = match model.data_columns[*from as usize] {
            DataColumn::Source(s) => Some(model.sources[s as usize].to_string()),
            _ => None,
        };
        let subject = RejectionSubject::Operand { law: law.name.clone(), operation, operand };
        let reason =
            RejectionReason::of_number(RejectionCode::Undefined, subject, columns[*from as usize][i]);
        if value.is_nan() {
            return RowState::Unusable(reason);
        }
        limit.get_or_insert(reason);
    }
    limit.map_or(RowState::Usable, RowState::Limit)
}

/// Evaluates expressions over rows of a sweep.
struct Expressions<'a> {
    binding: &'a Binding,
    sweep: &'a Sweep<'a>,
    rows: &'a [u32],
    /// The rows as a table of the formula language, built when first needed.
    table: Option<Table>,
}

impl Expressions<'_> {
    /// Appends the values of an expression; NaN where it cannot be computed.
    fn evaluate(&mut self, expr: &Expr, values: &mut impl Extend<f64>) {
        let Expressions { binding, sweep, rows, ref mut table } = *self;
        let gather = |c: usize| rows.iter().map(move |&r| sweep.columns[c][r as usize]);
        // Most data expressions are plain columns.
        if let ExprKind::Name(name) = &expr.kind
            && let Some(c) = binding.names.iter().position(|n| n == name)
        {
            return values.extend(gather(c));
        }
        let table = table.get_or_insert_with(|| {
            let mut table = Table::new(rows.len());
            binding.used.iter().for_each(|&c| table.push_numbers(&binding.names[c], gather(c).collect()));
            table
        });
        match evaluate(expr, table) {
            Ok(Column::Number { values: found, .. }) => values.extend(found),
            _ => values.extend(std::iter::repeat_n(f64::NAN, rows.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::n_rows;
    use crate::sweep::MAX_ROWS;

    #[test]
    fn as_many_rows_as_32_bits_count_are_taken() {
        assert_eq!(n_rows(0), 0);
        assert_eq!(n_rows(MAX_ROWS), u32::MAX);
    }

    #[test]
    #[should_panic(expected = "a sweep has 4294967296 rows, and at most 4294967295 are fitted as one")]
    fn more_rows_are_refused() {
        n_rows(MAX_ROWS + 1);
    }
}
