//! Running compiled programs over blocks of packs.
//!
//! A *pack* is eight f64 side by side. What the eight lanes hold is the caller's choice: eight fits (starts,
//! replicates or sweeps of one law) at one observation each, or eight observations of one fit. The program
//! is the same: slots hold one pack per parameter-level value, columns and registers one pack per step, and
//! an instruction is decoded once per block of [`BLOCK`] packs. `L` is the vector the arithmetic is done in;
//! with `L = f64` the same code is the scalar path.

use std::cell::Cell;

use crate::lanes::{self, Lanes};

use super::graph::{LN_ZERO, Unary};
use super::program::{Instruction, Op, Operand, ParameterProgram, Program};

/// Values per pack.
pub const LANES: usize = lanes::MAX_WIDTH;

/// Packs per block: small enough that a law's registers stay in the first-level cache.
pub const BLOCK: usize = 16;

/// Eight values side by side, aligned for one load.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Pack(pub [f64; LANES]);

impl Pack {
    pub const ZERO: Pack = Pack([0.0; LANES]);

    pub fn splat(value: f64) -> Pack {
        Pack([value; LANES])
    }
}

/// Where a loop over a block reads its operand.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    Splat(&'a Pack),
    Packs(&'a [Pack]),
    Cells(&'a [Cell<Pack>]),
}

impl Source<'_> {
    /// Lanes `lane..lane + L::WIDTH` of the k-th pack.
    #[inline(always)]
    pub fn get<L: Lanes>(&self, token: L::Token, k: usize, lane: usize) -> L {
        match self {
            Source::Splat(pack) => L::load(token, &pack.0[lane..]),
            Source::Packs(packs) => L::load(token, &packs[k].0[lane..]),
            Source::Cells(cells) => {
                let pack = cells[k].get();
                L::load(token, &pack.0[lane..])
            }
        }
    }
}

impl Source<'_> {
    /// The k-th pack.
    pub fn pack(&self, k: usize) -> Pack {
        match self {
            Source::Splat(pack) => **pack,
            Source::Packs(packs) => packs[k],
            Source::Cells(cells) => cells[k].get(),
        }
    }
}

/// What a block of observations is read from.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    pub slots: &'a [Pack],
    /// All columns, one after the other, `stride` packs each.
    pub columns: &'a [Pack],
    pub stride: usize,
    /// First pack of the block and their number, at most [`BLOCK`].
    pub start: usize,
    pub len: usize,
    /// [`BLOCK`] packs per register.
    pub registers: &'a [Cell<Pack>],
}

impl<'a> Block<'a> {
    pub fn source(&self, operand: Operand) -> Source<'a> {
        match operand {
            Operand::Slot(i) => Source::Splat(&self.slots[usize::from(i)]),
            Operand::Column(i) => {
                let from = usize::from(i) * self.stride + self.start;
                Source::Packs(&self.columns[from..from + self.len])
            }
            Operand::Register(i) => Source::Cells(self.register(i)),
        }
    }

    fn register(&self, i: u16) -> &'a [Cell<Pack>] {
        let from = usize::from(i) * BLOCK;
        &self.registers[from..from + self.len]
    }
}

impl ParameterProgram {
    /// Writes the constants; once per workspace.
    pub fn set_constants(&self, slots: &mut [Pack]) {
        for (slot, &value) in slots[self.first_constant()..].iter_mut().zip(&self.constants) {
            *slot = Pack::splat(value);
        }
    }

    /// Computes the remaining slots from coordinates, means and constants.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, token: L::Token, slots: &mut [Pack]) {
        for instruction in &self.instructions {
            let operand = |o: Operand| match o {
                Operand::Slot(i) => slots[usize::from(i)],
                Operand::Column(_) | Operand::Register(_) => Pack::splat(f64::NAN),
            };
            let (a, b, c) =
                (operand(instruction.a), operand(instruction.b), operand(instruction.c));
            let result = [Cell::new(Pack::ZERO)];
            apply::<L>(
                token,
                instruction.op,
                &result,
                Source::Splat(&a),
                Source::Splat(&b),
                Source::Splat(&c),
            );
            slots[usize::from(instruction.target)] = result[0].get();
        }
    }

    /// The outputs for one vector of coordinates, computed one lane wide.
    pub fn evaluate(&self, coordinates: &[f64], means: &[f64]) -> Vec<f64> {
        let mut slots = vec![Pack::ZERO; self.n_slots];
        for (slot, &value) in slots.iter_mut().zip(coordinates.iter().chain(means)) {
            *slot = Pack::splat(value);
        }
        self.set_constants(&mut slots);
        self.run::<f64>((), &mut slots);
        self.outputs.iter().map(|&i| slots[usize::from(i)].0[0]).collect()
    }
}

impl Program {
    /// Runs the main part over one block; results are read through `Block::source(outputs[i])`.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, token: L::Token, block: &Block) {
        for Instruction { op, target, a, b, c } in &self.instructions {
            apply::<L>(
                token,
                *op,
                block.register(*target),
                block.source(*a),
                block.source(*b),
                block.source(*c),
            );
        }
    }
}

// Functions, not closures: only functions can be marked as always inlined, and code that is not inlined into
// its dispatched caller loses the caller's vector instructions.
macro_rules! lane_functions {
    ($($name:ident($($x:ident),+) = $body:expr;)+) => {
        $(#[inline(always)] fn $name<L: Lanes>($($x: L),+) -> L { $body })+
    };
}

lane_functions! {
    add(x, y) = x + y;
    sub(x, y) = x - y;
    mul(x, y) = x * y;
    div(x, y) = x / y;
    neg(x) = -x;
    mul_add(x, y, z) = x.mul_add(y, z);
    neg_mul_add(x, y, z) = (-x).mul_add(y, z);
    mul_sub(x, y, z) = x.mul_add(y, -z);
    less(x, y) = L::select(x.lt(y), x.fill(1.0), x.fill(0.0));
    ln_base(x) = L::select(x.eq(x.fill(0.0)), x.fill(LN_ZERO), lanes::ln(x));
}

/// One instruction over a block.
#[inline(always)]
fn apply<L: Lanes>(
    token: L::Token,
    op: Op,
    target: &[Cell<Pack>],
    a: Source,
    b: Source,
    c: Source,
) {
    match op {
        Op::Add => binary::<L>(token, target, a, b, add),
        Op::Sub => binary::<L>(token, target, a, b, sub),
        Op::Mul => binary::<L>(token, target, a, b, mul),
        Op::Div => binary::<L>(token, target, a, b, div),
        Op::MulAdd => ternary::<L>(token, target, a, b, c, mul_add),
        Op::NegMulAdd => ternary::<L>(token, target, a, b, c, neg_mul_add),
        Op::MulSub => ternary::<L>(token, target, a, b, c, mul_sub),
        Op::Min => binary::<L>(token, target, a, b, L::min),
        Op::Max => binary::<L>(token, target, a, b, L::max),
        Op::Less => binary::<L>(token, target, a, b, less),
        Op::Pow => binary::<L>(token, target, a, b, lanes::pow),
        Op::LogAddExp => binary::<L>(token, target, a, b, lanes::log_add_exp),
        Op::Unary(op) => match op {
            Unary::Neg => unary::<L>(token, target, a, neg),
            Unary::Exp => unary::<L>(token, target, a, lanes::exp),
            Unary::Ln => unary::<L>(token, target, a, lanes::ln),
            Unary::LnBase => unary::<L>(token, target, a, ln_base),
            Unary::Sqrt => unary::<L>(token, target, a, L::sqrt),
            Unary::Abs => unary::<L>(token, target, a, L::abs),
            Unary::Sin => unary::<L>(token, target, a, lanes::sin),
            Unary::Cos => unary::<L>(token, target, a, lanes::cos),
            Unary::Tan => unary::<L>(token, target, a, lanes::tan),
            Unary::Atan => unary::<L>(token, target, a, lanes::atan),
            Unary::Tanh => unary::<L>(token, target, a, lanes::tanh),
            Unary::Sigmoid => unary::<L>(token, target, a, lanes::sigmoid),
        },
    }
}

#[inline(always)]
fn unary<L: Lanes>(token: L::Token, target: &[Cell<Pack>], a: Source, f: impl Fn(L) -> L) {
    for (k, cell) in target.iter().enumerate() {
        let mut result = Pack::ZERO;
        for lane in (0..LANES).step_by(L::WIDTH) {
            f(a.get(token, k, lane)).store(&mut result.0[lane..]);
        }
        cell.set(result);
    }
}

#[inline(always)]
fn binary<L: Lanes>(
    token: L::Token,
    target: &[Cell<Pack>],
    a: Source,
    b: Source,
    f: impl Fn(L, L) -> L,
) {
    for (k, cell) in target.iter().enumerate() {
        let mut result = Pack::ZERO;
        for lane in (0..LANES).step_by(L::WIDTH) {
            f(a.get(token, k, lane), b.get(token, k, lane)).store(&mut result.0[lane..]);
        }
        cell.set(result);
    }
}

#[inline(always)]
fn ternary<L: Lanes>(
    token: L::Token,
    target: &[Cell<Pack>],
    a: Source,
    b: Source,
    c: Source,
    f: impl Fn(L, L, L) -> L,
) {
    for (k, cell) in target.iter().enumerate() {
        let mut result = Pack::ZERO;
        for lane in (0..LANES).step_by(L::WIDTH) {
            f(a.get(token, k, lane), b.get(token, k, lane), c.get(token, k, lane))
                .store(&mut result.0[lane..]);
        }
        cell.set(result);
    }
}
