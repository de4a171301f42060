//! Reads a directory of results back.
//!
//! Rows of the tables are in the order of sweeps and laws, and each fit has as many coefficients as its law has
//! parameters and as many replicates as its row says, so that the tables are joined by place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::util::display::array_value_to_string;
use serde::Deserialize;

use crate::compile::Scale;
use crate::error::Error;
use crate::infer::{ParameterCovariance, Resample};
use crate::law::Law;

use super::laws::StatedLaw;
use super::partitions::TableBatches;
use super::remote::FetchedResult;
use super::schema::{COEFFICIENTS, COVARIANCE, FITS, JACKKNIFE, REPLICATES, RESIDUALS, TableSpec};

/// What is read of a manifest.
#[derive(Deserialize)]
struct Manifest {
    laws: Option<Vec<StatedLaw>>,
    job: StatedJob,
}

/// What is read of the job in a manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct StatedJob {
    /// The confidence of the intervals.
    pub confidence: f64,
    /// The loss; none for each law's own.
    pub loss: Option<String>,
    /// The column of σ.
    pub sigma: Option<String>,
    /// Whether σ is known and not scaled.
    #[serde(default)]
    pub absolute_sigma: bool,
    /// The number of replicates.
    pub bootstrap: usize,
    /// How replicates are made.
    pub resample: String,
    /// How intervals are made.
    pub interval: String,
    /// The derived quantities, by name and expression.
    pub derive: Vec<(String, String)>,
}

/// A directory of results.
#[derive(Debug)]
pub struct KeptResult {
    directory: PathBuf,
    /// The copy of a result in a store.
    _fetched: Option<FetchedResult>,
    /// The laws, in the order of the run.
    pub laws: Vec<Law>,
    /// The laws as the manifest states them.
    pub stated: Vec<StatedLaw>,
    /// The job.
    pub job: StatedJob,
    /// The confidence of the run's intervals.
    pub confidence: f64,
    /// The fits, in the order of the table.
    pub fits: Vec<KeptFit>,
    /// The table of fits.
    pub table: RecordBatch,
    /// The table of coefficients.
    pub coefficients: RecordBatch,
    /// The number of key columns, which come first in every table.
    pub n_keys: usize,
    /// Whether the result holds replicates that follow the distribution of the estimate; those of a jackknife do not.
    pub has_distribution: bool,
}

/// A fit of a result.
#[derive(Clone, Debug)]
pub struct KeptFit {
    /// The index of the law.
    pub law: usize,
    /// The fit's rows in the table of coefficients.
    pub coefficients: Range<usize>,
    /// The status, as the table says it.
    pub status: String,
    /// The parameters in natural units, in the law's order; NaN where there is no estimate.
    pub natural: Vec<f64>,
    /// The interval of each parameter, in the law's order.
    pub intervals: Vec<Option<(f64, f64)>>,
    /// The covariance of the parameters, if the result holds it.
    pub covariance: Option<ParameterCovariance>,
    /// The smallest and largest value of each of the law's variables.
    pub variables: Vec<(f64, f64)>,
    /// The half-length of the interval of a new run's residual.
    pub new_run_margin: Option<f64>,
    /// The number of replicates.
    pub n_replicates: usize,
    /// The number of refits of a jackknife.
    pub n_jackknife: usize,
}

/// The good refits of a fit.
#[derive(Clone, Debug, Default)]
pub struct GoodRefits {
    /// The number of each, ascending.
    pub numbers: Vec<u32>,
    /// Their parameters in natural units, row-major.
    pub rows: Vec<f64>,
}

impl KeptFit {
    /// Returns whether the fit's uncertainty may be asked for.
    #[must_use]
    pub fn is_trustworthy(&self) -> bool {
        self.status == "converged" || self.status == "at_bound"
    }
}

impl KeptResult {
    /// Reads a directory of results, all but the replicates.
    ///
    /// # Errors
    /// If the directory holds no complete result of this version, or its tables cannot be read.
    pub fn open(directory: &Path) -> Result<KeptResult, Error> {
        let fetched = FetchedResult::of(directory)?;
        let shown = directory.display().to_string();
        let directory = fetched.as_ref().map_or(directory, FetchedResult::directory);
        let unusable = |reason: String| Error::UnusableResult { path: shown.clone(), reason };
        // A link to the current snapshot may move while the tables are read.
        let directory = &directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
        let text = std::fs::read_to_string(directory.join("manifest.json")).map_err(|error| {
            unusable(match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                    "there is no manifest.json, so this is no complete result of `sweepfit fit`".to_string()
                }
                _ => format!("manifest.json: {error}"),
            })
        })?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| unusable(format!("manifest.json is not that of a result: {error}")))?;
        let Some(stated) = manifest.laws else {
            return Err(unusable("an earlier version wrote it; fit again".to_string()));
        };
        let laws = stated.iter().map(StatedLaw::law).collect::<Result<Vec<Law>, Error>>()?;
        let table = read_table(directory, &FITS, None)?;
        let coefficients = read_table(directory, &COEFFICIENTS, None)?;
        let has = |table: &TableSpec| directory.join(format!("{}.parquet", table.name)).exists();
        let covariance =
            if has(&COVARIANCE) { Some(read_table(directory, &COVARIANCE, None)?) } else { None };
        let damaged =
            |column: &str| unusable(format!("fits.parquet: the column `{column}` is not there or damaged"));
        let texts = |column: &str| -> Result<StringArray, Error> {
            let array = table.column_by_name(column).and_then(|array| array.as_string_opt::<i32>());
            array.cloned().ok_or_else(|| damaged(column))
        };
        let lists = |column: &str| -> Result<ListArray, Error> {
            let array = table.column_by_name(column).and_then(|array| array.as_list_opt::<i32>());
            array.cloned().ok_or_else(|| damaged(column))
        };
        let (law_names, statuses) = (texts("law")?, texts("status")?);
        let (low, high) = (lists("variable_low")?, lists("variable_high")?);
        let floats = |column: &str| -> Result<Float64Array, Error> {
            let array =
                table.column_by_name(column).and_then(|array| array.as_primitive_opt::<Float64Type>());
            array.cloned().ok_or_else(|| damaged(column))
        };
        let margins = floats("new_run_margin")?;
        let integers = |column: &str| {
            let array = table.column_by_name(column).and_then(|a| a.as_primitive_opt::<Int64Type>());
            array.cloned().ok_or_else(|| damaged(column))
        };
        let (counts, jackknives) = (integers("n_replicates")?, integers("n_jackknife")?);
        let estimates =
            coefficients.column_by_name("estimate").and_then(|a| a.as_primitive_opt::<Float64Type>());
        let estimates = estimates.ok_or_else(|| damaged("estimate"))?;
        let mut fits = Vec::with_capacity(table.num_rows());
        let mut place = 0;
        let estimates = estimates.clone();
        let ends = |column: &str| -> Result<Float64Array, Error> {
            let array = coefficients.column_by_name(column).and_then(|a| a.as_primitive_opt::<Float64Type>());
            array.cloned().ok_or_else(|| damaged(column))
        };
        let (low_ends, high_ends) = (ends("ci_low")?, ends("ci_high")?);
        for row in 0..table.num_rows() {
            let name = law_names.value(row);
            let law = laws.iter().position(|law| law.name == name).ok_or_else(|| damaged("law"))?;
            let n = laws[law].parameters.len();
            if place + n > estimates.len() {
                return Err(unusable("coefficients.parquet has too few rows for fits.parquet".to_string()));
            }
            let value = |i: usize| if estimates.is_null(i) { f64::NAN } else { estimates.value(i) };
            let natural = (place..place + n).map(value).collect();
            let interval = |i: usize| {
                (low_ends.is_valid(i) && high_ends.is_valid(i))
                    .then(|| (low_ends.value(i), high_ends.value(i)))
            };
            let intervals = (place..place + n).map(interval).collect();
            let coefficients = place..place + n;
            place += n;
            let (low, high) = (numbers(&low, row), numbers(&high, row));
            fits.push(KeptFit {
                law,
                intervals,
                coefficients,
                status: statuses.value(row).to_string(),
                natural,
                covariance: covariance.as_ref().and_then(|table| covariance_of(table, row, &laws[law])),
                variables: low.into_iter().zip(high).collect(),
                new_run_margin: margins.is_valid(row).then(|| margins.value(row)),
                n_replicates: usize::try_from(counts.value(row)).unwrap_or(0),
                n_jackknife: usize::try_from(jackknives.value(row)).unwrap_or(0),
            });
        }
        if place < estimates.len() {
            return Err(unusable("coefficients.parquet has too many rows for fits.parquet".to_string()));
        }
        let n_keys = table.schema().index_of("law").map_err(|_| damaged("law"))?;
        let is_distribution =
            manifest.job.resample.parse::<Resample>().is_ok_and(|resample| resample.is_distribution());
        let has_distribution = has(&REPLICATES) && is_distribution;
        let directory = directory.to_path_buf();
        let confidence = manifest.job.confidence;
        let job = manifest.job;
        Ok(KeptResult {
            directory,
            _fetched: fetched,
            laws,
            stated,
            job,
            confidence,
            fits,
            table,
            coefficients,
            n_keys,
            has_distribution,
        })
    }

    /// Returns the observations of each fit, if the result holds residuals: the law's variables, the response and the
    /// prediction of each row of the table.
    ///
    /// # Errors
    /// If the table is there and cannot be read.
    pub fn residuals(&self) -> Result<Option<RecordBatch>, Error> {
        let there = self.directory.join(format!("{}.parquet", RESIDUALS.name)).exists();
        if there { read_table(&self.directory, &RESIDUALS, None).map(Some) } else { Ok(None) }
    }

    /// Returns the values of a fit's keys as texts, none for null, and the name of its law: what tells it apart from the others.
    #[must_use]
    pub fn identity(&self, fit: usize) -> Vec<Option<String>> {
        self.identity_in(&self.table, fit)
    }

    /// Returns the identity of the fit to which a row of a table belongs.
    fn identity_in(&self, table: &RecordBatch, row: usize) -> Vec<Option<String>> {
        let schema = self.table.schema();
        let keys = schema.fields()[..self.n_keys].iter().map(|field| field.name().as_str());
        let text = |name: &str| {
            let column = table.column_by_name(name).filter(|column| column.is_valid(row))?;
            array_value_to_string(column, row).ok()
        };
        keys.chain(["law"]).map(text).collect()
    }

    /// Returns the rows of the table of residuals that belong to a fit.
    #[must_use]
    pub fn residuals_of(&self, residuals: &RecordBatch, fit: usize) -> Vec<usize> {
        let own = self.identity(fit);
        (0..residuals.num_rows()).filter(|&row| self.identity_in(residuals, row) == own).collect()
    }

    /// Returns the number of each fit that has replicates and its good replicates, in the order of the fits; nothing where the
    /// result holds no replicates that follow the distribution of the estimate. The table is read as the iterator goes on.
    ///
    /// # Errors
    /// If the table cannot be read. That it does not belong to the fits is an item of the iterator.
    pub fn replicates(&self) -> Result<Refits<'_>, Error> {
        let fits = if self.has_distribution { &self.fits[..] } else { &[] };
        Refits::open(&self.directory, &REPLICATES, fits, |fit| fit.n_replicates)
    }

    /// Returns the parameters of the good refits of each fit's jackknife, row-major; empty where there are none.
    ///
    /// # Errors
    /// If the table cannot be read, or does not belong to the fits.
    pub fn jackknives(&self) -> Result<Vec<Vec<f64>>, Error> {
        let mut found = vec![Vec::new(); self.fits.len()];
        for refits in Refits::open(&self.directory, &JACKKNIFE, &self.fits, |fit| fit.n_jackknife)? {
            let (fit, good) = refits?;
            found[fit] = good.rows;
        }
        Ok(found)
    }
}

/// The refits in a table, fit by fit.
pub struct Refits<'a> {
    path: PathBuf,
    /// The rest of the table; none where it is not there.
    batches: Option<TableBatches>,
    /// The fits that have refits, and how many, of those that are not complete.
    expected: Box<dyn Iterator<Item = (usize, usize)> + Send + 'a>,
    /// The rows that are read, and the number of those that are used.
    batch: Option<(RefitBatch, usize)>,
}

/// The columns of some rows.
struct RefitBatch {
    converged: BooleanArray,
    offsets: OffsetBuffer<i32>,
    values: Float64Array,
}

impl<'a> Refits<'a> {
    /// Opens a table of refits, of which each fit has `count`.
    fn open(
        directory: &Path,
        table: &TableSpec,
        fits: &'a [KeptFit],
        count: impl Fn(&KeptFit) -> usize + Send + 'a,
    ) -> Result<Refits<'a>, Error> {
        let path = directory.join(format!("{}.parquet", table.name));
        let columns: &[&str] = &["estimates", "converged"];
        let there = path.exists() && !fits.is_empty();
        let batches = there.then(|| open_table(directory, table, Some(columns))).transpose()?;
        let expected = fits.iter().enumerate().map(move |(i, fit)| (i, count(fit))).filter(|(_, n)| *n > 0);
        Ok(Refits { path, batches, expected: Box::new(expected), batch: None })
    }

    /// Reads the next rows; false where there are none.
    fn read(&mut self) -> Result<bool, Error> {
        let unusable =
            |reason: String| Error::UnusableResult { path: self.path.display().to_string(), reason };
        let Some(batch) = self.batches.as_mut().and_then(Iterator::next) else { return Ok(false) };
        let batch = batch.map_err(|error| unusable(error.to_string()))?;
        let converged = batch.column_by_name("converged").and_then(|a| a.as_boolean_opt());
        let lists = batch.column_by_name("estimates").and_then(|a| a.as_list_opt::<i32>());
        let (Some(converged), Some(lists)) = (converged, lists) else {
            return Err(unusable("its columns are not those of replicates".to_string()));
        };
        let Some(values) = lists.values().as_primitive_opt::<Float64Type>() else {
            return Err(unusable("its estimates are no numbers".to_string()));
        };
        let offsets = lists.offsets().clone();
        self.batch = Some((RefitBatch { converged: converged.clone(), offsets, values: values.clone() }, 0));
        Ok(true)
    }

    /// Returns the good ones of a fit's refits.
    fn good(&mut self, count: usize) -> Result<GoodRefits, Error> {
        let mut good = GoodRefits::default();
        let mut seen = 0;
        while seen < count {
            if let Some((RefitBatch { converged, offsets, values }, used)) = &mut self.batch {
                while seen < count && *used < converged.len() {
                    if converged.is_valid(*used) && converged.value(*used) {
                        let (from, to) = (offsets[*used] as usize, offsets[*used + 1] as usize);
                        good.rows.extend_from_slice(&values.values()[from..to]);
                        good.numbers.push(seen as u32);
                    }
                    (seen, *used) = (seen + 1, *used + 1);
                }
            }
            if seen < count && !self.read()? {
                let reason = "it has fewer rows than fits.parquet says".to_string();
                return Err(Error::UnusableResult { path: self.path.display().to_string(), reason });
            }
        }
        Ok(good)
    }

    /// Checks that all rows are used.
    fn end(&mut self) -> Result<(), Error> {
        let left = self.batch.take().is_some_and(|(batch, used)| used < batch.converged.len());
        if left || self.read()? {
            let reason = "it has more rows than fits.parquet says".to_string();
            return Err(Error::UnusableResult { path: self.path.display().to_string(), reason });
        }
        Ok(())
    }
}

impl Iterator for Refits<'_> {
    type Item = Result<(usize, GoodRefits), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.as_ref()?;
        let item = match self.expected.next() {
            Some((fit, count)) => self.good(count).map(|good| (fit, good)),
            None => {
                let end = self.end();
                self.batches = None;
                return end.err().map(Err);
            }
        };
        if item.is_err() {
            self.batches = None;
        }
        Some(item)
    }
}

/// Returns the numbers of a list; NaN for null.
fn numbers(lists: &ListArray, row: usize) -> Vec<f64> {
    if lists.is_null(row) {
        return Vec::new();
    }
    let values = lists.value(row);
    values.as_primitive_opt::<Float64Type>().map_or_else(Vec::new, |values| {
        (0..values.len()).map(|i| if values.is_null(i) { f64::NAN } else { values.value(i) }).collect()
    })
}

/// Returns the covariance in a row of its table; none where it is not known.
fn covariance_of(table: &RecordBatch, row: usize, law: &Law) -> Option<ParameterCovariance> {
    let list = |column: &str| table.column_by_name(column)?.as_list_opt::<i32>();
    let texts = |column: &str| -> Option<Vec<String>> {
        let values = list(column)?.value(row);
        Some(values.as_string_opt::<i32>()?.iter().flatten().map(str::to_string).collect())
    };
    let parameters: Vec<usize> =
        texts("parameters")?.iter().map(|name| law.parameter(name)).collect::<Option<_>>()?;
    if parameters.is_empty() {
        return None;
    }
    let scale = |text: &String| if text == "log" { Scale::Log } else { Scale::Linear };
    Some(ParameterCovariance {
        parameters,
        scales: texts("transform")?.iter().map(scale).collect(),
        covariance: numbers(list("covariance")?, row),
        trace: numbers(list("freedom_trace")?, row),
        products: numbers(list("freedom_products")?, row),
    })
}

/// Returns a table as one batch, of all columns or of some.
pub(super) fn read_table(
    directory: &Path,
    table: &TableSpec,
    columns: Option<&[&str]>,
) -> Result<RecordBatch, Error> {
    let path = directory.join(format!("{}.parquet", table.name));
    let unusable = |reason: String| Error::UnusableResult { path: path.display().to_string(), reason };
    open_table(directory, table, columns)?.all().map_err(|error| unusable(error.to_string()))
}

/// Opens a table, with all columns or with some.
pub(super) fn open_table(
    directory: &Path,
    table: &TableSpec,
    columns: Option<&[&str]>,
) -> Result<TableBatches, Error> {
    let path = directory.join(format!("{}.parquet", table.name));
    let shown = path.display().to_string();
    TableBatches::open(path, columns).map_err(|reason| Error::UnusableResult { path: shown, reason })
}
