//! From a job to a plan: laws bound to the input's columns before any data is read.

use std::sync::Arc;

use crate::formula::{
    Expr, ExprKind, Type, TypeError, check_condition, check_number, names, parse_condition, parse_expression,
    parse_formula,
};
use crate::infer::Resample;
use crate::input::{self, ColumnType, Header, Request};
use crate::law::{Catalogue, Domain, Law, Residual, list};
use crate::optimize::Models;
use crate::output::schema;
use crate::problem::{Binder, Binding, LossChoice, Problem, Rejection};
use crate::sweep::Sweep;

use super::EngineError;
use super::job::{Job, LawText};

/// Free parameters of one law: the compiled second derivatives grow with their square.
const MOST_PARAMETERS: usize = 64;

/// A law, its residual space and loss, and the columns it reads.
#[derive(Debug, Clone)]
pub struct BoundLaw {
    pub law: Law,
    pub residual: Residual,
    /// As asked for; the loss as used is each fit's own.
    pub loss: LossChoice,
    pub models: Arc<Models>,
    pub binding: Binding,
}

impl BoundLaw {
    /// The law on a sweep, in the vectors of a problem that is done with, if there is one; tells which rows it cannot use.
    /// A loss whose threshold follows the residuals takes one as if their scale were 1, until the fit says otherwise.
    pub fn bind(
        &self,
        done: Option<Problem>,
        sweep: &Sweep,
        binder: &mut Binder,
    ) -> (Problem, Vec<Rejection>) {
        let loss = self.loss.at(1.0);
        Problem::bind(done, &self.law, self.models.full(), loss, (&self.binding, sweep), binder)
    }
}

/// All that is known before data is read.
#[derive(Debug)]
pub struct Plan {
    pub header: Header,
    pub request: Request,
    pub laws: Vec<BoundLaw>,
}

/// The names that formulas may use, with their types: columns, then definitions, which may take a column's
/// name.
struct Scope<'a> {
    header: &'a Header,
    lets: Vec<(String, Type)>,
}

impl Scope<'_> {
    fn kind(&self, name: &str) -> Option<Type> {
        if let Some((_, kind)) = self.lets.iter().rev().find(|(n, _)| n == name) {
            return Some(*kind);
        }
        match self.header.kind(name)? {
            ColumnType::Number => Some(Type::Number),
            ColumnType::Text => Some(Type::Text),
            ColumnType::Bool => Some(Type::Bool),
            ColumnType::Other(_) => None,
        }
    }

    /// Refuses columns of types that formulas cannot use, by name and type.
    fn usable(&self, flag: &str, expr: &Expr) -> Result<(), EngineError> {
        for name in names(expr) {
            if self.kind(name).is_none()
                && let Some(ColumnType::Other(kind)) = self.header.kind(name)
            {
                return Err(refuse(format!(
                    "{flag}: the column `{name}` is {kind}; formulas use numbers, text and true/false alone"
                )));
            }
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.header.column_names();
        for (name, _) in &self.lets {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

/// Checks a job against its input's columns.
pub fn plan(job: &Job) -> Result<Plan, EngineError> {
    let header = input::inspect(&job.inputs)?;
    let mut scope = Scope { header: &header, lets: Vec::new() };
    let mut lets = Vec::new();
    for (name, text) in &job.lets {
        if name == "pi" {
            return Err(refuse("--let pi: this name is the constant; choose another".to_string()));
        }
        let expr = parse_expression(text).map_err(|e| refuse(format!("--let {name}:\n{e}")))?;
        scope.usable(&format!("--let {name}"), &expr)?;
        let kind = crate::formula::check(&expr, &|n| scope.kind(n), &scope.names())
            .map_err(|e| in_text(&format!("--let {name}"), text, e))?;
        lets.push((name.clone(), expr));
        scope.lets.push((name.clone(), kind));
    }
    let condition = match &job.condition {
        Some(text) => {
            let expr = parse_condition(text).map_err(|e| refuse(format!("--where:\n{e}")))?;
            scope.usable("--where", &expr)?;
            check_condition(&expr, &|n| scope.kind(n), &scope.names())
                .map_err(|e| in_text("--where", text, e))?;
            Some(expr)
        }
        None => None,
    };
    for (i, column) in job.by.iter().enumerate() {
        if job.by[..i].contains(column) {
            return Err(refuse(format!("--by {column}: given twice")));
        }
        if schema::is_output_column(column) {
            return Err(refuse(format!(
                "--by {column}: the output tables have a column of this name; rename it with \
                 --let NEW={column} (numbers) or in the input"
            )));
        }
    }

    let mut laws = laws(job, &scope)?;
    let mut columns = Vec::new();
    let mut want = |name: &str| {
        if !columns.iter().any(|c| c == name) {
            columns.push(name.to_string());
        }
    };
    // Responses first: rows are then in the same order for laws that differ in their variables alone.
    let mut responses: Vec<&str> = laws.iter().flat_map(|l| names(&l.binding.response)).collect();
    responses.sort_unstable();
    responses.into_iter().for_each(&mut want);
    let mut others: Vec<&str> =
        laws.iter().flat_map(|l| l.law.variables.iter().map(String::as_str)).collect();
    others.extend(job.weight.as_deref());
    others.extend(job.sigma.as_deref());
    others.sort_unstable();
    others.into_iter().for_each(&mut want);
    for (flag, column) in [("--weight", &job.weight), ("--sigma", &job.sigma)] {
        if let Some(column) = column {
            number(&scope, flag, column)?;
        }
    }

    let place = |name: &str| columns.iter().position(|c| c == name);
    for bound in &mut laws {
        let mut used: Vec<usize> = Vec::new();
        let response = bound.binding.response.clone();
        let variables = bound.law.variables.iter().map(String::as_str);
        for name in names(&response).into_iter().chain(variables) {
            used.extend(place(name).filter(|c| !used.contains(c)));
        }
        bound.binding.names = columns.clone();
        bound.binding.used = used;
        bound.binding.weight = job.weight.as_deref().and_then(place);
        bound.binding.sigma = job.sigma.as_deref().and_then(place);
    }
    if job.residuals {
        let clash = laws
            .iter()
            .flat_map(|l| &l.law.variables)
            .find(|v| schema::RESIDUALS.columns.iter().any(|c| c.name == v.as_str()));
        if let Some(variable) = clash {
            return Err(refuse(format!(
                "--residuals: the table of residuals has a column `{variable}` of its own; give the variable \
                 another name with --let"
            )));
        }
    }
    let cluster = match &job.resample {
        Resample::Cluster(column) => {
            if !scope.names().contains(column) {
                return Err(refuse(format!(
                    "--resample cluster:{column}: no such column; the columns are {}",
                    list(&scope.names())
                )));
            }
            Some(column.clone())
        }
        Resample::Pairs => None,
    };
    let request = Request {
        inputs: job.inputs.clone(),
        by: job.by.clone(),
        lets,
        condition,
        order: columns.clone(),
        columns,
        cluster,
    };
    Ok(Plan { header, request, laws })
}

fn refuse(message: String) -> EngineError {
    EngineError::Job(message)
}

fn in_text(flag: &str, text: &str, error: TypeError) -> EngineError {
    refuse(format!("{flag}:\n{}", error.within(text)))
}

/// A column that must be a number.
fn number(scope: &Scope, flag: &str, column: &str) -> Result<(), EngineError> {
    let expr = Expr::new(ExprKind::Name(column.to_string()), 0..column.len());
    check_number(&expr, &|n| scope.kind(n), &scope.names()).map_err(|e| in_text(flag, column, e))
}

fn laws(job: &Job, scope: &Scope) -> Result<Vec<BoundLaw>, EngineError> {
    let mut catalogue = Catalogue::built_in().map_err(|e| refuse(e.to_string()))?;
    if let Some((file, text)) = &job.catalogue {
        catalogue.add(file, text).map_err(|e| refuse(e.to_string()))?;
    }
    let mut laws: Vec<Law> = job
        .laws
        .iter()
        .map(|text| match text {
            LawText::Name(name) => named(&catalogue, name),
            LawText::Formula(text) => {
                let formula = parse_formula(text).map_err(|e| refuse(format!("--law:\n{e}")))?;
                Law::from_formula(formula, &scope.names()).map_err(|e| refuse(e.to_string()))
            }
        })
        .collect::<Result<_, _>>()?;
    if laws.is_empty() {
        return Err(refuse("no law: give --law NAME or --law 'response ~ formula'".to_string()));
    }
    for (i, law) in laws.iter().enumerate() {
        if laws[..i].iter().any(|other| other.name == law.name) {
            return Err(refuse(format!("--law {}: given twice", law.name)));
        }
    }
    for (name, value) in &job.fix {
        let mut known = false;
        for law in &mut laws {
            if let Some(i) = law.parameter(name) {
                check_inside("--fix", law, i, *value)?;
                *law = law.with_fixed(i, *value);
                known = true;
            }
        }
        if !known {
            return Err(unknown_parameter("--fix", name, &laws));
        }
    }
    for (name, value) in &job.start {
        if !laws.iter().any(|law| law.parameter(name).is_some()) {
            return Err(unknown_parameter("--start", name, &laws));
        }
        for law in &laws {
            if let Some(i) = law.parameter(name) {
                check_inside("--start", law, i, *value)?;
            }
        }
    }
    laws.into_iter().map(|law| bind(job, scope, law)).collect()
}

fn named(catalogue: &Catalogue, name: &str) -> Result<Law, EngineError> {
    catalogue.get(name).cloned().ok_or_else(|| {
        let hint = match catalogue.nearest(name) {
            Some(nearest) => format!(" Did you mean `{nearest}`?"),
            None => String::new(),
        };
        refuse(format!(
            "--law {name}: no law of this name.{hint} `sweepfit laws` lists them; a formula is written \
             'response ~ expression'"
        ))
    })
}

fn unknown_parameter(flag: &str, name: &str, laws: &[Law]) -> EngineError {
    let mut known: Vec<&str> = Vec::new();
    for parameter in laws.iter().flat_map(|l| &l.parameters) {
        if !known.contains(&parameter.name.as_str()) {
            known.push(&parameter.name);
        }
    }
    refuse(format!("{flag} {name}: not a parameter; the parameters are {}", list(&known)))
}

fn check_inside(flag: &str, law: &Law, i: usize, value: f64) -> Result<(), EngineError> {
    let parameter = &law.parameters[i];
    match parameter.domain {
        Domain::Range { low, high } if !(low..=high).contains(&value) => Err(refuse(format!(
            "{flag} {}={value}: outside its domain [{low}, {high}] in `{}`",
            parameter.name, law.name
        ))),
        _ => Ok(()),
    }
}

/// Binds one law to columns and compiles it.
fn bind(job: &Job, scope: &Scope, law: Law) -> Result<BoundLaw, EngineError> {
    let response = match &job.response {
        Some(text) if scope.kind(text).is_some() => Expr::new(ExprKind::Name(text.clone()), 0..text.len()),
        Some(text) => {
            let expr = parse_expression(text).map_err(|e| refuse(format!("--response:\n{e}")))?;
            check_number(&expr, &|n| scope.kind(n), &scope.names())
                .map_err(|e| in_text("--response", text, e))?;
            expr
        }
        None => law.response.clone(),
    };
    let flag = format!("law `{}`", law.name);
    scope.usable(&flag, &response)?;
    scope.usable(&flag, &law.prediction)?;
    check_number(&response, &|n| scope.kind(n), &scope.names()).map_err(|e| {
        refuse(format!(
            "law `{}`: its response `{response}`: {}; name another with --response COL, or define it with \
             --let",
            law.name, e.message
        ))
    })?;
    if names(&response).is_empty() {
        return Err(refuse(format!("law `{}`: its response `{response}` uses no column", law.name)));
    }
    for variable in &law.variables {
        let expr = Expr::new(ExprKind::Name(variable.clone()), 0..variable.len());
        check_number(&expr, &|n| scope.kind(n), &scope.names()).map_err(|e| {
            refuse(format!(
                "law `{}`: its variable `{variable}`: {}; define it with --let {variable}=EXPRESSION; the \
                 columns are {}",
                law.name,
                e.message,
                list(&scope.names())
            ))
        })?;
    }
    let n_free = law.free_parameters().count();
    if n_free > MOST_PARAMETERS {
        return Err(refuse(format!(
            "law `{}`: {n_free} free parameters; at most {MOST_PARAMETERS} are fitted",
            law.name
        )));
    }
    let residual = job.residual.unwrap_or(law.residual);
    let loss = job.loss.unwrap_or(LossChoice::usual(residual));
    Ok(BoundLaw {
        models: Arc::new(Models::compile(law.clone(), residual)),
        binding: Binding { names: Vec::new(), used: Vec::new(), response, weight: None, sigma: None },
        law,
        residual,
        loss,
    })
}
