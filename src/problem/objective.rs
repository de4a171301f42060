//! The objective, its gradient and its Hessian, eight lanes at a time.
//!
//! For `f(θ) = Σ w·ρ(s·(m(θ) − t))`, `m = T(prediction)`, `t = T(response)`, `s = 1/σ`:
//!
//! * gradient `Σ w·s·ρ′·∂m`,
//! * Hessian `Σ w·s²·c·∂m ∂mᵀ + λ·Σ w·s·ρ′·∂²m`, where the curvature `c` is a mixture of the loss's own curvature `ρ″`
//!   and that of iteratively reweighted least squares (IRLS), `ρ′(u)/u`, and `λ` in [0, 1] is the fraction of the law's
//!   second derivatives.
//!
//! Second derivatives double the number of evaluations from far starts and halve it near the optimum, so searches
//! choose `λ`; laws for which they are expensive have none (see [`Model::second_derivatives`]). For `m = log q` they
//! are `∂²q/q − ∂m ∂mᵀ`: the second part is absorbed in `c`, and the first, for a sum of powers, is made of sums that
//! the gradient needs anyway.

use std::cell::Cell;

use fearless_simd::{Level, dispatch};

use crate::compile::{BLOCK, Block, Model, Operand, Operands, Program, SecondDerivativeSource};
use crate::lanes::Lanes;
use crate::lanes::{LANES, Pack};
use crate::linalg::triangle;

use super::{LaneData, Loss};

/// The derivatives that are computed besides the objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// None.
    Value,
    /// Gradient and Hessian.
    Hessian,
}

/// The buffers of a program, reused so that evaluations allocate nothing.
#[derive(Debug, Default)]
pub struct ProgramWorkspace {
    slots: Vec<Cell<Pack>>,
    registers: Vec<Cell<Pack>>,
    /// Packs per register.
    register_stride: usize,
    /// What [`outputs`] returned last.
    outputs: Vec<Pack>,
    /// The program whose constants are in `slots`.
    constants_of: Option<u64>,
}

/// The sums of one evaluation per lane: objective, gradient (p), Hessian (lower triangle by rows).
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub packs: Vec<Pack>,
}

impl Sums {
    /// Replaces every lane by the sum of all lanes, for a fit that is spread over them.
    pub fn add_lanes(&mut self) {
        for pack in &mut self.packs {
            let [a, b, c, d, e, f, g, h] = pack.0;
            *pack = Pack::splat(((a + e) + (c + g)) + ((b + f) + (d + h)));
        }
    }
}

/// An objective to be evaluated: a model under a loss on lane data, with derivatives as `order` says.
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

    /// Evaluates one lane at a time: the reference for tests of the vector code.
    #[cfg(test)]
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
        workspace.prepare(self.program(), coordinates, &self.data.means, self.data.n_packs);
        let p = coordinates.len();
        // Every output has a sum, and every pair of first derivatives.
        let pairs = if self.order == Order::Value { 0 } else { triangle(p) };
        let n_sums = self.program().outputs.len() + self.program().tail_outputs.len() + pairs;
        sums.packs.clear();
        sums.packs.resize(n_sums, Pack::ZERO);
    }
}

/// The composition of the Hessian, per lane.
#[derive(Clone, Debug)]
pub struct CurvatureMix {
    /// The fraction, in [[`MIN_IRLS_FRACTION`], 1], of the IRLS curvature `ρ′(u)/u`; the rest is the loss's own `ρ″`.
    pub irls_fraction: Pack,
    /// The fraction, in [0, 1], of the law's second derivatives.
    pub second_derivatives: Pack,
}

impl CurvatureMix {
    /// The Gauss–Newton matrix with the loss's own curvature.
    pub const GAUSS_NEWTON: CurvatureMix =
        CurvatureMix { irls_fraction: Pack([MIN_IRLS_FRACTION; LANES]), second_derivatives: Pack::ZERO };
}

impl Default for CurvatureMix {
    fn default() -> Self {
        CurvatureMix::GAUSS_NEWTON
    }
}

/// The smallest fraction of the IRLS curvature. It prevents a loss of rank where hardly any residual is within δ. The
/// gradient is exact, so it costs speed near the optimum but no accuracy. Far from the optimum the IRLS curvature alone
/// is the better model: it bounds the loss from above.
pub const MIN_IRLS_FRACTION: f64 = 0.001;

/// The registers beyond those of the program: slopes, curvatures, one weighted column of the Jacobian.
const EXTRA_REGISTERS: usize = 3;

impl ProgramWorkspace {
    /// Makes room for evaluating `n_packs` packs of observations at some coordinates.
    pub(super) fn prepare(
        &mut self,
        program: &Program,
        coordinates: &[Pack],
        means: &[Pack],
        n_packs: usize,
    ) {
        let parameter = &program.parameter;
        if self.constants_of != Some(program.id) {
            self.slots.clear();
            self.slots.resize(parameter.n_slots, Cell::new(Pack::ZERO));
            parameter.set_constants(&self.slots);
            self.constants_of = Some(program.id);
        }
        // Blocks of short fits are shorter, and so are their registers.
        self.register_stride = BLOCK.min(n_packs);
        let registers = (program.n_registers + EXTRA_REGISTERS) * self.register_stride;
        if self.registers.len() < registers {
            self.registers.resize(registers, Cell::new(Pack::ZERO));
        }
        for (slot, &pack) in self.slots.iter().zip(coordinates.iter().chain(means)) {
            slot.set(pack);
        }
    }

    /// Computes what a program needs of the coordinates alone, before its first block.
    #[inline(always)]
    pub(super) fn run_parameters<L: Lanes>(&self, token: L::Token, program: &Program) {
        program.parameter.run::<L>(token, &self.slots);
    }

    /// Returns the block of packs that begins at `start`.
    #[inline(always)]
    pub(super) fn block<'a>(&'a self, data: &'a LaneData, start: usize) -> Block<'a> {
        Block {
            slots: &self.slots,
            columns: &data.columns,
            stride: data.stride,
            start,
            len: BLOCK.min(data.n_packs - start),
            registers: &self.registers,
            register_stride: self.register_stride,
        }
    }
}

/// Returns the values of a program's outputs for every pack, `out[output][pack]`, computed eight lanes wide.
pub fn outputs_lanes(
    program: &Program,
    data: &LaneData,
    coordinates: &[Pack],
    workspace: &mut ProgramWorkspace,
) -> Vec<Vec<Pack>> {
    let out = outputs(program, data, coordinates, workspace);
    (0..program.outputs.len()).map(|i| out[i * data.n_packs..(i + 1) * data.n_packs].to_vec()).collect()
}

/// Returns the values of a program's outputs, one output after the other, `n_packs` packs each.
pub fn outputs<'w>(
    program: &Program,
    data: &LaneData,
    coordinates: &[Pack],
    workspace: &'w mut ProgramWorkspace,
) -> &'w [Pack] {
    workspace.prepare(program, coordinates, &data.means, data.n_packs);
    let mut out = std::mem::take(&mut workspace.outputs);
    out.resize(program.outputs.len() * data.n_packs, Pack::ZERO);
    dispatch!(Level::new(), simd =>
        write_outputs::<fearless_simd::f64x8<_>>(simd, program, data, workspace, &mut out));
    workspace.outputs = out;
    &workspace.outputs
}

/// Computes the weighted normal equations of a model's amplitudes at eight points. `rows` holds responses and their
/// weights, one pack per observation. Leaves in `sums` the Gram matrix of the amplitudes' factors (lower triangle by
/// rows), then their products with the response minus the part of the prediction without amplitudes.
pub fn amplitude_equations(
    level: Level,
    model: &Model,
    data: &LaneData,
    rows: (&[Pack], &[Pack]),
    coordinates: &[Pack],
    workspace: &mut ProgramWorkspace,
    sums: &mut Sums,
) {
    workspace.prepare(&model.design, coordinates, &data.means, data.n_packs);
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
    workspace.run_parameters::<L>(token, program);
    let m = program.outputs.len() - 1;
    let (gram, products) = sums.split_at_mut(triangle(m));
    for start in (0..data.n_packs).step_by(BLOCK) {
        let block = workspace.block(data, start);
        program.run::<L>(token, &block);
        let len = block.len;
        let extra = &block.registers[program.n_registers * block.register_stride..];
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
fn write_outputs<L: Lanes>(
    token: L::Token,
    program: &Program,
    data: &LaneData,
    workspace: &mut ProgramWorkspace,
    out: &mut [Pack],
) {
    workspace.run_parameters::<L>(token, program);
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
        workspace.run_parameters::<L>(token, program);
        for start in (0..data.n_packs).step_by(BLOCK) {
            let block = workspace.block(data, start);
            program.run::<L>(token, &block);
            let len = block.len;
            let extra = &block.registers[program.n_registers * block.register_stride..];
            let (slope_cells, rest) = extra.split_at(block.register_stride);
            let (curvature_cells, weighted) = rest.split_at(block.register_stride);
            let value = block.source(program.outputs[0]);
            let target = &data.target[start..start + len];
            let weight = &data.weight[start..start + len];
            let sigma = data.inverse_sigma.get(start..start + len);
            let outer_fraction = if model.second_of_log { &mix.second_derivatives } else { &Pack::ZERO };
            let rows =
                Residuals { value, target, weight, sigma, irls_fraction: &mix.irls_fraction, outer_fraction };
            let cells = (order != Order::Value).then_some((slope_cells, curvature_cells));
            // Plain least squares compute slopes and curvatures in the loop that sums them.
            let fused = loss.is_quadratic()
                && sigma.is_none()
                && p <= MAX_IN_REGISTERS
                && cells.is_some()
                && !L::is_split(token);
            // One loop per loss: inside the loop the choice would be made for every pack.
            match loss {
                Loss::L2 if fused => {}
                Loss::L2 => rows.apply_loss::<L>(token, Loss::L2, cells, &mut sums[0]),
                Loss::Huber { delta } => {
                    rows.apply_loss::<L>(token, Loss::Huber { delta }, cells, &mut sums[0])
                }
                Loss::SoftL1 { delta } => {
                    rows.apply_loss::<L>(token, Loss::SoftL1 { delta }, cells, &mut sums[0])
                }
                Loss::Cauchy { delta } => {
                    rows.apply_loss::<L>(token, Loss::Cauchy { delta }, cells, &mut sums[0])
                }
            }
            if order == Order::Value {
                continue;
            }

            let (objective, rest) = sums.split_at_mut(1);
            let (gradient, hessian) = rest.split_at_mut(p);
            let (hessian, second_sums) = hessian.split_at_mut(triangle(p));
            let slopes = Operands::each(&slope_cells[..len]);
            let curvatures = Operands::each(&curvature_cells[..len]);
            let columns =
                JacobianColumns { block: &block, outputs: &program.outputs[1..=p], slopes, curvatures };
            let fused_input = (&rows, slope_cells, &mut objective[0]);
            match p {
                1 => columns.sum::<L, 1>(token, fused, fused_input, gradient, hessian),
                2 => columns.sum::<L, 2>(token, fused, fused_input, gradient, hessian),
                3 => columns.sum::<L, 3>(token, fused, fused_input, gradient, hessian),
                4 => columns.sum::<L, 4>(token, fused, fused_input, gradient, hessian),
                5 => columns.sum::<L, 5>(token, fused, fused_input, gradient, hessian),
                6 => columns.sum::<L, 6>(token, fused, fused_input, gradient, hessian),
                _ => columns.sum_one_by_one::<L>(token, weighted, gradient, hessian),
            }
            if with_second {
                program.run_tail::<L>(token, &block);
                for (sums, outputs) in second_sums.chunks_mut(4).zip(program.tail_outputs.chunks(4)) {
                    let columns = JacobianColumns { block: &block, outputs, slopes, curvatures };
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

/// Adds a fraction of the law's second derivatives to the Hessian. Lanes with fraction zero stay unchanged, whatever
/// the second derivatives are.
#[inline(always)]
fn add_second_derivatives<L: Lanes>(token: L::Token, model: &Model, fraction: &Pack, sums: &mut [Pack]) {
    let p = model.coordinates.len();
    for lane in (0..LANES).step_by(L::WIDTH) {
        let fraction = L::load(token, &fraction.0[lane..]);
        let none = fraction.eq(fraction.fill(0.0));
        for term in &model.second_derivatives {
            let sum = match term.source {
                SecondDerivativeSource::First(i) => 1 + i,
                SecondDerivativeSource::Own(k) => 1 + p + triangle(p) + k,
            };
            let sum = load::<L>(token, sums, sum, lane);
            let entry = &mut sums[1 + p + triangle(term.row) + term.column].0[lane..];
            let value = L::load(token, entry);
            L::select(none, value, fraction.mul_add(sum, value)).store(entry);
        }
    }
}

/// The cells to which slopes and curvatures of a block's residuals are written.
type DerivativeCells<'a> = (&'a [Cell<Pack>], &'a [Cell<Pack>]);

/// The residuals of one block before the loss is applied.
struct Residuals<'a> {
    value: Operands<'a>,
    target: &'a [Pack],
    weight: &'a [Pack],
    /// 1/σ.
    sigma: Option<&'a [Pack]>,
    irls_fraction: &'a Pack,
    /// The fraction of `−ρ′·∂m ∂mᵀ`.
    outer_fraction: &'a Pack,
}

impl Residuals<'_> {
    /// Adds the losses to `objective`, and writes slopes and curvatures to `cells` if given.
    #[inline(always)]
    fn apply_loss<L: Lanes>(
        &self,
        token: L::Token,
        loss: Loss,
        cells: Option<DerivativeCells>,
        objective: &mut Pack,
    ) {
        match (cells, self.sigma) {
            (None, sigma) => self.apply_loss_with::<L>(token, loss, None, sigma, objective),
            (cells, None) => self.apply_loss_with::<L>(token, loss, cells, None, objective),
            (cells, sigma) => self.apply_loss_with::<L>(token, loss, cells, sigma, objective),
        }
    }

    #[inline(always)]
    fn apply_loss_with<L: Lanes>(
        &self,
        token: L::Token,
        loss: Loss,
        cells: Option<DerivativeCells>,
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
                if let Some((slopes, curvatures)) = cells {
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

/// The residuals, the cells for their slopes, and the objective, for the loop that applies least squares while it sums.
type FusedInput<'a> = (&'a Residuals<'a>, &'a [Cell<Pack>], &'a mut Pack);

/// The largest number of parameters for which sums are held in registers.
const MAX_IN_REGISTERS: usize = 6;

/// The Jacobian and the weights of one block, to be summed to gradient and Gauss–Newton matrix.
struct JacobianColumns<'a> {
    block: &'a Block<'a>,
    outputs: &'a [Operand],
    slopes: Operands<'a>,
    curvatures: Operands<'a>,
}

impl JacobianColumns<'_> {
    /// Adds all sums of a block. With `fused`, least squares are applied in the same loop, and the objective is summed
    /// too.
    #[inline(always)]
    fn sum<L: Lanes, const P: usize>(
        &self,
        token: L::Token,
        fused: bool,
        mut fused_input: FusedInput,
        gradient: &mut [Pack],
        hessian: &mut [Pack],
    ) {
        let fused_input = &mut fused_input;
        if L::is_split(token) {
            // There are too few registers for all sums at once.
            self.sum_rows::<L::Half, P, 0, 3, false>(token, fused_input, gradient, hessian);
            if P > 3 {
                self.sum_rows::<L::Half, P, 3, 5, false>(token, fused_input, gradient, hessian);
            }
            if P > 5 {
                self.sum_rows::<L::Half, P, 5, 6, false>(token, fused_input, gradient, hessian);
            }
        } else if fused {
            self.sum_rows::<L, P, 0, MAX_IN_REGISTERS, true>(token, fused_input, gradient, hessian);
        } else {
            self.sum_rows::<L, P, 0, MAX_IN_REGISTERS, false>(token, fused_input, gradient, hessian);
        }
    }

    /// Adds some rows of the Hessian's triangle, and with the first of them the gradient. The sums are held in
    /// registers and every value is loaded once. With `FUSED`, slopes and curvatures are those of least squares, and
    /// the slopes are kept for the second derivatives.
    #[inline(always)]
    fn sum_rows<L: Lanes, const P: usize, const FROM: usize, const TO: usize, const FUSED: bool>(
        &self,
        token: L::Token,
        (rows, slope_cells, objective): &mut FusedInput,
        gradient: &mut [Pack],
        hessian: &mut [Pack],
    ) {
        let columns: [Operands; P] = std::array::from_fn(|i| self.block.source(self.outputs[i]));
        let len = self.block.len;
        if FUSED {
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
                let (slope, curvature): (L, L) = if FUSED {
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
            if FUSED {
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

    /// Adds the products of each column with the slopes, `Q` columns at a time.
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

    /// Adds one sum after the other, for laws of many parameters.
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

/// Adds `Σ_k a[k]·b[k]` to `sum`, per lane, in the order of k.
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
