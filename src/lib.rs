pub mod dataset;
pub mod formula;
pub mod lanes;
pub mod law;
pub mod problem;
pub mod solve;
pub mod sweep;
