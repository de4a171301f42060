//! Compiles a law to a program over lanes: chooses the solver's coordinates, builds the expression graph,
//! differentiates it twice, and lowers it to straight-line code.
//!
//! | file | contents |
//! | --- | --- |
//! | [`model`] | a law compiled for a residual space: the entry point |
//! | `coordinate` | the solver's coordinates and why they are used |
//! | `choose_coordinates` | the coordinates that suit a law, from its structure |
//! | `from_syntax` | syntax to graph |
//! | `program` | graph nodes lowered to straight-line programs |
//! | `operands` | the operands of a loop over a block |
//! | `execute` | programs run over blocks of packs |
//! | `equation_roots` | roots of equations within a program |
//!
//! Laws of the catalogue and typed formulas are compiled in the same way. The folder knows nothing of data, residuals'
//! losses or searches.

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
pub use model::{Model, SecondDerivativeSource};
pub use operands::{BLOCK, Operands};
pub use program::{Op, Operand, ParameterProgram, Program};
