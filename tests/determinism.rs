//! The same command writes the same bits, whatever the threads, the order of the rows and their files; and
//! what one sweep or law gets does not depend on the others in the job.

mod common;

use common::program::{Outcome, Table, assert_close, fit};
use common::{Folder, floats, strings};

const SWEEPS: usize = 9;

/// Rows of several noisy sweeps of Chinchilla's law; every sweep holds one row twice.
fn rows() -> Vec<(String, f64, f64, f64)> {
    let mut rows = Vec::new();
    for s in 0..SWEEPS {
        let (a, b, e) = (300.0 + 40.0 * s as f64, 900.0 - 50.0 * s as f64, 1.5 + 0.05 * s as f64);
        for i in 0..6 {
            for j in 0..5 {
                let n = 2e7 * 3.1_f64.powi(i);
                let d = 6e8 * 3.7_f64.powi(j);
                let noise = (((s as i32 * 31 + i * 7 + j * 13) * 7919 % 101) as f64 / 101.0 - 0.5) * 0.01;
                let loss = (e + a / n.powf(0.33) + b / d.powf(0.31)) * noise.exp();
                rows.push((format!("s{s}"), n, d, loss));
            }
        }
        rows.push(rows[rows.len() - 3].clone());
    }
    rows
}

fn write(folder: &Folder, file: &str, rows: &[(String, f64, f64, f64)]) {
    let sweep: Vec<&str> = rows.iter().map(|r| r.0.as_str()).collect();
    let column = |of: fn(&(String, f64, f64, f64)) -> f64| -> Vec<f64> { rows.iter().map(of).collect() };
    folder.write(
        file,
        &[
            ("sweep", strings(&sweep)),
            ("N", floats(&column(|r| r.1))),
            ("D", floats(&column(|r| r.2))),
            ("loss", floats(&column(|r| r.3))),
        ],
    );
}

/// A permutation without structure.
fn shuffled<T: Clone>(rows: &[T], seed: u64) -> Vec<T> {
    let mut keyed: Vec<(u64, &T)> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ (z >> 27), row)
        })
        .collect();
    keyed.sort_by_key(|(z, _)| *z);
    keyed.into_iter().map(|(_, row)| row.clone()).collect()
}

const JOB: [&str; 9] = [
    "--by",
    "sweep",
    "--law",
    "chinchilla",
    "--bootstrap",
    "60",
    "--keep-replicates",
    "--residuals",
    "--seed=42",
];

/// All tables as bits; residuals as a set, for they are listed in the order of the files.
fn bits(outcome: &Outcome) -> Vec<String> {
    let mut all = outcome.fits.bits();
    all.extend(outcome.coefficients.bits());
    all.extend(outcome.replicates.as_ref().expect("replicates").bits());
    let residuals = outcome.residuals.as_ref().expect("residuals");
    let residuals = residuals.without(&["file", "row"]);
    let mut lines: Vec<String> = (0..residuals.rows())
        .map(|i| {
            // The variables' columns come in the order in which the job's laws name them.
            let mut columns = Table(residuals.0.slice(i, 1)).bits();
            columns.sort();
            columns.join(" ")
        })
        .collect();
    lines.sort();
    all.extend(lines);
    all
}

#[track_caller]
fn assert_same(what: &str, one: &[String], other: &[String]) {
    assert_eq!(one.len(), other.len(), "{what}");
    for (a, b) in one.iter().zip(other) {
        assert_eq!(a, b, "{what}");
    }
}

#[test]
fn threads_do_not_matter() {
    let folder = Folder::new();
    write(&folder, "in/a.parquet", &rows());
    let run = |threads: &str| {
        let arguments = [&JOB[..], &["--threads", threads]].concat();
        bits(&fit(&folder.path("in"), &folder.path(threads), &arguments))
    };
    let one = run("1");
    assert_same("2 threads", &one, &run("2"));
    assert_same("5 threads", &one, &run("5"));
}

/// Sweeps that are long enough for threads to share one evaluation of them.
#[test]
fn threads_that_share_a_sweep_do_not_matter() {
    let folder = Folder::new();
    let few = rows();
    let many: Vec<(String, f64, f64, f64)> = (0..3 * 20_000)
        .map(|i| {
            let (sweep, n, d, loss) = few[i * 7 % few.len()].clone();
            let stretch = 1.0 + (i / few.len()) as f64 * 1e-3;
            (format!("{}-{}", &sweep[..1], i % 3), n * stretch, d / stretch, loss)
        })
        .collect();
    write(&folder, "in/a.parquet", &many);
    for loss in ["l2", "huber:1e-3"] {
        let run = |threads: &str| {
            let job = ["--by", "sweep", "--law", "chinchilla", "--keep-replicates", "--residuals"];
            let more = ["--bootstrap", "6", "--loss", loss, "--threads", threads];
            let out = format!("{loss}-{threads}");
            bits(&fit(&folder.path("in"), &folder.path(&out), &[&job[..], &more].concat()))
        };
        let one = run("1");
        assert_same("2 threads", &one, &run("2"));
        assert_same("5 threads", &one, &run("5"));
    }
}

#[test]
fn neither_do_runs() {
    let folder = Folder::new();
    write(&folder, "in/a.parquet", &rows());
    let run = |out: &str| bits(&fit(&folder.path("in"), &folder.path(out), &JOB));
    assert_same("again", &run("first"), &run("second"));
}

#[test]
fn order_and_files_do_not_matter() {
    let folder = Folder::new();
    let rows = rows();
    write(&folder, "whole/a.parquet", &rows);
    write(&folder, "shuffled/a.parquet", &shuffled(&rows, 1));
    let other = shuffled(&rows, 2);
    for (i, part) in other.chunks(100).enumerate() {
        write(&folder, &format!("split/deep/part-{}.parquet", 9 - i), part);
    }
    let run = |input: &str| bits(&fit(&folder.path(input), &folder.path(&format!("out-{input}")), &JOB));
    let whole = run("whole");
    assert_same("shuffled", &whole, &run("shuffled"));
    assert_same("split", &whole, &run("split"));
}

/// Clusters are drawn by what they are called, not by where they stand.
#[test]
fn clusters_are_drawn_alike_in_any_order() {
    let folder = Folder::new();
    let rows = rows();
    write(&folder, "whole.parquet", &rows);
    write(&folder, "shuffled.parquet", &shuffled(&rows, 7));
    let job = [&JOB[..], &["--resample", "cluster:N"]].concat();
    let run = |name: &str| {
        let input = folder.path(&format!("{name}.parquet"));
        bits(&fit(&input, &folder.path(name), &job))
    };
    assert_same("shuffled", &run("whole"), &run("shuffled"));
}

#[test]
fn other_sweeps_do_not_matter() {
    let folder = Folder::new();
    write(&folder, "a.parquet", &rows());
    let input = folder.path("a.parquet");
    let all = fit(&input, &folder.path("all"), &JOB);
    let one = fit(&input, &folder.path("one"), &[&JOB[..], &["--where", "sweep = 's4'"]].concat());
    let part = Outcome {
        fits: all.fits.only("sweep", "s4"),
        coefficients: all.coefficients.only("sweep", "s4"),
        rejected: all.rejected.clone(),
        replicates: all.replicates.map(|t| t.only("sweep", "s4")),
        residuals: all.residuals.map(|t| t.only("sweep", "s4")),
        manifest: all.manifest,
    };
    assert_eq!(one.fits.rows(), 1);
    assert_same("one sweep", &bits(&part), &bits(&one));
}

#[test]
fn other_laws_do_not_matter() {
    let folder = Folder::new();
    write(&folder, "a.parquet", &rows());
    let input = folder.path("a.parquet");
    let alone = fit(&input, &folder.path("alone"), &JOB);
    let second = "loss ~ e + k/D^p where e > 0, k > 0, p in [0, 2]";
    let arguments = [&["--law", second], &JOB[..], &["--law", "multiplicative"]].concat();
    let with = fit(&input, &folder.path("with"), &arguments);
    assert_eq!(with.fits.rows(), 3 * SWEEPS);
    let part = Outcome {
        fits: with.fits.only("law", "chinchilla"),
        coefficients: with.coefficients.only("law", "chinchilla"),
        rejected: with.rejected.clone(),
        replicates: with.replicates.map(|t| t.only("law", "chinchilla")),
        residuals: with.residuals.map(|t| t.only("law", "chinchilla")),
        manifest: with.manifest,
    };
    assert_same("with other laws", &bits(&alone), &bits(&part));
}

/// A law and its twin under other names are refitted to the same replicates.
#[test]
fn twins_draw_the_same_rows() {
    let folder = Folder::new();
    write(&folder, "a.parquet", &rows());
    // The names sort in another order than the law's own.
    let twin = "loss ~ z + y/N^x + w/D^v where z > 0, y > 0, w > 0, x in [0, 2], v in [0, 2]";
    let arguments = [&JOB[..], &["--law", twin, "--residual", "log", "--loss", "huber:1e-3"]].concat();
    let outcome = fit(&folder.path("a.parquet"), &folder.path("out"), &arguments);
    let replicates = outcome.replicates.expect("replicates");
    let (own, theirs) = (replicates.only("law", "chinchilla"), replicates.only("law", twin));
    assert_eq!((own.rows(), theirs.rows()), (60 * SWEEPS, 60 * SWEEPS));
    let (a, b) = (own.floats("objective"), theirs.floats("objective"));
    for i in 0..own.rows() {
        assert_close("objective of a replicate", b[i], a[i], 1e-9);
    }
}

/// Laws of other responses, whose rows sort the other way round, draw the same rows too.
#[test]
fn responses_that_sort_otherwise_draw_the_same_rows() {
    let folder = Folder::new();
    let y: Vec<f64> = (0..17).map(|i| f64::from((i * 29) % 17) + 0.25).collect();
    let minus: Vec<f64> = y.iter().map(|y| -y).collect();
    folder.write("a.parquet", &[("one", floats(&[1.0; 17])), ("up", floats(&y)), ("down", floats(&minus))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--law", "up ~ m*one", "--law", "down ~ m*one", "--bootstrap", "100", "--keep-replicates"],
    );
    let replicates = outcome.replicates.expect("replicates");
    let mean = |law: &str| -> Vec<f64> {
        replicates.only("law", law).lists("estimates").iter().map(|e| e[0]).collect()
    };
    let (up, down) = (mean("up ~ m*one"), mean("down ~ m*one"));
    assert_eq!(up.len(), 100);
    for (a, b) in up.iter().zip(&down) {
        // Means of 17 drawn values are 17ths of integers, so the draws can be told apart.
        assert_close("mean of a replicate", -b, *a, 1e-12);
    }
    let distinct: std::collections::BTreeSet<i64> =
        up.iter().map(|m| (m * 17.0 * 4.0).round() as i64).collect();
    assert!(distinct.len() > 30);
}

#[test]
fn the_seed_decides_the_draws() {
    let folder = Folder::new();
    write(&folder, "a.parquet", &rows());
    let run = |seed: &str| {
        let arguments = [
            "--by",
            "sweep",
            "--law",
            "chinchilla",
            "--bootstrap",
            "20",
            "--keep-replicates",
            "--seed",
            seed,
        ];
        fit(&folder.path("a.parquet"), &folder.path(seed), &arguments)
    };
    let (one, other) = (run("1"), run("18446744073709551615"));
    let objectives = |o: &Outcome| o.replicates.as_ref().expect("some").floats("objective");
    assert_ne!(objectives(&one), objectives(&other));
    // Starts are others too, and lead to the same estimates.
    for (column, a, b) in
        [("objective", &one.fits, &other.fits), ("estimate", &one.coefficients, &other.coefficients)]
    {
        for (a, b) in a.floats(column).iter().zip(b.floats(column)) {
            assert_close(column, b, *a, 1e-7);
        }
    }
    // Sweeps draw apart from each other.
    let first: Vec<f64> = objectives(&one);
    assert_ne!(first[..20], first[20..40]);
}
