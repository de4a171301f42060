//! A problem from arrays in memory, without any file.

use std::sync::Arc;

use crate::formula::Expr;
use crate::law::{Law, Model};
use crate::sweep::Sweep;

use super::{Binding, Loss, Observations, Problem, Rejection};

/// Binds a law to columns: the response is an expression of them, every observation has weight one.
pub fn bind_columns(
    law: &Law,
    model: &Arc<Model>,
    response: &Expr,
    loss: Loss,
    columns: &[(&str, &[f64])],
) -> (Problem, Vec<Rejection>) {
    let n = columns.first().map_or(0, |(_, values)| values.len());
    let (file, row): (Vec<u32>, Vec<u64>) = (0..n as u64).map(|i| (0, i)).unzip();
    let sweep = Sweep {
        index: 0,
        columns: columns.iter().map(|(_, values)| *values).collect(),
        cluster: None,
        file: &file,
        row: &row,
        key_digest: [0; 32],
    };
    let binding = Binding {
        names: columns.iter().map(|(name, _)| (*name).to_string()).collect(),
        used: (0..columns.len()).collect(),
        response: response.clone(),
        weight: None,
        sigma: None,
    };
    let (observations, rejected) = Observations::bind(law, model, &binding, &sweep);
    (Problem::new(Arc::clone(model), Arc::new(observations), loss), rejected)
}
