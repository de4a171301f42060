//! Jobs on data in memory: what they give is what the program gives for the same rows in files.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use common::program::{Table, fit};
use common::{Folder, floats, strings};
use sweepfit::{
    Catalogue, Control, Error, ErrorKind, Job, KeepReplicates, Memory, Progress, Resample, Setting, Status,
    Tables, run,
};

/// Two sweeps of a shifted power law with weights, standard deviations and clusters, rows mixed.
fn rows() -> RecordBatch {
    let n = 48;
    let column = |f: &dyn Fn(usize) -> f64| floats(&(0..n).map(f).collect::<Vec<_>>());
    let x = |i: usize| 1.0 + (i * 7 % 24) as f64;
    let noise = |i: usize| 1.0 + 0.01 * (78.233 * i as f64).sin();
    let keys: Vec<&str> = (0..n).map(|i| ["a", "b"][i * 5 / 3 % 2]).collect();
    RecordBatch::try_from_iter([
        ("run", strings(&keys)),
        ("x", column(&x)),
        ("y", column(&|i| (0.5 + 2.0 / x(i).powf(0.8)) * noise(i))),
        ("w", column(&|i| 1.0 + (i % 3) as f64)),
        ("s", column(&|i| 0.01 + 0.002 * (i % 4) as f64)),
        ("c", column(&|i| (i % 7) as f64)),
    ])
    .expect("a batch")
}

fn job() -> Job {
    Job {
        by: vec!["run".into()],
        weight: Some("w".into()),
        sigma: Some("s".into()),
        absolute_sigma: true,
        resample: Resample::Cluster("c".into()),
        bootstrap: 60,
        keep_replicates: KeepReplicates::Always,
        residuals: true,
        ..Job::new("y ~ e + b*x^(-c1) where e >= 0, b > 0")
    }
}

fn table(tables: &Tables, name: &str) -> Table {
    let schema = tables.schema(name).expect("a table");
    Table(concat_batches(&schema, tables.rows(name).expect("rows")).expect("one batch"))
}

/// Fits the same rows from a file with the program.
#[test]
fn batches_give_the_bits_that_files_give() {
    let batch = rows();
    let folder = Folder::new();
    let columns: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .zip(batch.columns().iter().cloned())
        .collect();
    let columns: Vec<_> = columns.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    folder.write("a.parquet", &columns);
    let expected = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &[
            &[
                "--by",
                "run",
                "--law",
                "y ~ e + b*x^(-c1) where e >= 0, b > 0",
                "--weight",
                "w",
                "--sigma",
                "s",
            ],
            &["--absolute-sigma", "--resample", "cluster:c", "--bootstrap", "60", "--keep-replicates"][..],
            &["--residuals"],
        ]
        .concat(),
    );
    // In three batches, on one thread.
    let pieces = [(0, 10), (10, 1), (11, 37)].map(|(start, length)| batch.slice(start, length));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let found = pool
        .install(|| job().fit_batches(batch.schema(), pieces.to_vec(), &Control::default()))
        .expect("tables");
    for (name, expected) in [
        ("fits", &expected.fits),
        ("coefficients", &expected.coefficients),
        ("replicates", expected.replicates.as_ref().expect("replicates")),
    ] {
        let found = table(&found, name);
        for (field, (found, expected)) in
            found.0.schema().fields().iter().zip(found.0.columns().iter().zip(expected.0.columns()))
        {
            // Parquet calls the items of lists by another name.
            let items = |column: &ArrayRef| column.as_list_opt::<i32>().map(|list| Arc::clone(list.values()));
            match (items(found), items(expected)) {
                (Some(found), Some(expected)) => assert_eq!(&found, &expected, "{name} {field}"),
                _ => assert_eq!(found, expected, "{name} {field}"),
            }
        }
        assert_eq!(found.0.num_columns(), expected.0.num_columns(), "{name}");
    }
    assert_eq!(table(&found, "rejected").rows(), 0);
    let residuals = expected.residuals.expect("residuals");
    for column in ["row", "x", "response", "prediction", "residual", "weight", "leverage"] {
        assert_eq!(table(&found, "residuals").column(column), residuals.column(column), "{column}");
    }
    assert!(table(&found, "residuals").texts("file").iter().all(|name| name == "memory"));
}

/// The only sweep of columns is what a job without keys makes of the same rows; `predict` is the fit's own prediction.
#[test]
fn columns_are_one_sweep() {
    let batch = rows();
    let values = |name: &str| Table(batch.clone()).floats(name);
    let (x, y, w, s, c) = (values("x"), values("y"), values("w"), values("s"), values("c"));
    let job = Job { by: Vec::new(), ..job() };
    let fit = job.fit(&[("x", &x), ("y", &y), ("w", &w), ("s", &s), ("c", &c)]).expect("a fit");
    let tables = job.fit_batches(batch.schema(), vec![batch.clone()], &Control::default()).expect("tables");
    let coefficients = table(&tables, "coefficients");
    for (i, estimate) in fit.estimates.iter().enumerate() {
        let (low, high) = estimate.interval.expect("an interval");
        let of = |column: &str| coefficients.floats(column)[i];
        assert_eq!(estimate.estimate, of("estimate"));
        assert_eq!(estimate.std_error, Some(of("std_error")));
        assert_eq!(estimate.bootstrap_std_error, Some(of("bootstrap_std_error")));
        assert_eq!((low, high), (of("ci_low"), of("ci_high")));
    }
    assert_eq!(fit.replicates.as_ref().map(sweepfit::Replicates::len), Some(60));
    // The compiled program and the interpreter differ by rounding.
    let predicted = fit.predict(&[("x", &x)]);
    let residuals = table(&tables, "residuals");
    let rows = residuals.integers("row");
    let predicted = predicted.expect("predictions");
    for (row, expected) in rows.iter().zip(residuals.floats("prediction")) {
        let found = predicted[row.expect("a row") as usize];
        assert!((found / expected - 1.0).abs() < 1e-13, "{found} {expected}");
    }
}

/// Definitions of the job hold in predictions, a law of the catalogue brings its own residual.
#[test]
fn predictions_know_the_jobs_definitions() {
    let n: Vec<f64> = (0..20).map(|i| 1e7 * 1.5f64.powi(i)).collect();
    let flops: Vec<f64> = n.iter().map(|n| 6.0 * n * 20.0 * n).collect();
    let loss: Vec<f64> = n.iter().map(|n| 1.7 + 400.0 / n.powf(0.34)).collect();
    let job = Job {
        lets: vec![("x".into(), "sqrt(flops / 120)".into())],
        response: Some("loss".into()),
        bootstrap: 0,
        ..Job::new("power-offset")
    };
    let fit = job.fit(&[("flops", &flops), ("loss", &loss)]).expect("a fit");
    assert_eq!(fit.status, Status::Converged);
    let predicted = fit.predict(&[("flops", &[6e20])]).expect("a prediction");
    let expected = 1.7 + 400.0 / (6e20f64 / 120.0).sqrt().powf(0.34);
    assert!((predicted[0] / expected - 1.0).abs() < 1e-9, "{predicted:?} {expected}");
    let error = fit.predict(&[("n", &n)]).expect_err("the variable is missing");
    assert!(error.to_string().contains("`x`"), "{error}");
}

/// A definition may take a column's name, and a parameter too: predictions mean what the fit meant.
#[test]
fn predictions_mean_by_a_name_what_the_fit_meant() {
    let x: Vec<f64> = (1..20).map(f64::from).collect();
    let (unit, a) = (vec![2.0; 19], vec![7.0; 19]);
    let y: Vec<f64> = x.iter().map(|x| 3.0 + 0.5 * (x / 2.0)).collect();
    let job = Job {
        lets: vec![("x".into(), "x / unit".into()), ("unused".into(), "y + 1".into())],
        bootstrap: 0,
        ..Job::new("y ~ a + b*x where a in [0, 10]")
    };
    let fit = job.fit(&[("x", &x), ("y", &y), ("unit", &unit), ("a", &a)]).expect("a fit");
    let predicted = fit.predict(&[("x", &x), ("unit", &unit), ("a", &a)]).expect("predictions");
    predicted.iter().zip(&y).for_each(|(found, y)| assert!((found / y - 1.0).abs() < 1e-12, "{found} {y}"));
    // Without what the definition needs there is no prediction, rather than one at another `x`.
    assert!(matches!(fit.predict(&[("x", &x)]), Err(Error::Law { .. })));
}

#[test]
fn what_cannot_be_used_is_said() {
    let (x, y) = ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.5, f64::NAN]);
    let fit = |job: Job| job.fit(&[("x", &x), ("y", &y)]);
    let fitted = fit(Job { bootstrap: 0, ..Job::new("y ~ a + b/x") }).expect("a fit");
    assert_eq!(fitted.rejected.len(), 1);
    assert!(fitted.rejected[0].0 == Some(3) && fitted.rejected[0].1.contains("NaN"), "{:?}", fitted.rejected);

    for (job, setting, word) in [
        (Job { weight: Some("z".into()), ..Job::new("y ~ a + b/x") }, Setting::Weight, "`z`"),
        (Job { confidence: 1.5, ..Job::new("y ~ a + b/x") }, Setting::Confidence, "1.5"),
        (Job { starts: Some(0), ..Job::new("y ~ a + b/x") }, Setting::Starts, "0"),
        (Job { fix: vec![("q".into(), 1.0)], ..Job::new("y ~ a + b/x") }, Setting::Fix, "q"),
        (Job { condition: Some("x >".into()), ..Job::new("y ~ a + b/x") }, Setting::Where, "x >"),
        (Job { min_points: 4, ..Job::new("y ~ a + b/x") }, Setting::MinPoints, "few"),
        (Job::new("y ~ a + "), Setting::Law, "y ~ a + "),
    ] {
        let error = fit(job).expect_err(word);
        let place = match &error {
            Error::Formula { place, .. }
            | Error::Invalid { place, .. }
            | Error::MissingColumn { place, .. } => place,
            other => panic!("{other:?}"),
        };
        assert_eq!((place.setting, error.kind()), (setting, ErrorKind::Invalid), "{error}");
        // A library knows no flags.
        assert!(error.to_string().contains(word) && !error.to_string().contains("--"), "{error}");
    }
    let other = RecordBatch::try_from_iter([("z", floats(&x))]).expect("a batch");
    let error = Memory::new(rows().schema(), vec![rows(), other]).expect_err("two schemas");
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("batch 1"), "{error}");
    let error = Job::new("y ~ a + b/x").fit(&[("x", &x), ("y", &y[..3])]).expect_err("lengths");
    assert!(
        matches!(&error, Error::UnequalColumns { column, rows: 3, expected: 4 } if column == "y"),
        "{error}"
    );
    assert!(
        matches!(Job::new("pwoer").fit(&[]), Err(Error::UnknownLaw { nearest: Some(near), .. }) if near == "power")
    );
}

/// Every sweep is told of once, and a run ends where it is asked to.
#[test]
fn a_caller_follows_a_run_and_ends_it() {
    struct Ending<'a> {
        done: AtomicU64,
        interrupted: &'a AtomicBool,
        after: u64,
    }
    impl Progress for Ending<'_> {
        fn advance(&self, sweeps: u64) {
            let done = self.done.fetch_add(sweeps, Ordering::Relaxed) + sweeps;
            self.interrupted.store(done >= self.after, Ordering::Relaxed);
        }
    }
    let follow = |after: u64| {
        let interrupted = AtomicBool::new(false);
        let ending = Ending { done: AtomicU64::new(0), interrupted: &interrupted, after };
        let control = Control { progress: &ending, interrupted: &interrupted, ..Control::default() };
        let tables = job().fit_batches(rows().schema(), vec![rows()], &control);
        (tables.err(), ending.done.into_inner())
    };
    assert!(matches!(follow(u64::MAX), (None, 2)));
    assert!(matches!(follow(1), (Some(Error::Interrupted), _)));
}

/// The replicates of a single sweep are told of as they are refitted, and the parts of all sweeps add up to their number.
#[test]
fn a_caller_follows_the_replicates_of_a_sweep() {
    #[derive(Default)]
    struct Parts(Mutex<(Vec<f64>, u64)>);
    impl Progress for Parts {
        fn part(&self, sweeps: f64) {
            self.0.lock().expect("a lock").0.push(sweeps);
        }
        fn advance(&self, sweeps: u64) {
            self.0.lock().expect("a lock").1 += sweeps;
        }
    }
    let follow = |job: Job| {
        let (parts, interrupted) = (Parts::default(), AtomicBool::new(false));
        let control = Control { progress: &parts, interrupted: &interrupted, ..Control::default() };
        job.fit_batches(rows().schema(), vec![rows()], &control).expect("a run");
        parts.0.into_inner().expect("a lock")
    };
    let one_sweep = Job { by: Vec::new(), residuals: false, bootstrap: 2000, ..job() };
    let (parts, whole) = follow(one_sweep);
    assert_eq!(whole, 1);
    // Chunks of at most 256 replicates, and the fit itself.
    assert!(parts.len() >= 9, "{parts:?}");
    assert!(parts.iter().all(|part| *part < 0.2), "{parts:?}");
    assert!((parts.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{parts:?}");
    // Without replicates, and where a sweep is rejected, the parts add up all the same.
    for job in [Job { bootstrap: 0, ..job() }, Job { min_points: 1000, ..job() }] {
        let (parts, whole) = follow(job);
        assert_eq!(whole, 2);
        assert!((parts.iter().sum::<f64>() - 2.0).abs() < 1e-9, "{parts:?}");
    }
}

/// A source of the caller's own that counts what is asked of it, on the built-in one.
#[test]
fn a_source_reads_only_what_a_job_needs() {
    use std::collections::HashSet;
    use sweepfit::{Chunk, Fragment, RecordBatches, Source};

    struct Watched(Memory, Mutex<Vec<HashSet<String>>>);
    impl Source for Watched {
        fn fragments(&self) -> &[Fragment] {
            self.0.fragments()
        }
        fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
            self.1.lock().expect("a lock").push(columns.clone());
            self.0.read(fragment, columns)
        }
    }
    let source = Watched(Memory::new(rows().schema(), vec![rows()]).expect("a source"), Mutex::default());
    let job = Job { by: vec!["run".into()], bootstrap: 0, ..Job::new("y ~ a + b/x") };
    let mut records = Chunk::default();
    run(&job, &source, &mut records, &Control::default()).expect("a run");
    assert_eq!(records.records.len(), 2);
    let asked = source.1.into_inner().expect("a lock");
    assert_eq!(asked, [["run", "x", "y"].map(String::from).into_iter().collect::<HashSet<_>>()]);
}

#[test]
fn the_catalogue_is_part_of_the_library() {
    let catalogue = Catalogue::built_in().expect("the catalogue parses");
    let law = catalogue.get("chinchilla").expect("a law");
    assert_eq!(law.variables, ["N", "D"]);
}
