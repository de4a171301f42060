//! A law becomes a program over lanes: its coordinates are chosen, its expression is built on the graph, differentiated
//! twice, and lowered.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`model`] | a law compiled for a residual space: the entry |
//! | `coordinate` | the solver's coordinates and what they are for |
//! | `choose_coordinates` | which coordinates suit a law, read off its structure |
//! | `from_syntax` | syntax to graph |
//! | `program` | graph nodes lowered to straight-line programs |
//! | `operands` | what a loop over a block reads |
//! | `execute` | programs run over blocks of packs |
//! | `equation_roots` | roots of equations within a program |
//!
//! There is no hand-written path for the famous laws: catalogue and typed formulas run the same way. Nothing here knows data.

mod choose_coordinates;
mod coordinate;
mod equation_roots;
mod execute;
mod from_syntax;
pub mod model;
mod operands;
mod program;
#[cfg(test)]
mod tests;

pub use coordinate::{Coordinate, LARGEST_LOG, Metric, Role, Scale};
pub use execute::Block;
pub use model::{Model, SecondDerivative, SecondDerivativeSource};
pub use operands::{BLOCK, Operands};
pub use program::{Op, Operand, ParameterProgram, Program};
