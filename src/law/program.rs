//! Lowering: graph nodes become straight-line programs over blocks of packs.
//!
//! Every node is put where it costs least: constants and everything that depends on parameters alone go
//! into *slots*, computed once per evaluation; what mixes parameters and data goes into *registers*, one
//! value per observation. (What depends on data alone is a column already, see [`super::graph`].)
//! Products that are used once and added are fused, with one rounding.

use std::sync::atomic::{AtomicU64, Ordering};

use super::graph::{Graph, Id, Node, Unary};

/// Where an instruction finds an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// One value per fit.
    Slot(u16),
    /// A data column: one value per observation.
    Column(u16),
    /// A result of the program: one value per observation and fit.
    Register(u16),
}

/// Operations of the compiled program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    /// `a·b + c`, one rounding.
    MulAdd,
    /// `c − a·b`, one rounding.
    NegMulAdd,
    /// `a·b − c`, one rounding.
    MulSub,
    /// `−(a·b)`.
    NegMul,
    Min,
    Max,
    Less,
    Pow,
    LogAddExp,
    Unary(Unary),
}

/// One instruction; operands that an operation does not have repeat the first.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub op: Op,
    /// A slot in the parameter part of a program, a register in its main part.
    pub target: u16,
    pub a: Operand,
    pub b: Operand,
    pub c: Operand,
}

/// The parameter part: slots from coordinates, column means and constants.
///
/// Slots are laid out as coordinates, then one mean per data column, then constants, then results.
#[derive(Clone, Debug, Default)]
pub struct ParameterProgram {
    pub n_coordinates: usize,
    pub n_columns: usize,
    pub constants: Vec<f64>,
    pub instructions: Vec<Instruction>,
    pub n_slots: usize,
    /// The slots that are the program's result, where it is one of its own.
    pub outputs: Vec<u16>,
}

impl ParameterProgram {
    pub fn first_constant(&self) -> usize {
        self.n_coordinates + self.n_columns
    }
}

/// A compiled program: the parameter part, then the main part per observation.
#[derive(Debug)]
pub struct Program {
    /// Tells programs apart, so that a workspace knows whose constants it holds.
    pub id: u64,
    pub parameter: ParameterProgram,
    pub instructions: Vec<Instruction>,
    pub n_registers: usize,
    pub outputs: Vec<Operand>,
}

impl Program {
    /// The data columns that the program reads, with repetitions.
    pub fn read_columns(&self) -> Vec<u16> {
        let operands = self.instructions.iter().flat_map(|i| [i.a, i.b, i.c]);
        operands
            .chain(self.outputs.iter().copied())
            .filter_map(|operand| match operand {
                Operand::Column(column) => Some(column),
                Operand::Slot(_) | Operand::Register(_) => None,
            })
            .collect()
    }
}

/// Compiles nodes of one graph.
pub struct Compiler<'a> {
    graph: &'a Graph,
    n_coordinates: usize,
    /// Per node: does it depend on data?
    per_observation: Vec<bool>,
}

impl<'a> Compiler<'a> {
    pub fn new(graph: &'a Graph, n_coordinates: usize) -> Self {
        let mut per_observation = Vec::with_capacity(graph.len());
        for i in 0..graph.len() {
            let id = Id(i as u32);
            let depends = matches!(graph.node(id), Node::Data(_))
                || graph.operands(id).any(|operand| per_observation[operand.index()]);
            per_observation.push(depends);
        }
        Compiler { graph, n_coordinates, per_observation }
    }

    /// A program whose results depend on parameters alone.
    pub fn parameter_program(&self, outputs: &[Id]) -> ParameterProgram {
        let (mut program, slots) = self.slots(&self.order(outputs));
        program.outputs = outputs.iter().map(|id| slots[id.index()]).collect();
        program
    }

    /// A program with the given outputs per observation.
    pub fn program(&self, outputs: &[Id]) -> Program {
        let order = self.order(outputs);
        let (parameter, slots) = self.slots(&order);

        let mut uses = vec![0u32; self.graph.len()];
        for &id in &order {
            if self.per_observation[id.index()] {
                self.graph.operands(id).for_each(|operand| uses[operand.index()] += 1);
            }
        }
        outputs.iter().for_each(|id| uses[id.index()] += 1);

        let fused = self.fusions(&order, &uses);
        let is_instruction = |id: Id| {
            self.per_observation[id.index()]
                && !matches!(self.graph.node(id), Node::Data(_))
                && !fused.contains(&Some(id))
        };

        // Last use of each node, by position, for the register allocation.
        let mut last_use = vec![0usize; self.graph.len()];
        for (position, &id) in order.iter().enumerate() {
            if is_instruction(id) {
                for operand in self.operands_fused(id, fused[id.index()]) {
                    last_use[operand.index()] = position;
                }
            }
        }
        outputs.iter().for_each(|id| last_use[id.index()] = usize::MAX);

        let mut registers = vec![u16::MAX; self.graph.len()];
        let mut free: Vec<u16> = Vec::new();
        let mut n_registers = 0u16;
        let mut instructions = Vec::new();
        for (position, &id) in order.iter().enumerate() {
            if !is_instruction(id) {
                continue;
            }
            let locate = |x: Id| self.locate(x, &slots, &registers);
            let (op, [a, b, c]) = self.instruction(id, fused[id.index()]);
            let (a, b, c) = (locate(a), locate(b), locate(c));
            let mut released: Vec<Id> = self.operands_fused(id, fused[id.index()]).to_vec();
            released.sort();
            released.dedup();
            for operand in released {
                if last_use[operand.index()] == position && registers[operand.index()] != u16::MAX {
                    free.push(registers[operand.index()]);
                }
            }
            let target = free.pop().unwrap_or_else(|| {
                n_registers += 1;
                n_registers - 1
            });
            registers[id.index()] = target;
            instructions.push(Instruction { op, target, a, b, c });
        }
        let outputs = outputs.iter().map(|&id| self.locate(id, &slots, &registers)).collect();
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Program { id, parameter, instructions, n_registers: usize::from(n_registers), outputs }
    }

    /// Operands before users, depth first from the outputs, so that values are used soon after they are
    /// made and few registers are alive at once.
    fn order(&self, outputs: &[Id]) -> Vec<Id> {
        let mut done = vec![false; self.graph.len()];
        let mut order = Vec::new();
        for &output in outputs {
            let mut stack = vec![(output, false)];
            while let Some((id, ready)) = stack.pop() {
                if done[id.index()] {
                    continue;
                }
                if ready {
                    done[id.index()] = true;
                    order.push(id);
                } else {
                    stack.push((id, true));
                    let operands: Vec<Id> = self.graph.operands(id).collect();
                    stack.extend(operands.into_iter().rev().map(|operand| (operand, false)));
                }
            }
        }
        order
    }

    fn slots(&self, order: &[Id]) -> (ParameterProgram, Vec<u16>) {
        let n_columns = self.graph.recipes().len();
        let mut program =
            ParameterProgram { n_coordinates: self.n_coordinates, n_columns, ..ParameterProgram::default() };
        let mut slots = vec![u16::MAX; self.graph.len()];
        for &id in order {
            slots[id.index()] = match self.graph.node(id) {
                Node::Constant(bits) => {
                    program.constants.push(f64::from_bits(bits));
                    (program.first_constant() + program.constants.len() - 1) as u16
                }
                Node::Coordinate(i) => i as u16,
                Node::Centre(column) => (self.n_coordinates + column as usize) as u16,
                _ => u16::MAX,
            };
        }
        program.n_slots = program.first_constant() + program.constants.len();
        for &id in order {
            if slots[id.index()] != u16::MAX || self.per_observation[id.index()] {
                continue;
            }
            let (op, [a, b, c]) = self.instruction(id, None);
            let locate = |x: Id| Operand::Slot(slots[x.index()]);
            let target = program.n_slots as u16;
            program.instructions.push(Instruction { op, target, a: locate(a), b: locate(b), c: locate(c) });
            slots[id.index()] = target;
            program.n_slots += 1;
        }
        (program, slots)
    }

    /// For each sum or negation, the product to fuse into it.
    fn fusions(&self, order: &[Id], uses: &[u32]) -> Vec<Option<Id>> {
        let mut fused = vec![None; self.graph.len()];
        for &id in order {
            let (a, b) = match self.graph.node(id) {
                Node::Add(a, b) | Node::Sub(a, b) => (a, b),
                Node::Unary(Unary::Neg, a) => (a, a),
                _ => continue,
            };
            fused[id.index()] = [b, a].into_iter().find(|&x| {
                matches!(self.graph.node(x), Node::Mul(..))
                    && self.per_observation[x.index()]
                    && uses[x.index()] == 1
            });
        }
        fused
    }

    fn operands_fused(&self, id: Id, fused: Option<Id>) -> [Id; 3] {
        self.instruction(id, fused).1
    }

    fn instruction(&self, id: Id, fused: Option<Id>) -> (Op, [Id; 3]) {
        if let Some(product) = fused
            && let Node::Mul(x, y) = self.graph.node(product)
        {
            return match self.graph.node(id) {
                Node::Sub(a, b) if b == product => (Op::NegMulAdd, [x, y, a]),
                Node::Sub(_, b) => (Op::MulSub, [x, y, b]),
                Node::Add(a, b) => (Op::MulAdd, [x, y, if a == product { b } else { a }]),
                Node::Unary(Unary::Neg, _) => (Op::NegMul, [x, y, x]),
                _ => unreachable!("only sums are fused"),
            };
        }
        match self.graph.node(id) {
            Node::Add(a, b) => (Op::Add, [a, b, a]),
            Node::Sub(a, b) => (Op::Sub, [a, b, a]),
            Node::Mul(a, b) => (Op::Mul, [a, b, a]),
            Node::Div(a, b) => (Op::Div, [a, b, a]),
            Node::Min(a, b) => (Op::Min, [a, b, a]),
            Node::Max(a, b) => (Op::Max, [a, b, a]),
            Node::Less(a, b) => (Op::Less, [a, b, a]),
            Node::Pow(a, b) => (Op::Pow, [a, b, a]),
            Node::LogAddExp(a, b) => (Op::LogAddExp, [a, b, a]),
            Node::Unary(op, a) => (Op::Unary(op), [a, a, a]),
            Node::Constant(_) | Node::Data(_) | Node::Centre(_) | Node::Coordinate(_) => {
                unreachable!("leaves need no instruction")
            }
        }
    }

    fn locate(&self, id: Id, slots: &[u16], registers: &[u16]) -> Operand {
        match self.graph.node(id) {
            Node::Data(column) => Operand::Column(column as u16),
            _ if self.per_observation[id.index()] => Operand::Register(registers[id.index()]),
            _ => Operand::Slot(slots[id.index()]),
        }
    }
}
