//! Running compiled programs over blocks of packs.
//!
//! A *pack* is eight f64 side by side. What the eight lanes hold is the caller's choice: eight fits (starts,
//! replicates or sweeps of one law) at one observation each, or eight observations of one fit. The program
//! is the same: slots hold one pack per parameter-level value, columns and registers one pack per step, and
//! an instruction is decoded once per block of [`BLOCK`](super::BLOCK) packs. `L` is the vector the arithmetic is done in;
//! with `L = f64` the same code is the scalar path.

use std::cell::Cell;

use fearless_simd::{Level, dispatch};

use crate::lanes::{self, LANES, Lanes, Pack};

use super::equation_roots::{Places, solve_block};
use super::operands::Operands;
use super::program::{Instruction, Op, Operand, ParameterProgram, Program};
use crate::law::graph::{LN_ZERO, Unary};

/// A block of observations, and everything that a program reads and writes for it.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    pub slots: &'a [Cell<Pack>],
    /// All columns, one after the other, `stride` packs each.
    pub columns: &'a [Cell<Pack>],
    pub stride: usize,
    /// The first pack of the block.
    pub start: usize,
    /// The number of packs, at most [`BLOCK`](super::BLOCK).
    pub len: usize,
    /// The registers, one after the other, `register_stride` packs each.
    pub registers: &'a [Cell<Pack>],
    pub register_stride: usize,
}

impl<'a> Block<'a> {
    /// Returns the packs of an operand.
    #[inline(always)]
    #[must_use]
    pub fn source(&self, operand: Operand) -> Operands<'a> {
        match operand {
            Operand::Slot(i) => {
                let i = i as usize;
                Operands { packs: &self.slots[i..=i], stride: 0 }
            }
            Operand::Column(i) => {
                let from = i as usize * self.stride + self.start;
                Operands::each(&self.columns[from..from + self.len])
            }
            Operand::Register(i) => Operands::each(self.register(i)),
        }
    }

    #[inline(always)]
    fn register(&self, i: u32) -> &'a [Cell<Pack>] {
        let from = i as usize * self.register_stride;
        &self.registers[from..from + self.len]
    }
}

impl ParameterProgram {
    /// Writes the constants to their slots; needed once per workspace.
    pub fn set_constants(&self, slots: &[Cell<Pack>]) {
        for (slot, &value) in slots[self.first_constant()..].iter().zip(&self.constants) {
            slot.set(Pack::splat(value));
        }
    }

    /// Computes the remaining slots from coordinates, means and constants.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, token: L::Token, slots: &[Cell<Pack>]) {
        let block =
            Block { slots, columns: &[], stride: 0, start: 0, len: 1, registers: &[], register_stride: 0 };
        execute::<L>(token, &self.instructions, &block, Space::Slots);
    }

    /// Returns the outputs for one vector of coordinates.
    #[must_use]
    pub fn evaluate(&self, coordinates: &[f64], means: &[f64]) -> Vec<f64> {
        let slots = vec![Cell::new(Pack::ZERO); self.n_slots];
        for (slot, &value) in slots.iter().zip(coordinates.iter().chain(means)) {
            slot.set(Pack::splat(value));
        }
        self.set_constants(&slots);
        dispatch!(Level::new(), simd => self.run::<fearless_simd::f64x8<_>>(simd, &slots));
        self.outputs.iter().map(|&i| slots[i as usize].get().0[0]).collect()
    }

    /// Returns the outputs for many vectors of coordinates, both row-major; computed eight lanes wide.
    #[must_use]
    pub fn evaluate_rows(&self, level: Level, rows: &[f64], means: &[f64]) -> Vec<f64> {
        let p = self.n_coordinates;
        let mut out = Vec::with_capacity(rows.len() / p.max(1) * self.outputs.len());
        let slots = vec![Cell::new(Pack::ZERO); self.n_slots];
        for (slot, &value) in slots[p..].iter().zip(means) {
            slot.set(Pack::splat(value));
        }
        self.set_constants(&slots);
        for chunk in rows.chunks(p.max(1) * LANES) {
            let count = chunk.len() / p.max(1);
            for i in 0..p {
                slots[i].set(Pack(std::array::from_fn(|lane| chunk[lane.min(count - 1) * p + i])));
            }
            dispatch!(level, simd => self.run::<fearless_simd::f64x8<_>>(simd, &slots));
            for lane in 0..count {
                out.extend(self.outputs.iter().map(|&i| slots[i as usize].get().0[lane]));
            }
        }
        out
    }
}

impl Program {
    /// Runs the main part over one block; results are read through `Block::source(outputs[i])`.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, token: L::Token, block: &Block) {
        execute::<L>(token, &self.instructions, block, Space::Registers);
    }

    /// Runs the tail over the block that the main part has just been run over.
    #[inline(always)]
    pub fn run_tail<L: Lanes>(&self, token: L::Token, block: &Block) {
        execute::<L>(token, &self.tail, block, Space::Registers);
    }
}

/// The memory that results are written to.
#[derive(Clone, Copy, PartialEq)]
enum Space {
    Slots,
    Registers,
}

/// Runs all instructions over one block. Compiled once per vector type, whoever calls it.
fn execute<L: Lanes>(token: L::Token, instructions: &[Instruction], block: &Block, space: Space) {
    L::vectorize(
        token,
        #[inline(always)]
        || {
            let mut rest = instructions;
            while let [Instruction { op, target, a, b, c }, others @ ..] = rest {
                rest = others;
                let target = match space {
                    Space::Slots => {
                        let i = *target as usize;
                        &block.slots[i..=i]
                    }
                    Space::Registers => block.register(*target),
                };
                if let Op::Root(length) = *op {
                    let (equation, others) = rest.split_at(length as usize);
                    rest = others;
                    solve::<L>(token, target, block.source(*a), block.source(*b), equation, block);
                    continue;
                }
                apply::<L>(token, *op, target, block.source(*a), block.source(*b), block.source(*c));
            }
        },
    );
}

/// Computes the roots of an equation from its instructions.
fn solve<L: Lanes>(
    token: L::Token,
    unknown: &[Cell<Pack>],
    low: Operands,
    high: Operands,
    equation: &[Instruction],
    block: &Block,
) {
    let Some((observe, steps)) = equation.split_last() else { return };
    let places =
        Places { low, high, value: block.source(observe.a), slope: block.source(observe.b), unknown };
    solve_block::<L>(token, places, || execute::<L>(token, steps, block, Space::Registers));
}

// Macros, not functions that take closures: a closure (or a function item behind `Fn`) is compiled on its own,
// without the vector instructions of the caller that `dispatch!` compiles for each processor, and is then too
// foreign to be inlined into it.
macro_rules! each {
    ($l:ty, $token:ident, $target:ident, ($($x:ident = $source:ident),+) => $body:expr) => {{
        $($source.assert_covers($target.len());)+
        for (k, cell) in $target.iter().enumerate() {
            let mut result = Pack::ZERO;
            for lane in (0..LANES).step_by(<$l>::WIDTH) {
                // SAFETY: covered, as was just asserted.
                $(let $x: $l = unsafe { $source.get_unchecked($token, k, lane) };)+
                let value: $l = $body;
                value.store(&mut result.0[lane..]);
            }
            cell.set(result);
        }
    }};
}

/// Runs one instruction over a block.
#[inline(always)]
fn apply<L: Lanes>(token: L::Token, op: Op, target: &[Cell<Pack>], a: Operands, b: Operands, c: Operands) {
    match op {
        Op::Add => each!(L, token, target, (x = a, y = b) => x + y),
        Op::Sub => each!(L, token, target, (x = a, y = b) => x - y),
        Op::Mul => each!(L, token, target, (x = a, y = b) => x * y),
        Op::Div => each!(L, token, target, (x = a, y = b) => x / y),
        Op::MulAdd => each!(L, token, target, (x = a, y = b, z = c) => x.mul_add(y, z)),
        Op::NegMulAdd => each!(L, token, target, (x = a, y = b, z = c) => (-x).mul_add(y, z)),
        Op::ExpMulAdd => each!(L, token, target, (x = a, y = b, z = c) => lanes::exp(x.mul_add(y, z))),
        Op::ExpNegMulAdd => {
            each!(L, token, target, (x = a, y = b, z = c) => lanes::exp((-x).mul_add(y, z)));
        }
        Op::MulSub => each!(L, token, target, (x = a, y = b, z = c) => x.mul_add(y, -z)),
        Op::NegMul => each!(L, token, target, (x = a, y = b) => (-x) * y),
        Op::Min => each!(L, token, target, (x = a, y = b) => x.min(y)),
        Op::Max => each!(L, token, target, (x = a, y = b) => x.max(y)),
        Op::Less => each!(L, token, target, (x = a, y = b) => {
            L::select(x.lt(y), x.fill(1.0), x.fill(0.0))
        }),
        Op::Pow => each!(L, token, target, (x = a, y = b) => lanes::pow(x, y)),
        // Both are `execute`'s own.
        Op::Root(_) | Op::Observe => {}
        Op::LogAddExp => each!(L, token, target, (x = a, y = b) => lanes::log_add_exp(x, y)),
        Op::Unary(op) => match op {
            Unary::Neg => each!(L, token, target, (x = a) => -x),
            Unary::Exp => each!(L, token, target, (x = a) => lanes::exp(x)),
            Unary::Ln => each!(L, token, target, (x = a) => lanes::ln(x)),
            Unary::LnBase => each!(L, token, target, (x = a) => {
                L::select(x.eq(x.fill(0.0)), x.fill(LN_ZERO), lanes::ln(x))
            }),
            Unary::Sqrt => each!(L, token, target, (x = a) => x.sqrt()),
            Unary::Abs => each!(L, token, target, (x = a) => x.abs()),
            Unary::Sin => each!(L, token, target, (x = a) => lanes::sin(x)),
            Unary::Cos => each!(L, token, target, (x = a) => lanes::cos(x)),
            Unary::Tan => each!(L, token, target, (x = a) => lanes::tan(x)),
            Unary::Atan => each!(L, token, target, (x = a) => lanes::atan(x)),
            Unary::Tanh => each!(L, token, target, (x = a) => lanes::tanh(x)),
            Unary::Sigmoid => each!(L, token, target, (x = a) => lanes::sigmoid(x)),
        },
    }
}
