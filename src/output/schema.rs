//! The output tables: names, columns, types, units. [`batches`](super::batches) builds the columns in the order of this
//! file.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};

/// A column of an output table.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSpec {
    /// The column's name.
    pub name: &'static str,
    /// The type of the values.
    pub kind: ColumnKind,
    /// The unit or scale of the values; empty if there is none.
    pub unit: &'static str,
    /// The meaning of a value.
    pub meaning: &'static str,
}

/// The type of an output column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Unicode text.
    Text,
    /// Signed 64-bit integers.
    Int,
    /// Unsigned 64-bit integers.
    UInt,
    /// IEEE 754 binary64 numbers.
    Float,
    /// Truth values.
    Bool,
    /// Lists of float64.
    FloatList,
    /// Lists of text.
    TextList,
}

impl ColumnKind {
    /// Returns the Arrow type.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            ColumnKind::Text => DataType::Utf8,
            ColumnKind::Int => DataType::Int64,
            ColumnKind::UInt => DataType::UInt64,
            ColumnKind::Float => DataType::Float64,
            ColumnKind::Bool => DataType::Boolean,
            ColumnKind::FloatList => DataType::List(Field::new_list_field(DataType::Float64, true).into()),
            ColumnKind::TextList => DataType::List(Field::new_list_field(DataType::Utf8, true).into()),
        }
    }

    /// Returns the name of the type in documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ColumnKind::Text => "string",
            ColumnKind::Int => "int64",
            ColumnKind::UInt => "uint64",
            ColumnKind::Float => "float64",
            ColumnKind::Bool => "bool",
            ColumnKind::FloatList => "list<float64>",
            ColumnKind::TextList => "list<string>",
        }
    }
}

impl ColumnSpec {
    /// Returns the Arrow field, with unit and meaning in its metadata.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::new(self.name, self.kind.data_type(), true).with_metadata(HashMap::from([
            ("unit".to_string(), self.unit.to_string()),
            ("description".to_string(), self.meaning.to_string()),
        ]))
    }
}

/// An output table.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// The table's name; its file is `NAME.parquet`.
    pub name: &'static str,
    /// The meaning of a row.
    pub rows: &'static str,
    /// The columns after the key columns, in order.
    pub columns: &'static [ColumnSpec],
}

const fn column(
    name: &'static str,
    kind: ColumnKind,
    unit: &'static str,
    meaning: &'static str,
) -> ColumnSpec {
    ColumnSpec { name, kind, unit, meaning }
}

use ColumnKind::{Bool, Float, FloatList, Int, Text, TextList, UInt};

const LAW: ColumnSpec = column("law", Text, "", "catalogue name, or the formula as given");
const FILE: ColumnSpec = column("file", Text, "", "input file");
const ROW: ColumnSpec = column("row", Int, "", "row in the file, from 0");

/// The table of fits: one row per sweep and law.
pub const FITS: TableSpec = TableSpec {
    name: "fits",
    rows: "one row per sweep and law",
    columns: &[
        LAW,
        column("residual", Text, "", "T: residuals are T(prediction) − T(response)"),
        column("loss", Text, "", "ρ: the objective is Σ w·ρ(residual/σ)"),
        column("seed", UInt, "", "every random number follows from it"),
        column(
            "status",
            Text,
            "",
            "converged, at_bound, not_converged, unbounded, underdetermined or failed",
        ),
        column("message", Text, "", "why, in a sentence; empty when converged"),
        column("n_points", Int, "observations", "observations used, those of weight zero not counted"),
        column("n_parameters", Int, "", "free parameters"),
        column("objective", Float, "loss", "the sum above, at the estimate"),
        column(
            "gradient_norm",
            Float,
            "scaled",
            "largest absolute projected gradient, columns of the weighted Jacobian scaled to norm one",
        ),
        column(
            "condition_number",
            Float,
            "",
            "of the column-scaled, w- and σ-weighted Jacobian with respect to the free parameters",
        ),
        column("n_starts", Int, "", "local searches begun"),
        column("n_agreeing", Int, "", "searches that ended at this objective, relative 1e-6"),
        column("iterations", Int, "", "of the start that won, its finish included"),
        column("evaluations", Int, "", "of the objective, in all searches and their finish"),
        column("r_squared", Float, "", "in response units"),
        column("rmse", Float, "response", "root mean square error"),
        column("rmsle", Float, "natural log", "root mean square error of the logarithm"),
        column("aic", Float, "nats × 2", "Akaike's criterion under the loss's own density of the response"),
        column("aicc", Float, "nats × 2", "its small-sample form"),
        column("bic", Float, "nats × 2", "Schwarz's criterion"),
        column("n_replicates", Int, "", "bootstrap replicates"),
        column("n_replicates_failed", Int, "", "of these the ones left out of the intervals"),
        column(
            "n_jackknife",
            Int,
            "",
            "refits that leave out one observation or cluster, for the interval bca",
        ),
        column(
            "runner_up_objective",
            Float,
            "loss",
            "best objective of another optimum that searches converged to; null where they found no other",
        ),
        column(
            "variable_low",
            FloatList,
            "variable",
            "smallest value of each of the law's variables in the fit",
        ),
        column("variable_high", FloatList, "variable", "largest value of each"),
        column(
            "new_run_margin",
            Float,
            "T(response)",
            "half-length of the interval of a new run's residual at the job's confidence, without the error of the law",
        ),
        column(
            "flags",
            Text,
            "",
            "remarks in stable words, comma-separated and in a fixed order; empty when there is nothing to say",
        ),
        column(
            "content_hash",
            Text,
            "",
            "digest of observations, law, options and the engine's numerical version; null where a fit must be made again",
        ),
    ],
};

/// The table of coefficients: one row per sweep, law and parameter.
pub const COEFFICIENTS: TableSpec = TableSpec {
    name: "coefficients",
    rows: "one row per sweep, law and parameter",
    columns: &[
        LAW,
        column("parameter", Text, "", "name in the formula"),
        column("estimate", Float, "natural", "A, not log A"),
        column("std_error", Float, "natural", "asymptotic; null where not determined or not to be trusted"),
        column("bootstrap_std_error", Float, "natural", "standard deviation over the replicates"),
        column("ci_low", Float, "natural", "lower end of the interval"),
        column("ci_high", Float, "natural", "upper end of the interval"),
        column("confidence", Float, "", "of the interval"),
        column(
            "ci_method",
            Text,
            "",
            "percentile, basic, normal, t, studentized, bca or profile; null where there is no interval",
        ),
        column("at_bound", Bool, "", "on the edge of its domain"),
        column("fixed", Bool, "", "held at a value"),
    ],
};

/// The table of quantities derived from the parameters: one row per sweep, law and quantity.
pub const DERIVED: TableSpec = TableSpec {
    name: "derived",
    rows: "one row per sweep, law and derived quantity",
    columns: &[
        LAW,
        column("quantity", Text, "", "name in the job"),
        column("estimate", Float, "natural", "at the estimates of the parameters"),
        column(
            "std_error",
            Float,
            "natural",
            "standard deviation over the replicates, or from the covariance",
        ),
        column("ci_low", Float, "natural", "lower end of the interval"),
        column("ci_high", Float, "natural", "upper end of the interval"),
        column("confidence", Float, "", "of the interval"),
        column("ci_method", Text, "", "percentile (of the replicates), or t (from the covariance)"),
    ],
};

/// The table of scores: one row per sweep and law.
pub const SCORES: TableSpec = TableSpec {
    name: "scores",
    rows: "one row per sweep and law, where observations are held out",
    columns: &[
        LAW,
        column("scheme", Text, "", "holdout"),
        column("fold", Int, "", "number of the fold, from 0; null for a hold-out"),
        column("n_train", Int, "observations", "fitted, those of weight zero not counted"),
        column("n_test", Int, "observations", "held out and predicted"),
        column("rmse", Float, "response", "root mean square error"),
        column("rmsle", Float, "natural log", "root mean square error of the logarithm"),
        column(
            "rmsle_std_error",
            Float,
            "natural log",
            "√(mean + sd/√n) − √mean of the squared errors of the logarithm",
        ),
        column("mean_relative_error", Float, "", "mean of |prediction − response| / |response|"),
        column("bias_log", Float, "natural log", "mean of log prediction − log response"),
        column("coverage", Float, "", "fraction of responses inside the interval of a new run"),
    ],
};

/// The table of covariances: one row per sweep and law.
pub const COVARIANCE: TableSpec = TableSpec {
    name: "covariance",
    rows: "one row per sweep and law; lists are empty where the uncertainty is not known",
    columns: &[
        LAW,
        column("parameters", TextList, "", "the parameters that have a standard error"),
        column("transform", TextList, "", "the scale of each: identity, or log"),
        column("covariance", FloatList, "transformed", "lower triangle by rows"),
        column("correlation", FloatList, "", "lower triangle by rows"),
        column(
            "freedom_trace",
            FloatList,
            "",
            "matrix T, lower triangle by rows: a quantity with derivatives g has (gᵀTg)²/(hᵀPh) degrees of freedom, where h \
             are the products gᵢgⱼ in the order of the covariance, doubled where i ≠ j; empty where they are infinite",
        ),
        column("freedom_products", FloatList, "", "matrix P, lower triangle by rows"),
    ],
};

/// The table of bootstrap replicates: one row per sweep, law and replicate.
pub const REPLICATES: TableSpec = TableSpec {
    name: "replicates",
    rows: "one row per sweep, law and replicate",
    columns: &[
        LAW,
        column("replicate", Int, "", "number, from 0"),
        column("objective", Float, "loss", "at the replicate's estimate"),
        column("estimates", FloatList, "natural", "in the law's parameter order"),
        column("converged", Bool, "", "certified; others are left out of the intervals"),
    ],
};

/// The table of the refits of a jackknife: one row per sweep, law and unit left out.
pub const JACKKNIFE: TableSpec = TableSpec {
    name: "jackknife",
    rows: "one row per sweep, law and observation or cluster left out, for the interval bca",
    columns: REPLICATES.columns,
};

/// The table of residuals: one row per observation and law. The laws' variables are inserted between `row` and
/// `response`.
pub const RESIDUALS: TableSpec = TableSpec {
    name: "residuals",
    rows: "one row per observation and law; the laws' variables stand before `response`",
    columns: &[
        LAW,
        FILE,
        ROW,
        column("response", Float, "response", "the left side"),
        column("prediction", Float, "response", "the law at the estimate"),
        column("residual", Float, "T(response)", "T(prediction) − T(response)"),
        column("weight", Float, "", "w"),
        column("leverage", Float, "", "diagonal of the hat matrix of the weighted Jacobian"),
        column("sigma", Float, "T(response)", "σ; null where the job gives none"),
        column("cluster", Int, "", "number of the cluster in the sweep; null where the job has none"),
    ],
};

/// The position of the variables among the columns of [`RESIDUALS`].
pub const VARIABLES_AT: usize = 3;

/// The table of rejections: one row per observation or sweep that was not used.
pub const REJECTED: TableSpec = TableSpec {
    name: "rejected",
    rows: "one row per observation or sweep that was left out",
    columns: &[
        column("law", Text, "", "null: all laws"),
        FILE,
        column("row", Int, "", "row in the file, from 0; null for a whole sweep"),
        column("code", Text, "", "the kind of reason: a word that does not change"),
        column("reason", Text, "", "why"),
    ],
};

/// All output tables.
pub const ALL: [TableSpec; 9] =
    [FITS, COEFFICIENTS, DERIVED, SCORES, COVARIANCE, REPLICATES, JACKKNIFE, RESIDUALS, REJECTED];

/// The tables of answers to a job's questions, whose columns depend on the laws.
pub const ANSWERS: [&str; 2] = ["predictions", "frontier"];

/// Returns whether a name is a column of any table.
#[must_use]
pub fn is_output_column(name: &str) -> bool {
    ALL.iter().any(|table| table.columns.iter().any(|c| c.name == name))
}
