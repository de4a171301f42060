//! The objective and its derivatives, eight lanes at a time.
//!
//! For `f(θ) = Σ w·ρ(s·(m(θ) − t))`, `m = T(prediction)`, `t = T(response)`, `s = 1/σ`:
//!
//! * gradient `Σ w·s·ρ′·∂m`,
//! * Hessian `Σ w·s²·c·∂m ∂mᵀ + λ·Σ w·s·ρ′·∂²m`, with a curvature `c` between the loss's own, `ρ″`, and that of
//!   reweighted least outer_fraction, `ρ′(u)/u`, and a irls_fraction `λ` of the law's own second derivatives.
//!
//! The latter double the evaluations from far starts and halve them near the optimum, so searches choose λ; laws where
//! they cost much go without (see [`Model::second_derivatives`]). For `m = log q` they are `∂²q/q − ∂m ∂mᵀ`: the second part is a
//! matter of `c`, and the first, for a sum of powers, of sums that the gradient needs anyway.

use std::cell::Cell;

use fearless_simd::{Level, dispatch};

use crate::compile::{BLOCK, Block, Model, Operand, Operands, Program, SecondDerivativeSource};
use crate::lanes::Lanes;
use crate::lanes::{LANES, Pack};
use crate::linalg::triangle;

use super::{LaneData, Loss};

/// What is summed besides the objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Value,
    /// Gradient and Hessian.
    Hessian,
}

/// Scratch space of evaluations; reused, so that evaluations allocate nothing.
#[derive(Debug, Default)]
pub struct ProgramWorkspace {
    slots: Vec<Cell<Pack>>,
    registers: Vec<Cell<Pack>>,
    /// Program whose constants the slots hold.
    constants_of: Option<u64>,
}

/// The sums of one evaluation: objective, gradient (p), Hessian (lower triangle by rows), per lane.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub packs: Vec<Pack>,
}

impl Sums {
    /// Adds the lanes' sums up, for a fit that is spread over the lanes: every lane then holds the whole.
    pub fn add_lanes(&mut self) {
        for pack in &mut self.packs {
            let [a, b, c, d, e, f, g, h] = pack.0;
            *pack = Pack::splat(((a + e) + (c + g)) + ((b + f) + (d + h)));
        }
    }
}

/// What is evaluated: a model under a loss on lane data, with so many derivatives.
#[derive(Clone, Copy, Debug)]
pub struct Objective<'a> {
    pub model: &'a Model,
    pub loss: Loss,
    pub order: Order,
    pub data: &'a LaneData,
    pub mix: &'a CurvatureMix,
}

impl Objective<'_> {
    /// Evaluates at `coordinates` (one pack per coordinate), eight lanes wide, and leaves the sums in `sums`.
    pub fn evaluate(
        &self,
        level: Level,
        coordinates: &[Pack],
        workspace: &mut ProgramWorkspace,
        sums: &mut Sums,
    ) {
        self.prepare(coordinates, workspace, sums);
        dispatch!(level, simd => self.sum_blocks::<fearless_simd::f64x8<_>>(simd, workspace, &mut sums.packs));
    }

    /// The same one lane at a time: the reference that the tests hold the buffers against.
    pub fn evaluate_scalar(&self, coordinates: &[Pack], workspace: &mut ProgramWorkspace, sums: &mut Sums) {
        self.prepare(coordinates, workspace, sums);
        self.sum_blocks::<f64>((), workspace, &mut sums.packs);
    }

    fn program(&self) -> &Program {
        match self.order {
            Order::Value => &self.model.value,
            Order::Hessian => &self.model.search,
        }
    }

    fn prepare(&self, coordinates: &[Pack], workspace: &mut ProgramWorkspace, sums: &mut Sums) {
        workspace.prepare(self.program(), coordinates, &self.data.means);
        let p = coordinates.len();
        // An output has a sum, and a pair of derivatives.
        let pairs = if self.order == Order::Value { 0 } else { triangle(p) };
        let n_sums = self.program().outputs.len() + self.program().tail_outputs.len() + pairs;
        sums.packs.clear();
        sums.packs.resize(n_sums, Pack::ZERO);
    }
}

/// What the Hessian is mixed from, per lane.
#[derive(Clone, Debug)]
pub struct CurvatureMix {
    /// Share of the irls_fraction's curvature `ρ′(u)/u`, instead of the loss's own; see [`MIN_IRLS_FRACTION`].
    pub irls_fraction: Pack,
    /// Share of the law's own second derivatives.
    pub second_derivatives: Pack,
}

impl CurvatureMix {
    pub const GAUSS_NEWTON: CurvatureMix =
        CurvatureMix { irls_fraction: Pack([MIN_IRLS_FRACTION; LANES]), second_derivatives: Pack::ZERO };
}

impl Default for CurvatureMix {
    fn default() -> Self {
        CurvatureMix::GAUSS_NEWTON
    }
}

/// The least irls_fraction of the irls_fraction's curvature that is mixed into the loss's own: against loss of rank where hardly
/// any residual is inside δ. The gradient is exact, so this costs speed near the optimum, not accuracy. Far from it
/// the whole of it is the better model: it bounds the loss from above.
pub const MIN_IRLS_FRACTION: f64 = 0.001;

/// Registers beyond the program's own: slope weights, curvature weights, one weighted Jacobian column.
const EXTRA_REGISTERS: usize = 3;

impl ProgramWorkspace {
    fn prepare(&mut self, program: &Program, coordinates: &[Pack], means: &[Pack]) {
        let parameter = &program.parameter;
        if self.constants_of != Some(program.id) {
            self.slots.clear();
            self.slots.resize(parameter.n_slots, Cell::new(Pack::ZERO));
            parameter.set_constants(&self.slots);
            self.constants_of = Some(program.id);
        }
        let registers = (program.n_registers + EXTRA_REGISTERS) * BLOCK;
        if self.registers.len() < registers {
            self.registers.resize(registers, Cell::new(Pack::ZERO));
        }
        for (slot, &pack) in self.slots.iter().zip(coordinates.iter().chain(means)) {
            slot.set(pack);
        }
    }

    /// The block of packs from `start` on.
    #[inline(always)]
    fn block<'a>(&'a self, data: &'a LaneData, start: usize) -> Block<'a> {
        Block {
            slots: &self.slots,
            columns: &data.columns,
            stride: data.stride,
            start,
            len: BLOCK.min(data.n_packs - start),
            registers: &self.registers,
        }
    }
}

/// Values of a program's outputs for every pack: `out[output][pack]`, computed eight lanes wide.
pub fn outputs_lanes(
    program: &Program,
    data: &LaneData,
    coordinates: &[Pack],
    workspace: &mut ProgramWorkspace,
) -> Vec<Vec<Pack>> {
    let mut out = Vec::new();
    outputs_into(program, data, coordinates, workspace, &mut out);
    (0..program.outputs.len()).map(|i| out[i * data.n_packs..(i + 1) * data.n_packs].to_vec()).collect()
}

/// The same one output after the other, in a vector that is there.
pub fn outputs_into(
    program: &Program,
    data: &LaneData,
    coordinates: &[Pack],
    workspace: &mut ProgramWorkspace,
    out: &mut Vec<Pack>,
) {
    workspace.prepare(program, coordinates, &data.means);
    out.resize(program.outputs.len() * data.n_packs, Pack::ZERO);
    dispatch!(Level::new(), simd => collect::<fearless_simd::f64x8<_>>(simd, program, data, workspace, out));
}

/// Weighted normal equations of a model's amplitudes at many points: `rows` holds responses and their weights,
/// one pack per observation, `n_packs` of them. Leaves the Gram matrix of the amplitudes' factors (lower triangle
/// by rows), then their products with what is left of the response, in `sums`.
pub fn amplitude_equations(
    level: Level,
    model: &Model,
    data: &LaneData,
    rows: (&[Pack], &[Pack]),
    coordinates: &[Pack],
    workspace: &mut ProgramWorkspace,
    sums: &mut Sums,
) {
    workspace.prepare(&model.design, coordinates, &data.means);
    let m = model.amplitudes.len();
    sums.packs.clear();
    sums.packs.resize(triangle(m) + m, Pack::ZERO);
    dispatch!(level, simd => sum_amplitudes::<fearless_simd::f64x8<_>>(
        simd, &model.design, data, rows, workspace, &mut sums.packs
    ));
}

#[inline(always)]
fn sum_amplitudes<L: Lanes>(
    token: L::Token,
    program: &Program,
    data: &LaneData,
    (response, row_weight): (&[Pack], &[Pack]),
    workspace: &ProgramWorkspace,
    sums: &mut [Pack],
) {
    program.parameter.run::<L>(token, &workspace.slots);
    let m = program.outputs.len() - 1;
    let (gram, products) = sums.split_at_mut(triangle(m));
    for start in (0..data.n_packs).step_by(BLOCK) {
        let block = workspace.block(data, start);
        program.run::<L>(token, &block);
        let len = block.len;
        let extra = &block.registers[program.n_registers * BLOCK..];
        let weighted = Operands::each(&extra[..len]);
        let rest = block.source(program.outputs[0]);
        for i in 0..m {
            let column = block.source(program.outputs[1 + i]);
            for lane in (0..LANES).step_by(L::WIDTH) {
                let mut product = L::load(token, &products[i].0[lane..]);
                for k in 0..len {
                    let left = load::<L>(token, &response[start..], k, lane) - rest.get(token, k, lane);
                    let factor = column.get::<L>(token, k, lane) * load(token, &row_weight[start..], k, lane);
                    set(&extra[k], factor, lane);
                    product = factor.mul_add(left, product);
                }
                product.store(&mut products[i].0[lane..]);
            }
            for j in 0..=i {
                let other = block.source(program.outputs[1 + j]);
                dot::<L>(token, len, weighted, other, &mut gram[triangle(i) + j]);
            }
        }
    }
}

#[inline(always)]
fn collect<L: Lanes>(
    token: L::Token,
    program: &Program,
    data: &LaneData,
    workspace: &mut ProgramWorkspace,
    out: &mut [Pack],
) {
    program.parameter.run::<L>(token, &workspace.slots);
    for start in (0..data.n_packs).step_by(BLOCK) {
        let block = workspace.block(data, start);
        program.run::<L>(token, &block);
        for (values, &output) in out.chunks_mut(data.n_packs).zip(&program.outputs) {
            let source = block.source(output);
            for (k, value) in values[start..start + block.len].iter_mut().enumerate() {
                *value = source.pack(k);
            }
        }
    }
}

impl Objective<'_> {
    #[inline(always)]
    fn sum_blocks<L: Lanes>(&self, token: L::Token, workspace: &ProgramWorkspace, sums: &mut [Pack]) {
        let Objective { model, loss, order, data, mix } = *self;
        let program = self.program();
        let p = model.coordinates.len();
        let with_second = order == Order::Hessian
            && !model.second_derivatives.is_empty()
            && mix.second_derivatives != Pack::ZERO;
        program.parameter.run::<L>(token, &workspace.slots);
        for start in (0..data.n_packs).step_by(BLOCK) {
            let block = workspace.block(data, start);
            program.run::<L>(token, &block);
            let len = block.len;
            let extra = &block.registers[program.n_registers * BLOCK..];
            let (slope_cells, rest) = extra.split_at(BLOCK);
            let (curvature_cells, weighted) = rest.split_at(BLOCK);
            let value = block.source(program.outputs[0]);
            let target = &data.target[start..start + len];
            let weight = &data.weight[start..start + len];
            let sigma = data.inverse_sigma.get(start..start + len);
            let outer_fraction = if model.second_of_log { &mix.second_derivatives } else { &Pack::ZERO };
            let rows =
                Residuals { value, target, weight, sigma, irls_fraction: &mix.irls_fraction, outer_fraction };
            let want = (order != Order::Value).then_some((slope_cells, curvature_cells));
            // Least outer_fraction are weighed where they are summed, if all at once.
            let plain = loss.is_quadratic()
                && sigma.is_none()
                && p <= MOST_IN_REGISTERS
                && want.is_some()
                && !L::is_split(token);
            // One loop per loss: a choice within would be made again for every pack.
            match loss {
                Loss::L2 if plain => {}
                Loss::L2 => rows.weigh::<L>(token, Loss::L2, want, &mut sums[0]),
                Loss::Huber { delta } => rows.weigh::<L>(token, Loss::Huber { delta }, want, &mut sums[0]),
                Loss::SoftL1 { delta } => rows.weigh::<L>(token, Loss::SoftL1 { delta }, want, &mut sums[0]),
                Loss::Cauchy { delta } => rows.weigh::<L>(token, Loss::Cauchy { delta }, want, &mut sums[0]),
            }
            if order == Order::Value {
                continue;
            }

            let (objective, rest) = sums.split_at_mut(1);
            let (gradient, hessian) = rest.split_at_mut(p);
            let (hessian, own) = hessian.split_at_mut(triangle(p));
            let slopes = Operands::each(&slope_cells[..len]);
            let curvatures = Operands::each(&curvature_cells[..len]);
            let columns = Columns { block: &block, outputs: &program.outputs[1..=p], slopes, curvatures };
            let unweighed = (&rows, slope_cells, &mut objective[0]);
            match p {
                1 => columns.sum::<L, 1>(token, plain, unweighed, gradient, hessian),
                2 => columns.sum::<L, 2>(token, plain, unweighed, gradient, hessian),
                3 => columns.sum::<L, 3>(token, plain, unweighed, gradient, hessian),
                4 => columns.sum::<L, 4>(token, plain, unweighed, gradient, hessian),
                5 => columns.sum::<L, 5>(token, plain, unweighed, gradient, hessian),
                6 => columns.sum::<L, 6>(token, plain, unweighed, gradient, hessian),
                _ => columns.sum_one_by_one::<L>(token, weighted, gradient, hessian),
            }
            if with_second {
                program.run_tail::<L>(token, &block);
                for (sums, outputs) in own.chunks_mut(4).zip(program.tail_outputs.chunks(4)) {
                    let columns = Columns { block: &block, outputs, slopes, curvatures };
                    match outputs.len() {
                        1 => columns.sum_weighted::<L, 1>(token, sums),
                        2 => columns.sum_weighted::<L, 2>(token, sums),
                        3 => columns.sum_weighted::<L, 3>(token, sums),
                        _ => columns.sum_weighted::<L, 4>(token, sums),
                    }
                }
            }
        }
        if with_second {
            add_second_derivatives::<L>(token, model, &mix.second_derivatives, sums);
        }
    }
}

/// Adds the irls_fraction of the law's own second derivatives to the Hessian. Lanes without one stay as they are, whatever the
/// second derivatives.
#[inline(always)]
fn add_second_derivatives<L: Lanes>(token: L::Token, model: &Model, irls_fraction: &Pack, sums: &mut [Pack]) {
    let p = model.coordinates.len();
    for lane in (0..LANES).step_by(L::WIDTH) {
        let irls_fraction = L::load(token, &irls_fraction.0[lane..]);
        let none = irls_fraction.eq(irls_fraction.fill(0.0));
        for term in &model.second_derivatives {
            let sum = match term.source {
                SecondDerivativeSource::First(i) => 1 + i,
                SecondDerivativeSource::Own(k) => 1 + p + triangle(p) + k,
            };
            let sum = load::<L>(token, sums, sum, lane);
            let entry = &mut sums[1 + p + triangle(term.row) + term.column].0[lane..];
            let value = L::load(token, entry);
            L::select(none, value, irls_fraction.mul_add(sum, value)).store(entry);
        }
    }
}

/// Where slopes and curvatures of a block's residuals are wanted.
type Wanted<'a> = (&'a [Cell<Pack>], &'a [Cell<Pack>]);

/// One block's residuals before the loss.
struct Residuals<'a> {
    value: Operands<'a>,
    target: &'a [Pack],
    weight: &'a [Pack],
    /// 1/σ.
    sigma: Option<&'a [Pack]>,
    irls_fraction: &'a Pack,
    /// Share of `−ρ′·∂m ∂mᵀ`.
    outer_fraction: &'a Pack,
}

impl Residuals<'_> {
    /// Adds the losses to `objective`; where slopes and curvatures are wanted, writes those too.
    #[inline(always)]
    fn weigh<L: Lanes>(&self, token: L::Token, loss: Loss, want: Option<Wanted>, objective: &mut Pack) {
        match (want, self.sigma) {
            (None, sigma) => self.weigh_as::<L>(token, loss, None, sigma, objective),
            (want, None) => self.weigh_as::<L>(token, loss, want, None, objective),
            (want, sigma) => self.weigh_as::<L>(token, loss, want, sigma, objective),
        }
    }

    #[inline(always)]
    fn weigh_as<L: Lanes>(
        &self,
        token: L::Token,
        loss: Loss,
        want: Option<Wanted>,
        sigma: Option<&[Pack]>,
        objective: &mut Pack,
    ) {
        let len = self.target.len();
        let weight = &self.weight[..len];
        for lane in (0..LANES).step_by(L::WIDTH) {
            let mut total = L::load(token, &objective.0[lane..]);
            let irls_fraction = L::load(token, &self.irls_fraction.0[lane..]);
            let outer_fraction = -L::load(token, &self.outer_fraction.0[lane..]);
            for k in 0..len {
                let residual = self.value.get::<L>(token, k, lane) - load::<L>(token, self.target, k, lane);
                let w = load::<L>(token, weight, k, lane);
                let (terms, slope_weight, curvature_weight) = match sigma {
                    Some(sigma) => {
                        let s = load::<L>(token, sigma, k, lane);
                        (loss.terms(residual * s), w * s, w * s * s)
                    }
                    None => (loss.terms(residual), w, w),
                };
                total = w.mul_add(terms.value, total);
                if let Some((slopes, curvatures)) = want {
                    let slope = slope_weight * terms.slope;
                    set(&slopes[k], slope, lane);
                    let curvature = if loss.is_quadratic() {
                        curvature_weight
                    } else {
                        let mixed = (terms.weight - terms.curvature).mul_add(irls_fraction, terms.curvature);
                        curvature_weight * mixed
                    };
                    set(&curvatures[k], outer_fraction.mul_add(slope, curvature), lane);
                }
            }
            total.store(&mut objective.0[lane..]);
        }
    }
}

/// Residuals, where to keep the slopes of those that are weighed when they are summed, and the objective to add them to.
type Unweighed<'a> = (&'a Residuals<'a>, &'a [Cell<Pack>], &'a mut Pack);

/// Up to so many parameters, sums are held in registers.
const MOST_IN_REGISTERS: usize = 6;

/// One block's Jacobian and weights, to be summed into gradient and Gauss–Newton Hessian.
struct Columns<'a> {
    block: &'a Block<'a>,
    outputs: &'a [Operand],
    slopes: Operands<'a>,
    curvatures: Operands<'a>,
}

impl Columns<'_> {
    /// All sums. Where residuals are `plain` least outer_fraction, they are not weighed yet, and the objective is summed too.
    #[inline(always)]
    fn sum<L: Lanes, const P: usize>(
        &self,
        token: L::Token,
        plain: bool,
        mut unweighed: Unweighed,
        gradient: &mut [Pack],
        hessian: &mut [Pack],
    ) {
        let unweighed = &mut unweighed;
        if L::is_split(token) {
            // There are too few registers for all sums: some of them at a time.
            self.sum_rows::<L::Half, P, 0, 3, false>(token, unweighed, gradient, hessian);
            if P > 3 {
                self.sum_rows::<L::Half, P, 3, 5, false>(token, unweighed, gradient, hessian);
            }
            if P > 5 {
                self.sum_rows::<L::Half, P, 5, 6, false>(token, unweighed, gradient, hessian);
            }
        } else if plain {
            self.sum_rows::<L, P, 0, MOST_IN_REGISTERS, true>(token, unweighed, gradient, hessian);
        } else {
            self.sum_rows::<L, P, 0, MOST_IN_REGISTERS, false>(token, unweighed, gradient, hessian);
        }
    }

    /// Some rows of the Hessian's triangle, and the gradient with the first of them. The sums are held in registers and every
    /// value is loaded once: laws have few parameters. With `PLAIN`, slopes and curvatures are those of least outer_fraction; the
    /// slopes are kept for whoever reads them next.
    #[inline(always)]
    fn sum_rows<L: Lanes, const P: usize, const FROM: usize, const TO: usize, const PLAIN: bool>(
        &self,
        token: L::Token,
        (rows, slope_cells, objective): &mut Unweighed,
        gradient: &mut [Pack],
        hessian: &mut [Pack],
    ) {
        let columns: [Operands; P] = std::array::from_fn(|i| self.block.source(self.outputs[i]));
        let len = self.block.len;
        if PLAIN {
            rows.value.assert_covers(len);
            assert!(rows.target.len() >= len && rows.weight.len() >= len && slope_cells.len() >= len);
        } else {
            self.slopes.assert_covers(len);
            self.curvatures.assert_covers(len);
        }
        columns.iter().for_each(|column| column.assert_covers(len));
        let zero = L::splat(token, 0.0);
        for lane in (0..LANES).step_by(L::WIDTH) {
            let mut g = [zero; P];
            let mut h = [[zero; P]; P];
            if FROM == 0 {
                for i in 0..P {
                    g[i] = load(token, gradient, i, lane);
                }
            }
            for i in FROM..TO.min(P) {
                for j in 0..=i {
                    h[i][j] = load(token, hessian, triangle(i) + j, lane);
                }
            }
            let mut total = L::load(token, &objective.0[lane..]);
            let outer_fraction = -L::load(token, &rows.outer_fraction.0[lane..]);
            for k in 0..len {
                // SAFETY: `len` packs were asserted above, here and below.
                let (slope, curvature): (L, L) = if PLAIN {
                    let value: L = unsafe { rows.value.get_unchecked(token, k, lane) };
                    let residual = value - load(token, rows.target, k, lane);
                    let w = load::<L>(token, rows.weight, k, lane);
                    let terms = Loss::L2.terms(residual);
                    total = w.mul_add(terms.value, total);
                    let slope = w * terms.slope;
                    set(&slope_cells[k], slope, lane);
                    (slope, outer_fraction.mul_add(slope, w))
                } else {
                    unsafe {
                        (
                            self.slopes.get_unchecked(token, k, lane),
                            self.curvatures.get_unchecked(token, k, lane),
                        )
                    }
                };
                let mut x = [zero; P];
                for i in 0..P {
                    x[i] = unsafe { columns[i].get_unchecked(token, k, lane) };
                }
                for i in 0..P {
                    if FROM == 0 {
                        g[i] = slope.mul_add(x[i], g[i]);
                    }
                    if FROM <= i && i < TO {
                        let weighted = x[i] * curvature;
                        for j in 0..=i {
                            h[i][j] = weighted.mul_add(x[j], h[i][j]);
                        }
                    }
                }
            }
            if PLAIN {
                total.store(&mut objective.0[lane..]);
            }
            if FROM == 0 {
                for i in 0..P {
                    g[i].store(&mut gradient[i].0[lane..]);
                }
            }
            for i in FROM..TO.min(P) {
                for j in 0..=i {
                    h[i][j].store(&mut hessian[triangle(i) + j].0[lane..]);
                }
            }
        }
    }

    /// Each column times the slopes, side by side.
    #[inline(always)]
    fn sum_weighted<L: Lanes, const Q: usize>(&self, token: L::Token, sums: &mut [Pack]) {
        let columns: [Operands; Q] = std::array::from_fn(|i| self.block.source(self.outputs[i]));
        let len = self.block.len;
        self.slopes.assert_covers(len);
        columns.iter().for_each(|column| column.assert_covers(len));
        for lane in (0..LANES).step_by(L::WIDTH) {
            let mut total = [L::splat(token, 0.0); Q];
            for i in 0..Q {
                total[i] = load(token, sums, i, lane);
            }
            for k in 0..len {
                // SAFETY: `len` packs were asserted above, here and below.
                let slope: L = unsafe { self.slopes.get_unchecked(token, k, lane) };
                for i in 0..Q {
                    let x = unsafe { columns[i].get_unchecked(token, k, lane) };
                    total[i] = slope.mul_add(x, total[i]);
                }
            }
            for i in 0..Q {
                total[i].store(&mut sums[i].0[lane..]);
            }
        }
    }

    /// One sum after the other, for laws of many parameters.
    #[inline(always)]
    fn sum_one_by_one<L: Lanes>(
        &self,
        token: L::Token,
        weighted: &[Cell<Pack>],
        gradient: &mut [Pack],
        hessian: &mut [Pack],
    ) {
        let len = self.block.len;
        for i in 0..self.outputs.len() {
            let column = self.block.source(self.outputs[i]);
            dot::<L>(token, len, self.slopes, column, &mut gradient[i]);
            for lane in (0..LANES).step_by(L::WIDTH) {
                for (k, cell) in weighted[..len].iter().enumerate() {
                    let product: L =
                        column.get::<L>(token, k, lane) * self.curvatures.get::<L>(token, k, lane);
                    set(cell, product, lane);
                }
            }
            let weighted_column = Operands::each(&weighted[..len]);
            for j in 0..=i {
                let other = self.block.source(self.outputs[j]);
                dot::<L>(token, len, weighted_column, other, &mut hessian[triangle(i) + j]);
            }
        }
    }
}

#[inline(always)]
fn load<L: Lanes>(token: L::Token, packs: &[Pack], k: usize, lane: usize) -> L {
    L::load(token, &packs[k].0[lane..])
}

#[inline(always)]
fn set<L: Lanes>(cell: &Cell<Pack>, value: L, lane: usize) {
    let mut pack = if L::WIDTH == LANES { Pack::ZERO } else { cell.get() };
    value.store(&mut pack.0[lane..]);
    cell.set(pack);
}

/// `sum += Σ_k a[k]·b[k]`, per lane, in order of k.
#[inline(always)]
fn dot<L: Lanes>(token: L::Token, len: usize, a: Operands, b: Operands, sum: &mut Pack) {
    for lane in (0..LANES).step_by(L::WIDTH) {
        let mut total = L::load(token, &sum.0[lane..]);
        for k in 0..len {
            total = a.get::<L>(token, k, lane).mul_add(b.get(token, k, lane), total);
        }
        total.store(&mut sum.0[lane..]);
    }
}
