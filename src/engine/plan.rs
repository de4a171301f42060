//! Checks a job and binds its laws to the columns of a source, before any row is read.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Place, Setting};
use crate::formula::{
    Expr, ExprKind, Formula, counted, list, names, nearest, needed_definitions, other_case, parse_condition,
    parse_expression, parse_formula,
};
use crate::infer::{Quantity, Resample};
use crate::input::{ColumnType, HELD_OUT, KeyColumn, RESPONSE, Request, Scope, Source};
use crate::law::{Catalogue, Domain, Law, Parameter, Residual, truncated};
use crate::optimize::Models;
use crate::output::schema;
use crate::problem::{Binding, LossChoice, Problem, Rejection};
use crate::sweep::Sweep;

use super::control::Progress;
use super::job::{CatalogueFile, Job, LawText};

/// The largest number of free parameters of a law: the number of second derivatives grows with its square.
const MOST_PARAMETERS: usize = 64;

/// The largest number of starts.
const MOST_STARTS: usize = 65_536;

/// A compiled law with its residual space, its loss, and the columns that it reads.
#[derive(Debug, Clone)]
pub struct BoundLaw {
    /// The law, in which the parameters that the job holds are fixed.
    pub law: Law,
    /// The space of residuals.
    pub residual: Residual,
    /// The loss that the job asks for; a threshold that follows the residuals is found by each fit.
    pub loss: LossChoice,
    /// The compiled law.
    pub models: Arc<Models>,
    /// The columns of a sweep that the law reads.
    pub binding: Binding,
    /// The job's derived quantities whose names are parameters of the law.
    pub quantities: Vec<Quantity>,
}

impl BoundLaw {
    /// Returns the problem of fitting the law to a sweep, and the rows that the law cannot use. A threshold that
    /// follows the scale of the residuals is set for a scale of 1 until the fit estimates the scale.
    #[must_use]
    pub fn bind(&self, sweep: &Sweep) -> (Problem, Vec<Rejection>) {
        Problem::bind(&self.law, self.models.full(), self.loss.at(1.0), (&self.binding, sweep))
    }
}

/// A checked job: the columns to read and the bound laws.
#[derive(Debug)]
pub struct Plan {
    /// The rows and columns to read.
    pub request: Request,
    /// The laws, in the job's order.
    pub laws: Vec<BoundLaw>,
    /// What is allowed and probably not meant, such as a definition that nothing uses, in sentences.
    pub notes: Vec<String>,
    /// Where the rows are one sweep for want of a key: the columns of text that the job does not use.
    pub unused_texts: Vec<String>,
}

impl Plan {
    /// Checks that there is a law to fit.
    pub(super) fn check_laws(&self) -> Result<(), Error> {
        if self.laws.is_empty() { Err(Error::NoLaw) } else { Ok(()) }
    }

    /// Tells a listener what a user should know before the run.
    pub(super) fn announce(&self, progress: &dyn Progress) {
        self.notes.iter().for_each(|note| progress.note(note));
        if !self.unused_texts.is_empty() {
            progress.one_sweep(&self.unused_texts);
        }
    }
}

/// Checks a job and binds its laws to the columns of a source.
///
/// # Errors
/// If a setting has an invalid value, an expression or formula does not parse, or a column is missing or of the wrong
/// type.
pub fn plan(job: &Job, source: &dyn Source) -> Result<Plan, Error> {
    check_values(job)?;
    let mut scope = Scope::new(source);
    let mut lets = Vec::new();
    for (name, text) in &job.lets {
        let place = || Setting::Let.of(name);
        let expr = parse_expression(text).map_err(|error| Error::Formula { place: place(), error })?;
        scope.define(name, &expr).map_err(|error| error.within(text))?;
        lets.push((name.clone(), expr));
    }
    let condition = match &job.condition {
        Some(text) => {
            let place = Setting::Where.whole();
            let expr =
                parse_condition(text).map_err(|error| Error::Formula { place: place.clone(), error })?;
            scope.check_condition(&expr, &place).map_err(|error| error.within(text))?;
            Some(expr)
        }
        None => None,
    };
    let holdout = match &job.holdout {
        Some(text) => {
            let place = Setting::Holdout.whole();
            let expr =
                parse_condition(text).map_err(|error| Error::Formula { place: place.clone(), error })?;
            scope.check_condition(&expr, &place).map_err(|error| error.within(text))?;
            Some(expr)
        }
        None => None,
    };
    for (i, KeyColumn { column, name }) in job.by.iter().enumerate() {
        let before = &job.by[..i];
        if let Some(twice) = before.iter().find(|key| key.name == *name || key.column == *column) {
            return Err(given_twice(Setting::By.of(if twice.name == *name { name } else { column })));
        }
        // The key of a wide table's responses has its name from the table; only that of residuals has another such column.
        let is_of_wide_table = !job.responses.is_empty() && column == RESPONSE && !job.residuals;
        if schema::is_output_column(name.as_str()) && !is_of_wide_table {
            return Err(Error::KeyNameTaken { column: column.clone(), name: name.clone() });
        }
    }

    let mut notes = Vec::new();
    let mut laws = laws(job, &scope, &mut notes)?;
    let mut columns = Vec::new();
    let mut add = |name: &str| {
        if !columns.iter().any(|c| c == name) {
            columns.push(name.to_string());
        }
    };
    // Responses come first, because the columns also sort the rows: jobs whose laws differ only in their variables then
    // sort the rows alike.
    let mut responses: Vec<&str> = laws.iter().flat_map(|l| names(&l.binding.response)).collect();
    responses.sort_unstable();
    responses.into_iter().for_each(&mut add);
    let mut others: Vec<&str> =
        laws.iter().flat_map(|l| l.law.variables.iter().map(String::as_str)).collect();
    others.extend(job.weight.as_deref());
    others.extend(job.sigma.as_deref());
    others.sort_unstable();
    others.into_iter().for_each(&mut add);
    for (setting, column) in [(Setting::Weight, &job.weight), (Setting::Sigma, &job.sigma)] {
        if let Some(column) = column {
            scope.check_column(column, &setting.whole())?;
        }
    }

    if holdout.is_some() {
        columns.push(HELD_OUT.to_string());
    }

    // The table of residuals has the variables beside the keys.
    let taken = |key: &&KeyColumn| key.name != key.column && columns.contains(&key.name);
    if let Some(KeyColumn { column, name }) = job.by.iter().find(taken).filter(|_| job.residuals) {
        return Err(Error::KeyNameTaken { column: column.clone(), name: name.clone() });
    }
    let index = |name: &str| columns.iter().position(|c| c == name);
    for bound in &mut laws {
        let mut used: Vec<usize> = Vec::new();
        let response = bound.binding.response.clone();
        let variables = bound.law.variables.iter().map(String::as_str);
        for name in names(&response).into_iter().chain(variables) {
            used.extend(index(name).filter(|c| !used.contains(c)));
        }
        bound.binding.names = columns.clone();
        bound.binding.used = used;
        bound.binding.weight = job.weight.as_deref().and_then(index);
        bound.binding.sigma = job.sigma.as_deref().and_then(index);
    }
    if job.residuals {
        let clash = laws
            .iter()
            .flat_map(|l| &l.law.variables)
            .find(|v| schema::RESIDUALS.columns.iter().any(|c| c.name == v.as_str()));
        if let Some(variable) = clash {
            return Err(Error::VariableNameTaken { variable: variable.clone() });
        }
    }
    let cluster = job.resample.cluster_column().map(str::to_string);
    if let Some(column) = cluster.as_ref().filter(|column| !scope.names().contains(column)) {
        return Err(scope.missing(column, &Setting::Resample.of(job.resample.to_string())));
    }
    let mut used: HashSet<&str> = columns.iter().map(String::as_str).collect();
    used.extend(condition.iter().chain(&holdout).flat_map(names));
    used.extend(job.by.iter().map(|key| key.column.as_str()));
    used.extend(cluster.as_deref());
    let needed = needed_definitions(&lets, &mut used);
    for definition in lets.iter().filter(|definition| !needed.iter().any(|n| std::ptr::eq(*n, *definition))) {
        let name = &definition.0;
        let is_repeated = lets.iter().filter(|other| other.0 == *name).count() > 1;
        notes.push(match is_repeated {
            true => format!(
                "`{name}` is defined more than once, and nothing uses one of the definitions; the last counts"
            ),
            false => format!("nothing uses the definition of `{name}`: check the names in the law"),
        });
    }
    let is_unused_text =
        |name: &&String| !used.contains(name.as_str()) && scope.column_type(name) == Some(ColumnType::Text);
    let unused_texts = match job.by.is_empty() {
        true => scope.columns().iter().filter(is_unused_text).cloned().collect(),
        false => Vec::new(),
    };
    let by = job.by.clone();
    let request = Request { by, lets, condition, holdout, order: columns.clone(), columns, cluster };
    Ok(Plan { request, laws, notes, unused_texts })
}

/// Checks the settings that do not depend on the source.
fn check_values(job: &Job) -> Result<(), Error> {
    let invalid = |setting: Setting, subject: String, reason: &str| {
        Err(Error::Invalid { place: setting.of(subject), reason: reason.to_string() })
    };
    if !(job.confidence > 0.0 && job.confidence < 1.0) {
        let reason = "give a value between 0 and 1, such as 0.95";
        return invalid(Setting::Confidence, job.confidence.to_string(), reason);
    }
    if let Some(interval) = job.interval {
        let n_replicates = if job.resample == Resample::None { 0 } else { job.bootstrap };
        if interval.needs_replicates() && n_replicates == 0 {
            let reason = "the interval is made from replicates, and there are none: ask for some, or for another interval";
            return invalid(Setting::Interval, interval.name().to_string(), reason);
        }
        if interval.needs_distribution() && !job.resample.is_distribution() {
            let reason = "the interval is made from the distribution of replicates, and those of a jackknife have none: \
                          resample otherwise, or ask for the interval `normal`";
            return invalid(Setting::Interval, interval.name().to_string(), reason);
        }
    }
    if let Some(starts) = job.starts.filter(|n| !(1..=MOST_STARTS).contains(n)) {
        return invalid(Setting::Starts, starts.to_string(), "give a number from 1 to 65536");
    }
    for (setting, values) in [(Setting::Fix, &job.fix), (Setting::Start, &job.start)] {
        for (i, (name, value)) in values.iter().enumerate() {
            if !value.is_finite() {
                return invalid(setting, format!("{name}={value}"), "this is not a finite number");
            }
            if values[..i].iter().any(|(other, _)| other == name) {
                return Err(given_twice(setting.of(name)));
            }
        }
    }
    Ok(())
}

/// Returns the error that a setting is given twice.
fn given_twice(place: Place) -> Error {
    Error::Invalid { place, reason: "given twice".to_string() }
}

/// Finds or parses the job's laws, fixes the parameters that the job holds, and binds the laws to columns.
fn laws(job: &Job, scope: &Scope, notes: &mut Vec<String>) -> Result<Vec<BoundLaw>, Error> {
    let columns = scope.names();
    let mut catalogue = Catalogue::built_in()?;
    if let Some(CatalogueFile { name, text }) = &job.catalogue {
        catalogue.add(name, text)?;
    }
    let mut laws: Vec<Law> = job
        .laws
        .iter()
        .map(|text| match text {
            LawText::Name(name) => named(&catalogue, name),
            LawText::Formula(text) => {
                let formula = parse_formula(text)?;
                let law = Law::from_formula(formula.clone(), &columns)?;
                notes.extend(doubtful_names(&formula, &law, &columns));
                Ok(law)
            }
        })
        .collect::<Result<_, _>>()?;
    for (i, law) in laws.iter().enumerate() {
        if laws[..i].iter().any(|other| other.name == law.name) {
            return Err(given_twice(Setting::Law.of(&law.name)));
        }
    }
    for (name, value) in &job.fix {
        let mut known = false;
        for law in &mut laws {
            if let Some(i) = law.parameter(name) {
                check_inside(Setting::Fix, law, i, *value)?;
                *law = law.with_fixed(i, *value);
                known = true;
            }
        }
        if !known {
            return Err(unknown_parameter(Setting::Fix, name, &laws));
        }
    }
    for (name, value) in &job.start {
        if !laws.iter().any(|law| law.parameter(name).is_some()) {
            return Err(unknown_parameter(Setting::Start, name, &laws));
        }
        for law in &laws {
            if let Some(i) = law.parameter(name) {
                check_inside(Setting::Start, law, i, *value)?;
            }
        }
    }
    let mut bound = laws.into_iter().map(|law| bind(job, scope, law)).collect::<Result<Vec<_>, _>>()?;
    derive(job, &mut bound)?;
    Ok(bound)
}

/// Adds the job's derived quantities to the laws that have their parameters.
fn derive(job: &Job, laws: &mut [BoundLaw]) -> Result<(), Error> {
    for (i, (name, text)) in job.derive.iter().enumerate() {
        if job.derive[..i].iter().any(|(other, _)| other == name) {
            return Err(given_twice(Setting::Derive.of(name)));
        }
        let place = || Setting::Derive.of(name);
        let expr = parse_expression(text).map_err(|error| Error::Formula { place: place(), error })?;
        let used = names(&expr);
        if used.is_empty() {
            let reason = "the expression uses no parameter".to_string();
            return Err(Error::Invalid { place: place(), reason });
        }
        let mut known = false;
        for bound in
            laws.iter_mut().filter(|bound| used.iter().all(|name| bound.law.parameter(name).is_some()))
        {
            bound.quantities.push(Quantity::new(name, expr.clone(), &bound.law));
            known = true;
        }
        if !known {
            let laws: Vec<Law> = laws.iter().map(|bound| bound.law.clone()).collect();
            let unknown = |name: &&&str| !laws.iter().any(|law| law.parameter(name).is_some());
            return Err(match used.iter().find(unknown) {
                Some(unknown) => unknown_parameter(Setting::Derive, unknown, &laws),
                None => Error::Invalid {
                    place: place(),
                    reason: format!("no law has all of the parameters {}", list(&used)),
                },
            });
        }
    }
    Ok(())
}

/// Returns notes on names of a formula that mean something else than was probably meant.
fn doubtful_names(formula: &Formula, law: &Law, columns: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |text: String| notes.push(format!("`{}`: {text}", truncated(&formula.source)));
    for name in &formula.unused {
        note(format!("nothing uses `{name}`, which `with` defines"));
    }
    for Parameter { name, .. } in &law.parameters {
        let has_domain = formula.domains.iter().any(|(other, ..)| other == name);
        if has_domain && columns.contains(name) {
            note(format!(
                "`{name}` is a parameter, because `where` gives it a domain; the column `{name}` is not read, and no rows \
                 are selected"
            ));
        }
        // A law that reads the column tells the two names apart.
        if let Some(column) =
            other_case(name, columns).filter(|c| !has_domain && !law.variables.iter().any(|v| v == c))
        {
            note(format!(
                "`{name}` is a parameter, and the column `{column}`, which differs from it in case alone, is not read; if \
                 this is meant, say so: `where {name} in [-inf, inf]`"
            ));
        }
    }
    notes
}

/// Returns the law of a name in the catalogue.
fn named(catalogue: &Catalogue, name: &str) -> Result<Law, Error> {
    catalogue.get(name).cloned().ok_or_else(|| Error::UnknownLaw {
        name: name.to_string(),
        nearest: catalogue.nearest(name).map(str::to_string),
    })
}

/// Returns the error that no law has a parameter of this name.
fn unknown_parameter(setting: Setting, name: &str, laws: &[Law]) -> Error {
    let mut known: Vec<&str> = Vec::new();
    for parameter in laws.iter().flat_map(|l| &l.parameters) {
        if !known.contains(&parameter.name.as_str()) {
            known.push(&parameter.name);
        }
    }
    let hint = nearest(name, known.iter().copied()).map(|near| format!(" (did you mean `{near}`?)"));
    let reason = format!("not a parameter{}; the parameters are {}", hint.unwrap_or_default(), list(&known));
    Error::Invalid { place: setting.of(name), reason }
}

/// Checks that a value of the law's `i`-th parameter lies in the parameter's domain.
fn check_inside(setting: Setting, law: &Law, i: usize, value: f64) -> Result<(), Error> {
    let parameter = &law.parameters[i];
    match parameter.domain {
        Domain::Range { low, high } if !(low..=high).contains(&value) => Err(Error::Invalid {
            place: setting.of(format!("{}={value}", parameter.name)),
            reason: format!("outside its domain [{low}, {high}] in `{}`", law.name),
        }),
        _ => Ok(()),
    }
}

/// Checks that a law's response and variables are numeric columns or definitions, and compiles the law. The indices of
/// the columns are set by [`plan()`].
fn bind(job: &Job, scope: &Scope, law: Law) -> Result<BoundLaw, Error> {
    let name = |text: &str| Expr::new(ExprKind::Name(text.to_string()), 0..text.len());
    let response = match &job.response {
        Some(text) if scope.type_of(text).is_some() => name(text),
        Some(text) => {
            let place = Setting::Response.whole();
            let expr =
                parse_expression(text).map_err(|error| Error::Formula { place: place.clone(), error })?;
            scope.check_number(&expr, &place).map_err(|error| error.within(text))?;
            expr
        }
        None => law.response.clone(),
    };
    let shown = truncated(&law.name);
    let place = Setting::Law.of(format!("`{shown}`"));
    let unbound_response = |reason: String| Error::UnboundResponse {
        law: shown.clone(),
        response: response.to_string(),
        reason,
        available: list(&scope.names()),
    };
    scope.check_number(&response, &place).map_err(|error| match error {
        Error::Expression { message, .. } => unbound_response(message),
        other => other,
    })?;
    if names(&response).is_empty() {
        return Err(unbound_response("it uses no column".to_string()));
    }
    for variable in &law.variables {
        scope.check_number(&name(variable), &place).map_err(|error| match error {
            Error::Expression { message, .. } => Error::UnboundVariable {
                law: shown.clone(),
                variable: variable.clone(),
                reason: message,
                available: list(&scope.names()),
            },
            other => other,
        })?;
    }
    let n_free = law.free_parameters().count();
    if n_free > MOST_PARAMETERS {
        let reason = format!("{}; at most {MOST_PARAMETERS} are fitted", counted(n_free, "free parameter"));
        return Err(Error::Law { law: shown, reason });
    }
    let residual = job.residual.unwrap_or(law.residual);
    let loss = job.loss.unwrap_or(LossChoice::usual(residual));
    Ok(BoundLaw {
        models: Arc::new(Models::compile(law.clone(), residual)),
        binding: Binding { names: Vec::new(), used: Vec::new(), response, weight: None, sigma: None },
        quantities: Vec::new(),
        law,
        residual,
        loss,
    })
}
