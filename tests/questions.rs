//! Questions to a kept result: predictions and frontiers agree with what the tables of the result say.

mod common;

use common::program::{Outcome, Table, fit, program, shared_data, text};
use common::{Folder, floats};

/// Runs of Chinchilla's law with noise, 48 of them.
fn runs(folder: &Folder) -> String {
    let mut state = 5_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut n, mut d, mut loss) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..48 {
        let (size, tokens) = (1e8 * 4f64.powi(i % 6), 2e9 * 3f64.powi(i / 6));
        let noise = (0..6).map(|_| 0.01 * (uniform() - 0.5)).sum::<f64>();
        n.push(size);
        d.push(tokens);
        loss.push((1.69 + 406.4 / size.powf(0.34) + 410.7 / tokens.powf(0.28)) * noise.exp());
    }
    folder.write("in.parquet", &[("N", floats(&n)), ("D", floats(&d)), ("loss", floats(&loss))]);
    folder.path("in.parquet")
}

/// Asks a result and returns the answer as a table.
fn ask(folder: &Folder, arguments: &[&str]) -> Table {
    let out = folder.path("answer.parquet");
    let all = [arguments, &["--out", &out]].concat();
    let output = program(&all);
    assert!(output.status.success(), "{all:?}: {}", String::from_utf8_lossy(&output.stderr));
    Table::read(out.as_ref())
}

fn chinchilla(parameters: &[f64], n: f64, d: f64) -> f64 {
    let [e, a, alpha, b, beta] = parameters else { panic!("{parameters:?}") };
    e + a / n.powf(*alpha) + b / d.powf(*beta)
}

/// The percentile of definition 7 of Hyndman & Fan (1996).
fn percentile(values: &mut [f64], probability: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = probability * (values.len() - 1) as f64;
    let below = place.floor() as usize;
    values[below] + (place - place.floor()) * (values[(below + 1).min(values.len() - 1)] - values[below])
}

fn close(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{name}: {found} for {expected}");
}

/// From kept replicates, predictions and derived quantities have the percentiles of their values in the replicates, and a
/// question asked at fit time and of the result gives the same.
#[test]
fn intervals_are_percentiles_of_the_replicates() {
    let folder = Folder::new();
    let out = folder.path("out");
    let derive = ["--derive", "q=E + A/7e10^alpha + B/1.4e12^beta", "--derive", "a=beta/(alpha+beta)"];
    let outcome =
        fit(&runs(&folder), &out, &[&["--law", "chinchilla", "--bootstrap", "400"][..], &derive].concat());
    let answer = ask(&folder, &["predict", &out, "--at", "N=7e10, D=1.4e12"]);
    let parameters = outcome.coefficients.floats("estimate");
    close("prediction", answer.floats("prediction")[0], chinchilla(&parameters, 7e10, 1.4e12), 1e-12);
    let rows = outcome.good_replicates();
    assert!(rows.len() > 390);
    let mut predictions: Vec<f64> = rows.iter().map(|row| chinchilla(row, 7e10, 1.4e12)).collect();
    close("ci_low", answer.floats("ci_low")[0], percentile(&mut predictions, 0.025), 1e-12);
    close("ci_high", answer.floats("ci_high")[0], percentile(&mut predictions, 0.975), 1e-12);
    assert_eq!(answer.texts("ci_method"), ["percentile"]);
    // 7e10 lies within the sizes, up to 1e8·4⁵; 1.4e12 within the tokens, up to 2e9·3⁷. Of 8e12 that is not so.
    assert_eq!(answer.floats("extrapolation"), [1.0]);
    let beyond = ask(&folder, &["predict", &out, "--at", "N=7e10, D=8e12"]);
    close("extrapolation", beyond.floats("extrapolation")[0], 8e12 / (2e9 * 2187.0), 1e-12);

    let derived = Table::read(format!("{out}/derived.parquet").as_ref());
    assert_eq!(derived.texts("quantity"), ["q", "a"]);
    close("q", derived.floats("ci_low")[0], answer.floats("ci_low")[0], 1e-12);
    close("q", derived.floats("ci_high")[0], answer.floats("ci_high")[0], 1e-12);
    let mut shares: Vec<f64> = rows.iter().map(|row| row[4] / (row[2] + row[4])).collect();
    close("a", derived.floats("ci_low")[1], percentile(&mut shares, 0.025), 1e-12);
}

/// From the covariance, a positive parameter as a derived quantity has the parameter's own interval and standard error, and
/// the prediction of a kept result is the derived quantity of the fit.
#[test]
fn intervals_follow_from_the_covariance() {
    let folder = Folder::new();
    let out = folder.path("out");
    let derive = ["--derive", "q=E + A/7e10^alpha + B/1.4e12^beta", "--derive", "b=B"];
    let arguments =
        [&["--law", "chinchilla", "--loss", "l2", "--bootstrap", "0", "--covariance"][..], &derive].concat();
    let outcome = fit(&runs(&folder), &out, &arguments);
    let derived = Table::read(format!("{out}/derived.parquet").as_ref());
    for column in ["ci_low", "ci_high"] {
        close(column, derived.floats(column)[1], outcome.of_parameter("B", column), 1e-9);
    }
    let answer = ask(&folder, &["predict", &out, "--at", "N=7e10, D=20*N"]);
    for column in ["ci_low", "ci_high"] {
        close(column, answer.floats(column)[0], derived.floats(column)[0], 1e-9);
    }
    assert_eq!(answer.texts("ci_method"), ["t"]);
    // A new run's interval contains the law's, and its sides are combined in squares on the logarithmic scale.
    let margin = outcome.fits.floats("new_run_margin")[0];
    let [low, high, centre] = ["ci_low", "ci_high", "prediction"].map(|column| answer.floats(column)[0].ln());
    close("pi_low", centre - answer.floats("pi_low")[0].ln(), (centre - low).hypot(margin), 1e-9);
    close("pi_high", answer.floats("pi_high")[0].ln() - centre, (high - centre).hypot(margin), 1e-9);
    // The residual standard deviation and t with 43 degrees of freedom, `scipy.stats.t.ppf(0.975, 43)`.
    let objective = outcome.only("objective");
    close("margin", margin, 2.016_692_199_227_824 * (2.0 * objective / 43.0).sqrt(), 1e-9);
}

/// The frontier is Hoffmann et al.'s closed form at the estimates, and its intervals are percentiles of the closed form in
/// the replicates.
#[test]
fn frontier_is_the_closed_form() {
    let folder = Folder::new();
    let out = folder.path("out");
    let outcome = fit(&runs(&folder), &out, &["--law", "chinchilla", "--bootstrap", "200"]);
    let answer = ask(&folder, &["frontier", &out, "--budget", "1e22,1e25"]);
    let sizes = |row: &[f64], budget: f64| {
        let [_, a, alpha, b, beta] = row else { panic!("{row:?}") };
        (alpha * a / (beta * b)).powf(1.0 / (alpha + beta)) * (budget / 6.0).powf(beta / (alpha + beta))
    };
    let parameters = outcome.coefficients.floats("estimate");
    let replicates = outcome.replicates.as_ref().expect("kept by default");
    let rows: Vec<Vec<f64>> = replicates
        .lists("estimates")
        .into_iter()
        .zip(replicates.bools("converged"))
        .filter(|(_, good)| *good)
        .map(|(row, _)| row)
        .collect();
    for (k, budget) in [1e22, 1e25].into_iter().enumerate() {
        let n = sizes(&parameters, budget);
        let d = budget / 6.0 / n;
        close("N", answer.floats("N")[k], n, 1e-9);
        close("D", answer.floats("D")[k], d, 1e-9);
        close("prediction", answer.floats("prediction")[k], chinchilla(&parameters, n, d), 1e-12);
        close("tokens", answer.floats("tokens_per_parameter")[k], d / n, 1e-9);
        let mut optima: Vec<f64> = rows.iter().map(|row| sizes(row, budget).ln()).collect();
        close("N_low", answer.floats("N_low")[k], percentile(&mut optima, 0.025).exp(), 1e-9);
        close("N_high", answer.floats("N_high")[k], percentile(&mut optima, 0.975).exp(), 1e-9);
        close(
            "exponent",
            answer.floats("N_exponent")[k],
            parameters[4] / (parameters[2] + parameters[4]),
            1e-9,
        );
    }
    assert_eq!(answer.texts("status"), ["optimal", "optimal"]);
    // The cost of what a budget reaches is that budget.
    let reached = answer.floats("prediction")[0].to_string();
    let back = ask(&folder, &["frontier", &out, "--target", &format!("{reached},1.5")]);
    close("cost", back.floats("cost")[0], 1e22, 1e-9);
    assert_eq!(back.texts("status"), ["optimal", "unreachable"]);
    assert!(back.texts("message")[1].starts_with("the floor E = 1."), "{:?}", back.texts("message"));
}

/// Published of the 240 observations (Besiroglu et al. 2024) and recomputed: a = 0.5139 with standard error 0.0196 (pairs),
/// 0.0206 and 0.0360 (two kinds of clusters); 17.92 tokens per parameter at 5.76e23 FLOP. Monte-Carlo error of 2,000
/// replicates is 1.6 %, and as much in the published numbers.
#[test]
fn the_chinchilla_refit_has_its_published_answers() {
    let Some(path) = shared_data("chinchilla_epoch.parquet") else { return };
    let folder = Folder::new();
    for (resample, error) in
        [("pairs", 0.0196), ("cluster:size_cluster", 0.0206), ("cluster:budget_cluster", 0.0360)]
    {
        let out = folder.path("out");
        let arguments = [
            "--where",
            "kept",
            "--law",
            "chinchilla",
            "--loss",
            "huber:1e-3",
            "--bootstrap",
            "2000",
            "--resample",
            resample,
            "--derive",
            "a=beta/(alpha+beta)",
            "--overwrite",
        ];
        fit(&text(&path), &out, &arguments);
        let derived = Table::read(format!("{out}/derived.parquet").as_ref());
        close("a", derived.floats("estimate")[0], 0.5139, 1e-5);
        close(resample, derived.floats("std_error")[0], error, 0.06);
        let answer = ask(&folder, &["frontier", &out, "--budget", "5.76e23"]);
        close("tokens", answer.floats("tokens_per_parameter")[0], 17.92, 5e-4);
    }
}

/// What cannot be answered says why, and ends with status 2.
#[test]
fn questions_that_cannot_be_answered_say_why() {
    let folder = Folder::new();
    let out = folder.path("out");
    fit(&runs(&folder), &out, &["--law", "chinchilla", "--bootstrap", "0"]);
    for (arguments, reason) in [
        (&["predict", &out, "--at", "M=1"][..], "no law has this variable"),
        (&["predict", &out, "--at", "N=1..2"], "LOW..HIGH:COUNT"),
        (&["predict", &folder.path("nowhere"), "--at", "N=1"], "manifest.json"),
        (&["predict", &out, "--at", "N=1, D=1", "--law", "kaplan-nd"], "no such law"),
        (&["predict", &out, "--at", "N=1, D=1", "--where", "family = 'a'"], "family"),
        (&["frontier", &out, "--budget=-1"], "positive"),
        (&["frontier", &out, "--budget", "1e22", "--cost", "6*N"], "does not depend on `D`"),
        (&["frontier", &out, "--budget", "1e22", "--cost", "6*N*D*U"], "`U` is no variable"),
        (&["frontier", &out, "--budget", "1e22", "--hold", "U=1"], "no law has this variable"),
        (
            &["predict", &out, "--at", "N=1, D=1", "--out", &folder.path("answer.txt")],
            ".parquet, .csv or .json",
        ),
    ] {
        let output = program(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
    }
    // Without replicates and covariance there is an answer without an interval.
    let answer = ask(&folder, &["predict", &out, "--at", "N=1e9, D=2e10"]);
    assert!(answer.floats("ci_low")[0].is_nan() && answer.texts("message")[0].contains("--covariance"));
    let outcome = Outcome::of(&out);
    close(
        "prediction",
        answer.floats("prediction")[0],
        chinchilla(&outcome.coefficients.floats("estimate"), 1e9, 2e10),
        1e-12,
    );
}

/// A law with noise of known size: the intervals of its own job, simulated, contain the truth as often as they say, within
/// three standard errors, and `show` prints the fit in full.
#[test]
fn a_result_is_shown_and_its_coverage_simulated() {
    let folder = Folder::new();
    let out = folder.path("out");
    let arguments =
        ["--law", "chinchilla", "--loss", "l2", "--bootstrap", "0", "--residuals", "--covariance"];
    fit(&runs(&folder), &out, &arguments);
    let answer = ask(&folder, &["coverage", &out, "--sweeps", "400", "--noise", "normal"]);
    assert_eq!(answer.texts("quantity"), ["E", "A", "alpha", "B", "beta"]);
    for (quantity, coverage) in answer.texts("quantity").iter().zip(answer.floats("coverage")) {
        assert!((0.917..=0.983).contains(&coverage), "{quantity}: {coverage}");
    }
    let shown = program(&["show", &out]);
    let text = String::from_utf8(shown.stdout).expect("UTF-8");
    for part in ["loss ~ 1.", "converged", "95 % low", "A and alpha are correlated", "log10 N"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// The multiplier is the baseline's cost of the same loss over the budget; of the baseline itself it is one, replicate by
/// replicate.
#[test]
fn the_multiplier_compares_costs_of_the_same_loss() {
    let folder = Folder::new();
    let (mut run, mut n, mut d, mut loss) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, factor) in [("a", 1.0), ("b", 0.9)] {
        for i in 0..36 {
            let (size, tokens) = (1e8 * 4f64.powi(i % 6), 2e9 * 3f64.powi(i / 6));
            let noise = 0.004 * [1.0, -0.5, 0.3, -0.9, 0.6, -0.2, 0.8][(i as usize * 5) % 7];
            run.push(name);
            n.push(size);
            d.push(tokens);
            loss.push(
                (1.69 + factor * (406.4 / size.powf(0.34) + 410.7 / tokens.powf(0.28))) * f64::exp(noise),
            );
        }
    }
    let columns =
        [("run", common::strings(&run)), ("N", floats(&n)), ("D", floats(&d)), ("loss", floats(&loss))];
    folder.write("in.parquet", &columns);
    let out = folder.path("out");
    fit(&folder.path("in.parquet"), &out, &["--by", "run", "--law", "chinchilla", "--bootstrap", "100"]);
    let question = ["frontier", &out, "--budget", "1e22"];
    let answer = ask(&folder, &[&question[..], &["--relative-to", "run = 'a'"]].concat());
    assert_eq!(answer.texts("run"), ["a", "b"]);
    let multiplier = answer.floats("multiplier");
    for column in ["multiplier", "multiplier_low", "multiplier_high"] {
        close(column, answer.floats(column)[0], 1.0, 1e-9);
    }
    let reached = answer.floats("prediction")[1].to_string();
    let of_a = ask(&folder, &["frontier", &out, "--target", &reached, "--where", "run = 'a'"]);
    close("multiplier", multiplier[1], of_a.floats("cost")[0] / 1e22, 1e-9);
    assert!(
        answer.floats("multiplier_low")[1] < multiplier[1]
            && multiplier[1] < answer.floats("multiplier_high")[1]
    );
    let refused = program(&[&question[..], &["--relative-to", "run = 'c'"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("one sweep is to be the baseline"));
}

/// Questions at fit time are answered in the result's directory as the kept result answers them, from the covariance where no
/// replicates are kept; what cannot be asked is refused before anything is fitted.
#[test]
fn a_run_answers_its_questions() {
    let folder = Folder::new();
    let (input, out) = (runs(&folder), folder.path("out"));
    let questions = ["--at", "N=7e10, D=20*N", "--budget", "1e22,1e25", "--target", "2"];
    for more in [&["--bootstrap", "0"][..], &["--bootstrap", "50"]] {
        let arguments =
            [&["--law", "chinchilla", "--loss", "l2", "--overwrite"][..], &questions, more].concat();
        fit(&input, &out, &arguments);
        for (table, question) in [
            ("predictions", &["predict", out.as_str(), "--at", "N=7e10, D=20*N"][..]),
            ("frontier", &["frontier", &out, "--budget", "1e22,1e25", "--target", "2"]),
        ] {
            let written = Table::read(format!("{out}/{table}.parquet").as_ref());
            let asked = ask(&folder, question);
            // The metadata of the file in the result holds the job.
            assert_eq!(written.0.columns(), asked.0.columns(), "{table}");
            assert!(written.floats("ci_low").iter().all(|x| x.is_finite()), "{table} {more:?}");
        }
    }
    let refused =
        program(&["fit", &input, "--out", &out, "--law", "chinchilla", "--overwrite", "--at", "M=1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no law has this variable"));
    // A run without questions replaces the answers of an earlier one.
    fit(&input, &out, &["--law", "chinchilla", "--bootstrap", "0", "--overwrite"]);
    assert!(!std::path::Path::new(&format!("{out}/predictions.parquet")).exists());
}

/// The refits of a jackknife differ from the estimate by far less than other samples would: a question has the interval of
/// the covariance, as the derived quantity of the fit.
#[test]
fn a_jackknife_is_no_distribution() {
    let folder = Folder::new();
    let out = folder.path("out");
    let derive = ["--derive", "q=E + A/7e10^alpha + B/1.4e12^beta", "--at", "N=7e10, D=1.4e12"];
    let scheme = ["--law", "chinchilla", "--resample", "jackknife", "--keep-replicates", "always"];
    fit(&runs(&folder), &out, &[&scheme[..], &derive].concat());
    let derived = Table::read(format!("{out}/derived.parquet").as_ref());
    let at_fit = Table::read(format!("{out}/predictions.parquet").as_ref());
    let kept = ask(&folder, &["predict", &out, "--at", "N=7e10, D=1.4e12"]);
    assert_eq!(derived.texts("ci_method"), ["t"]);
    for answer in [at_fit, kept] {
        assert_eq!(answer.texts("ci_method"), ["t"]);
        for column in ["ci_low", "ci_high"] {
            close(column, answer.floats(column)[0], derived.floats(column)[0], 1e-9);
        }
    }
}

/// A line whose noise is shared by twelve clusters of five and has a known σ that differs between observations. Simulated with
/// its clusters and σ, the job's own intervals hold within three standard errors; of the same data without clusters, whose noise
/// then is independent, they are a good deal shorter: a shared share of ρ lengthens those of a mean by √(1 + 4ρ).
#[test]
fn simulated_sweeps_keep_clusters_and_sigma() {
    let folder = Folder::new();
    let mut state = 17_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let (mut x, mut y, mut s, mut g) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for cluster in 0..12 {
        let shared: f64 = (0..6).map(|_| uniform()).sum();
        for i in 0..5 {
            let (at, sigma) = (f64::from(cluster), f64::from(1 + i % 2));
            let own: f64 = (0..6).map(|_| uniform()).sum();
            x.push(at);
            y.push(3.0 + 2.0 * at + sigma * (0.9 * shared + 0.4 * own));
            s.push(sigma);
            g.push(at);
        }
    }
    let columns = [("x", floats(&x)), ("y", floats(&y)), ("s", floats(&s)), ("g", floats(&g))];
    folder.write("in.parquet", &columns);
    let input = folder.path("in.parquet");
    let widths = |name: &str, resample: &[&str]| {
        let out = folder.path(name);
        let job = ["--law", "y ~ a + b*x", "--sigma", "s", "--bootstrap", "0", "--residuals"];
        fit(&input, &out, &[&job[..], resample].concat());
        let answer = ask(&folder, &["coverage", &out, "--sweeps", "600", "--noise", "normal"]);
        for (quantity, coverage) in answer.texts("quantity").iter().zip(answer.floats("coverage")) {
            assert!((0.92..=0.98).contains(&coverage), "{name} {quantity}: {coverage}");
        }
        answer.floats("mean_width")
    };
    let (clustered, independent) = (widths("clusters", &["--resample", "cluster:g"]), widths("rows", &[]));
    for (with, without) in clustered.iter().zip(&independent) {
        assert!(with / without > 1.7, "{with} {without}");
    }
}
