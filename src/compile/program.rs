//! Lowering: graph nodes become straight-line programs over blocks of packs.
//!
//! Every node is put where it costs least: constants and everything that depends on parameters alone go
//! into *slots*, computed once per evaluation; what mixes parameters and data goes into *registers*, one
//! value per observation. (What depends on data alone is a column already, see [`crate::law::graph`].)
//! Products that are used once and added are fused, with one rounding; so is an exponential with such a sum.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::law::graph::{Graph, Id, Node, Unary};

/// The location of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// One value per fit.
    Slot(u32),
    /// A column: one value per observation. The programs of a model number columns by their places in
    /// [`Model::read_columns`](super::Model::read_columns).
    Column(u32),
    /// A result of the program: one value per observation and fit.
    Register(u32),
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
    /// `exp(a·b + c)` and `exp(c − a·b)`, the argument rounded once.
    ExpMulAdd,
    ExpNegMulAdd,
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
    /// The root between `a` and `b`. The next so many instructions are its equation: they are run for as long as
    /// a lane is open, each time with the point to try in the target, and end with [`Op::Observe`].
    Root(u32),
    /// Ends an equation, whose value is in `a` and whose slope is in `b`.
    Observe,
}

/// One instruction; operands that an operation does not have repeat the first.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub op: Op,
    /// A slot in the parameter part of a program, a register in its main part.
    pub target: u32,
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
    /// The slots of the results, for a program of its own.
    pub outputs: Vec<u32>,
}

impl ParameterProgram {
    #[must_use]
    pub fn first_constant(&self) -> usize {
        self.n_coordinates + self.n_columns
    }
}

/// A compiled program: the parameter part, then the main part per observation.
#[derive(Debug)]
pub struct Program {
    /// A unique number, by which a workspace knows whose constants it holds.
    pub id: u64,
    pub parameter: ParameterProgram,
    pub instructions: Vec<Instruction>,
    /// Instructions that run only on demand; they read what the main part left in registers.
    pub tail: Vec<Instruction>,
    pub n_registers: usize,
    pub outputs: Vec<Operand>,
    /// The results of the tail.
    pub tail_outputs: Vec<Operand>,
}

impl Op {
    /// Returns the approximate number of vector operations.
    fn cost(self) -> f64 {
        match self {
            Op::Div => 10.0,
            Op::Unary(Unary::Neg | Unary::Abs) => 1.0,
            Op::Unary(Unary::Sqrt) => 15.0,
            Op::Unary(_) | Op::LogAddExp | Op::ExpMulAdd | Op::ExpNegMulAdd => 25.0,
            Op::Pow | Op::Root(_) => 80.0,
            _ => 1.0,
        }
    }
}

impl Program {
    /// Returns the approximate number of vector operations per observation, without the tail and with it.
    #[must_use]
    pub fn costs(&self) -> (f64, f64) {
        let cost = |part: &[Instruction]| part.iter().map(|i| i.op.cost()).sum::<f64>();
        let plain = cost(&self.instructions);
        (plain, plain + cost(&self.tail))
    }

    /// Returns the data columns that the program reads, with repetitions.
    #[must_use]
    pub fn read_columns(&self) -> Vec<u32> {
        let operands = self.instructions.iter().chain(&self.tail).flat_map(|i| [i.a, i.b, i.c]);
        operands
            .chain(self.outputs.iter().chain(&self.tail_outputs).copied())
            .filter_map(|operand| match operand {
                Operand::Column(column) => Some(column),
                Operand::Slot(_) | Operand::Register(_) => None,
            })
            .collect()
    }

    /// Replaces the number of every data column that the program reads by `number(column)`.
    pub fn renumber_columns(&mut self, number: impl Fn(u32) -> u32) {
        let operands =
            self.instructions.iter_mut().chain(&mut self.tail).flat_map(|i| [&mut i.a, &mut i.b, &mut i.c]);
        for operand in operands.chain(self.outputs.iter_mut().chain(&mut self.tail_outputs)) {
            if let Operand::Column(column) = operand {
                *column = number(*column);
            }
        }
    }
}

/// Compiles the nodes of one graph.
pub struct Compiler<'a> {
    graph: &'a Graph,
    n_coordinates: usize,
    /// Per node: does it depend on data? Equations and their roots count as if they did.
    per_observation: Vec<bool>,
    /// Per node: does it depend on the unknown of the equation that it is a part of?
    in_equation: Vec<bool>,
}

impl<'a> Compiler<'a> {
    pub fn new(graph: &'a Graph, n_coordinates: usize) -> Self {
        let mut per_observation = Vec::with_capacity(graph.count());
        let mut in_equation = Vec::with_capacity(graph.count());
        for i in 0..graph.count() {
            let id = Id(i as u32);
            let node = graph.node(id);
            let depends = matches!(node, Node::Data(_) | Node::Unknown | Node::Root(_))
                || graph.operands(id).any(|operand| per_observation[operand.index()]);
            per_observation.push(depends);
            let inside = matches!(node, Node::Unknown)
                || (!matches!(node, Node::Root(_))
                    && graph.operands(id).any(|operand| in_equation[operand.index()]));
            in_equation.push(inside);
        }
        Compiler { graph, n_coordinates, per_observation, in_equation }
    }

    /// Returns a program whose results depend on parameters alone.
    pub fn parameter_program(&self, outputs: &[Id]) -> ParameterProgram {
        let (mut program, slots) = self.slots(&self.order(outputs));
        program.outputs = outputs.iter().map(|id| slots[id.index()]).collect();
        program
    }

    /// Returns a program with the given outputs per observation.
    pub fn program(&self, outputs: &[Id]) -> Program {
        self.program_with_tail(outputs, &[])
    }

    /// A program with the given outputs, and more that a tail computes. What is computed before the tail does not depend
    /// on there being one.
    pub fn program_with_tail(&self, outputs: &[Id], more: &[Id]) -> Program {
        let order = self.order(outputs);
        let mut is_output = vec![false; self.graph.count()];
        outputs.iter().for_each(|id| is_output[id.index()] = true);
        let is_new = |id: &Id| !is_output[id.index()];
        let tail_order: Vec<Id> =
            self.order_by(more, |id| self.needs(id).into_iter().filter(is_new).collect());
        let tail_order: Vec<Id> = tail_order.into_iter().filter(is_new).collect();
        let (parameter, slots) = self.slots(&[order.as_slice(), &tail_order].concat());

        let mut emission = Emission {
            compiler: self,
            slots: &slots,
            registers: vec![u32::MAX; self.graph.count()],
            free: Vec::new(),
            n_registers: 0,
            instructions: Vec::new(),
        };
        emission.straight_line(&order, outputs);
        let instructions = std::mem::take(&mut emission.instructions);
        // Only the outputs are still where they were put.
        for &id in order.iter().filter(|id| is_new(id)) {
            emission.registers[id.index()] = u32::MAX;
        }
        emission.straight_line(&tail_order, more);
        let tail = std::mem::take(&mut emission.instructions);
        let located = |ids: &[Id]| ids.iter().map(|&id| emission.locate(id)).collect();
        let (outputs, tail_outputs) = (located(outputs), located(more));
        let n_registers = emission.n_registers as usize;
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Program { id, parameter, instructions, tail, n_registers, outputs, tail_outputs }
    }

    /// What must be known before a node is computed: its operands; for a root its ends and all that its equation
    /// takes from outside.
    fn needs(&self, id: Id) -> Vec<Id> {
        let Node::Root(index) = self.graph.node(id) else {
            return self
                .graph
                .operands(id)
                .filter(|x| !matches!(self.graph.node(*x), Node::Unknown))
                .collect();
        };
        let equation = self.graph.equation(index);
        let mut needs = vec![equation.low, equation.high];
        let outside = |x: &Id| !self.in_equation[x.index()];
        needs.extend([equation.residual, equation.slope].into_iter().filter(outside));
        for inner in self.equation_order(index) {
            needs.extend(self.graph.operands(inner).filter(outside));
        }
        needs
    }

    /// Returns the nodes of an equation that depend on its unknown, operands before users.
    fn equation_order(&self, index: u32) -> Vec<Id> {
        let equation = self.graph.equation(index);
        let inside = |x: &Id| self.in_equation[x.index()];
        let results: Vec<Id> = [equation.residual, equation.slope].into_iter().filter(inside).collect();
        self.order_by(&results, |id| self.graph.operands(id).filter(inside).collect())
    }

    /// Operands before users, depth first from the outputs, so that values are used soon after they are
    /// made and few registers are alive at once.
    fn order(&self, outputs: &[Id]) -> Vec<Id> {
        self.order_by(outputs, |id| self.needs(id))
    }

    fn order_by(&self, outputs: &[Id], needs: impl Fn(Id) -> Vec<Id>) -> Vec<Id> {
        let mut done = vec![false; self.graph.count()];
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
                    stack.extend(needs(id).into_iter().rev().map(|operand| (operand, false)));
                }
            }
        }
        order
    }

    fn slots(&self, order: &[Id]) -> (ParameterProgram, Vec<u32>) {
        let n_columns = self.graph.data_columns().len();
        let mut program =
            ParameterProgram { n_coordinates: self.n_coordinates, n_columns, ..ParameterProgram::default() };
        let mut slots = vec![u32::MAX; self.graph.count()];
        for &id in order {
            slots[id.index()] = match self.graph.node(id) {
                Node::Constant(bits) => {
                    program.constants.push(f64::from_bits(bits));
                    (program.first_constant() + program.constants.len() - 1) as u32
                }
                Node::Coordinate(i) => i,
                Node::Centre(column) => (self.n_coordinates + column as usize) as u32,
                _ => u32::MAX,
            };
        }
        program.n_slots = program.first_constant() + program.constants.len();
        for &id in order {
            if slots[id.index()] != u32::MAX || self.per_observation[id.index()] {
                continue;
            }
            let (op, [a, b, c]) = self.instruction(id, None);
            let locate = |x: Id| Operand::Slot(slots[x.index()]);
            let target = program.n_slots as u32;
            program.instructions.push(Instruction { op, target, a: locate(a), b: locate(b), c: locate(c) });
            slots[id.index()] = target;
            program.n_slots += 1;
        }
        (program, slots)
    }

    /// For each sum or negation, the product to fuse into it; products that are not in the order are left alone.
    fn fusions(&self, order: &[Id], uses: &[u32]) -> Vec<Option<Id>> {
        let mut here = vec![false; self.graph.count()];
        order.iter().for_each(|id| here[id.index()] = true);
        let mut fused = vec![None; self.graph.count()];
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
                    && here[x.index()]
            });
        }
        fused
    }

    /// Returns the nodes that the instruction of a node reads.
    fn reads(&self, id: Id, fused: Option<Id>) -> Vec<Id> {
        match self.graph.node(id) {
            Node::Root(_) => self.needs(id),
            _ => self.instruction(id, fused).1.to_vec(),
        }
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
            // The number of instructions is filled in when they are there.
            Node::Root(index) => {
                let equation = self.graph.equation(index);
                (Op::Root(0), [equation.low, equation.high, equation.low])
            }
            Node::Constant(_) | Node::Data(_) | Node::Centre(_) | Node::Coordinate(_) | Node::Unknown => {
                unreachable!("leaves need no instruction")
            }
        }
    }

    fn locate(&self, id: Id, slots: &[u32], registers: &[u32]) -> Operand {
        match self.graph.node(id) {
            Node::Data(column) => Operand::Column(column),
            _ if self.per_observation[id.index()] => Operand::Register(registers[id.index()]),
            _ => Operand::Slot(slots[id.index()]),
        }
    }
}

/// The main part of a program while it is written.
struct Emission<'a> {
    compiler: &'a Compiler<'a>,
    slots: &'a [u32],
    /// Per node, where its value is.
    registers: Vec<u32>,
    free: Vec<u32>,
    n_registers: u32,
    instructions: Vec<Instruction>,
}

impl Emission<'_> {
    /// Instructions for all nodes of `order`, operands before users. Registers are given back after the last use,
    /// but for those of `kept` and of values from elsewhere.
    fn straight_line(&mut self, order: &[Id], kept: &[Id]) {
        let compiler = self.compiler;
        let graph = compiler.graph;
        let mut uses = vec![0u32; graph.count()];
        let mut here = vec![false; graph.count()];
        for &id in order {
            // The unknown's register is its root's, which is given back elsewhere.
            here[id.index()] = !matches!(graph.node(id), Node::Unknown);
            if compiler.per_observation[id.index()] {
                compiler.needs(id).into_iter().for_each(|operand| uses[operand.index()] += 1);
            }
        }
        kept.iter().for_each(|id| uses[id.index()] += 1);

        let fused = compiler.fusions(order, &uses);
        let mut is_fused = vec![false; graph.count()];
        fused.iter().flatten().for_each(|id| is_fused[id.index()] = true);
        let is_instruction = |id: Id| {
            compiler.per_observation[id.index()]
                && !matches!(graph.node(id), Node::Data(_) | Node::Unknown)
                && !is_fused[id.index()]
        };

        // Last use of each node, by position, for the register allocation.
        let mut last_use = vec![0usize; graph.count()];
        for (position, &id) in order.iter().enumerate() {
            if is_instruction(id) {
                for operand in compiler.reads(id, fused[id.index()]) {
                    last_use[operand.index()] = position;
                }
            }
        }
        kept.iter().for_each(|id| last_use[id.index()] = usize::MAX);

        for (position, &id) in order.iter().enumerate() {
            if !is_instruction(id) {
                continue;
            }
            let (op, operands) = compiler.instruction(id, fused[id.index()]);
            let [a, b, c] = operands.map(|x| self.locate(x));
            let mut released = compiler.reads(id, fused[id.index()]);
            released.sort();
            released.dedup();
            released.retain(|x| {
                here[x.index()] && last_use[x.index()] == position && self.registers[x.index()] != u32::MAX
            });
            if let Node::Root(index) = graph.node(id) {
                // The target holds the points to try, so nothing that the equation reads may share its register.
                let target = self.take_register();
                self.equation(index, Instruction { op, target, a, b, c });
                self.release(&released);
                self.registers[id.index()] = target;
            } else {
                self.release(&released);
                let target = self.take_register();
                self.registers[id.index()] = target;
                if !self.joins_exp(op, target, a) {
                    self.instructions.push(Instruction { op, target, a, b, c });
                }
            }
        }
    }

    /// Makes one instruction of a fused multiply-add and the exponential of its result, which takes its register: of a
    /// value that nothing else reads, that saves the way through memory. False where that is not what is there.
    fn joins_exp(&mut self, op: Op, target: u32, a: Operand) -> bool {
        let Some(last) = self.instructions.last_mut() else { return false };
        if op != Op::Unary(Unary::Exp) || a != Operand::Register(target) || last.target != target {
            return false;
        }
        last.op = match last.op {
            Op::MulAdd => Op::ExpMulAdd,
            Op::NegMulAdd => Op::ExpNegMulAdd,
            _ => return false,
        };
        true
    }

    /// Emits the instruction of a root, and those of its equation.
    fn equation(&mut self, index: u32, root: Instruction) {
        let place = self.instructions.len();
        self.instructions.push(root);
        let order = self.compiler.equation_order(index);
        let unknown = order.iter().find(|id| matches!(self.compiler.graph.node(**id), Node::Unknown));
        if let Some(unknown) = unknown {
            self.registers[unknown.index()] = root.target;
        }
        let equation = self.compiler.graph.equation(index);
        let results = [equation.residual, equation.slope];
        self.straight_line(&order, &results);
        let [a, b] = results.map(|x| self.locate(x));
        self.instructions.push(Instruction { op: Op::Observe, target: root.target, a, b, c: a });
        self.instructions[place].op = Op::Root((self.instructions.len() - place - 1) as u32);
        let mut held: Vec<Id> = results.to_vec();
        held.dedup();
        held.retain(|x| order.contains(x) && Some(x) != unknown);
        self.release(&held);
        // Other equations have the same unknown, and their nodes may be these: nothing of them is known any more.
        order.iter().for_each(|id| self.registers[id.index()] = u32::MAX);
    }

    fn take_register(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.n_registers += 1;
            self.n_registers - 1
        })
    }

    fn release(&mut self, nodes: &[Id]) {
        self.free.extend(nodes.iter().map(|id| self.registers[id.index()]));
    }

    fn locate(&self, id: Id) -> Operand {
        self.compiler.locate(id, self.slots, &self.registers)
    }
}
