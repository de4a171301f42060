//! A problem from columns in memory, without a file.

use std::sync::Arc;

use crate::compile::Model;
use crate::formula::Expr;
use crate::law::Law;
use crate::sweep::{Sweep, SweepColumns, TextCells};

use super::{Binding, Loss, Problem, Rejection};

/// Binds a law to columns. The response is an expression of the columns, and every observation has weight one. Returns
/// the problem and the rows that the law cannot use.
#[must_use]
pub fn bind_columns(
    law: &Law,
    model: &Arc<Model>,
    response: &Expr,
    loss: Loss,
    columns: &[(&str, &[f64])],
) -> (Problem, Vec<Rejection>) {
    let n = columns.first().map_or(0, |(_, values)| values.len());
    let (file, row): (Vec<u32>, Vec<u64>) = (0..n as u64).map(|i| (0, i)).unzip();
    let values: Vec<Vec<f64>> = columns.iter().map(|(_, values)| values.to_vec()).collect();
    let sweep = Sweep {
        index: 0,
        columns: SweepColumns::new(&values, 0..n),
        cluster: None,
        file: &file,
        row: &row,
        texts: &TextCells::default(),
        key_digest: [0; 32],
    };
    let binding = Binding {
        names: columns.iter().map(|(name, _)| (*name).to_string()).collect(),
        used: (0..columns.len()).collect(),
        response: response.clone(),
        weight: None,
        sigma: None,
    };
    Problem::bind(law, model, loss, (&binding, &sweep))
}
