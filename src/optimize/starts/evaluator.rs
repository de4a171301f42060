//! Evaluates a problem at eight points at a time, with its observations repeated over the lanes.

use fearless_simd::Level;

use crate::compile::{Model, Program};
use crate::lanes::Pack;
use crate::problem::{
    CurvatureMix, LaneData, Loss, Objective, Order, Problem, ProgramWorkspace, Sums, amplitude_equations,
    outputs,
};

/// An evaluator and its buffers.
#[derive(Debug)]
pub struct Evaluator {
    pub level: Level,
    workspace: ProgramWorkspace,
    pub data: LaneData,
    sums: Sums,
}

impl Default for Evaluator {
    fn default() -> Self {
        Evaluator {
            level: Level::new(),
            workspace: ProgramWorkspace::default(),
            data: LaneData::default(),
            sums: Sums::default(),
        }
    }
}

impl Evaluator {
    /// Loads some of a problem's observations.
    pub fn load(&mut self, problem: &Problem, observations: &[u32]) {
        self.data.repeat(problem, observations);
    }

    /// Returns the sums of the loaded observations at eight points: the objective, and its derivatives as `order` says.
    pub fn objective(&mut self, model: &Model, loss: Loss, order: Order, at: &[Pack]) -> &[Pack] {
        let objective = Objective { model, loss, order, data: &self.data, mix: &CurvatureMix::GAUSS_NEWTON };
        objective.evaluate(self.level, at, &mut self.workspace, &mut self.sums);
        &self.sums.packs
    }

    /// Returns the normal equations of the amplitudes at eight points; see [`amplitude_equations`].
    pub fn amplitude_equations(&mut self, model: &Model, rows: (&[Pack], &[Pack]), at: &[Pack]) -> &[Pack] {
        let Evaluator { level, workspace, data, sums, .. } = self;
        amplitude_equations(*level, model, data, rows, at, workspace, sums);
        &sums.packs
    }

    /// Returns a program's first output at eight points, one pack per observation, and the loaded data.
    pub fn values(&mut self, program: &Program, at: &[Pack]) -> (&[Pack], &LaneData) {
        let values = outputs(program, &self.data, at, &mut self.workspace);
        (&values[..self.data.n_packs], &self.data)
    }
}
