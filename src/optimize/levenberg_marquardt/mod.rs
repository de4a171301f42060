//! Levenberg–Marquardt searches of one model, eight at a time, one per SIMD lane.
//!
//! A search minimises `f(θ)` over a box of solver coordinates. At the accepted point, with gradient `g` and Hessian (or
//! Gauss–Newton matrix) `H`, the trial step `δ` solves, over the coordinates that the gradient does not hold at a
//! bound,
//!
//! `(H + μ·M) δ = −g`.
//!
//! **Metric.** `M` is the diagonal metric of the trust region. For coordinates that are commensurate already
//! (logarithms, exponents) it is *not* the norms of the Jacobian's columns: with column norms a power term that has
//! vanished can run away to infinity. Where the coordinates are not commensurate, `M` follows the largest curvature
//! seen (Moré 1978).
//!
//! **Damping.** `μ` follows Nielsen (1999, IMM-REP-1999-05, eq. 2.4): it is a smooth function of the gain ratio after
//! an accepted step, and grows by doubling factors after refused ones. Under nearly absolute losses the curvature at a
//! point says little about the objective one step away, and doubling takes about five evaluations to have an effect. A
//! refused step that ended uphill tells how much too long it was: the tangents at its two ends meet near the minimum
//! between them. So under every loss but least squares, for which this gains nothing, the damping is at once set to the
//! value that corresponds to the intersection of the tangents.
//!
//! **Bounds.** A step that would leave the box stops at its face, and the other coordinates are solved again.
//!
//! **Variable projection.** Where the residuals are linear in some amplitudes, a trial point is first moved to the best
//! amplitudes for its other coordinates, if the predicted decrease is worth an evaluation (Ruhe & Wedin 1980, algorithm
//! 2). The search then follows the reduced problem and passes exponents of zero, at which amplitudes go through
//! infinity.
//!
//! **Second derivatives.** `H` is the Gauss–Newton matrix until the gain ratio is high and the predicted decrease
//! small. From there on the law's second derivatives are added, where they are cheap (see `Model::second_derivatives`):
//! Newton's method, which converges quadratically. The last step is taken without an evaluation where the decrease
//! predicted for its successor, extrapolated from the rate at which predictions fall, is negligible.
//!
//! **Curvature of the model surface.** Where third derivatives of the objective are known, steps are made in normal
//! coordinates. Where they are not, least-squares searches use watchdog steps.
//!
//! All arithmetic is vectorised under masks. The numbers of a lane depend on no other lane: what one lane needs again
//! is computed again in every lane and kept only where it was needed.
//!
//! | file | contents |
//! | --- | --- |
//! | `state` | settings of a search, the state of eight searches, how a search ends |
//! | `search` | the method: a trial is accepted or refused, the next trial is proposed |
//! | `damped_step` | linear algebra of the damped step within the box |
//! | `watchdog` | steps that may increase the objective once (least squares) |
//! | `normal_coordinates` | the second-order correction where third derivatives are known; the first step of a replicate |
//! | `known_optima` | searches abandoned on their way to an optimum that is known |
//! | `lane_queue` | many searches of one model, one per lane |
//!
//! The folder knows nothing of how starts are made, of how many searches a fit needs, or of the status of a fit.

mod damped_step;
pub mod known_optima;
pub mod lane_queue;
pub mod normal_coordinates;
mod search;
mod state;
mod watchdog;

pub use search::{SETTLED, settings};
pub use state::{Ending, SearchSettings};
