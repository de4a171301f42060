//! Geodesic acceleration estimated from the last accepted step, without an evaluation of its own.
//!
//! After an accepted step `δ` the gradient differs from the gradient of the quadratic model by `h = ∇f(θ+δ) − (g +
//! Hδ)`, which is the second-order effect of the curved model surface along `δ`. A next step in about the same
//! direction, `κ` times as long, meets `κ²h` and is corrected by `−(H + μM)⁻¹κ²h`. This is the geodesic acceleration of
//! Transtrum & Sethna (2012, arXiv:1201.5885), taken from the last step instead of a directional second derivative.
//!
//! Replicates know the second derivatives and correct their steps by those instead: `normal_coordinates`, whose
//! `set_geodesic_correction` chooses between the two.

use crate::lanes::{Lanes, is_true, load};

use super::state::Searches;
use crate::optimize::tuning::Tuning;

impl Searches {
    /// Computes the corrections of the steps in the lanes `good`, and leaves in `correction` what is to be subtracted.
    ///
    /// Only steps aligned with the last one and shorter than it are corrected: longer ones extrapolate beyond what is
    /// known, and together with the law's second derivatives the correction was found to lead searches astray.
    #[inline(always)]
    pub(in crate::optimize) fn geodesic_acceleration<L: Lanes>(
        &mut self,
        token: L::Token,
        good: L::Mask,
        tuning: &Tuning,
    ) {
        let zero = L::splat(token, 0.0);
        let (ratio, aligned) = self.compare_with_last_step::<L>(token, &tuning.watchdog);
        let excluded =
            is_true::<L>(token, &self.has_second_derivatives) | is_true::<L>(token, &self.watchdog.relaxed);
        let accelerated =
            good & !excluded & aligned & ratio.lt(zero.fill(tuning.geodesic_acceleration.max_ratio));
        if !L::any(accelerated) {
            self.correction.iter_mut().for_each(|correction| zero.store(&mut correction.0));
            return;
        }
        let squared = ratio * ratio;
        for (correction, gradient_error) in self.correction.iter_mut().zip(&self.watchdog.gradient_error) {
            (load::<L>(token, gradient_error) * squared).store(&mut correction.0);
        }
        self.solve_for_correction::<L>(token);
        for (correction, rhs) in self.correction.iter_mut().zip(&self.rhs) {
            (-load::<L>(token, rhs)).store(&mut correction.0);
        }
        self.keep_small_corrections::<L>(token, accelerated, &tuning.geodesic_acceleration);
    }
}
