//! Levenberg–Marquardt in lanes: eight searches side by side, told what was found where they asked to look.
//!
//! Minimises `f(θ)` over a box. At an accepted point with gradient `g` and Hessian (or its Gauss–Newton
//! part) `H` the trial step solves, over the coordinates that are not held at a bound,
//!
//! `(H + μ·M) δ = −g`,
//!
//! where `M` is the trust region's metric. `M` is *not* the columns' norms for coordinates that are
//! commensurate already (logarithms, exponents): with column norms a power term that has vanished may run
//! away. The damping `μ` follows Nielsen (1999, IMM-REP-1999-05, eq. 2.4): a smooth function of the gain
//! ratio when a step is accepted, doubling increase when it is not. Under nearly absolute losses the curvature
//! at a point says little of what lies a step away, and doubling took five evaluations to be felt at all. But a refused
//! step that ended uphill tells by how much it was too long: the tangents at its two ends meet near the minimum between
//! them, exactly there where the objective is one kink. So under all losses but least squares, for which this gains
//! nothing, the damping becomes at once what is felt on that scale. Steps that leave the box stop at its face, with the
//! other coordinates solved again.
//!
//! Where the residuals are linear in some amplitudes, a trial point is first moved to the best amplitudes for
//! its other coordinates, if that promises much: then the search runs along the valley of the reduced
//! problem (variable projection; Ruhe & Wedin 1980, algorithm 2) instead of zigzagging across it, and passes
//! exponents of zero, where amplitudes go through infinity.
//!
//! `H` is Gauss–Newton's until steps keep their promises and the next one promises little; there and from then on the
//! law's own second derivatives are added where they are cheap (Newton's method, quadratic at the end; see
//! `Model::bends`). The last step, whose successor would promise next to nothing at the rate at which promises have been
//! falling, is taken without evaluating the objective there again. Where an objective's third derivatives are known, steps
//! are made in normal coordinates (see `normal_coordinates`). Where they are not, least squares follow curved valleys by steps that go
//! uphill for once (see `watchdog`) and by geodesic acceleration (see there).
//!
//! Every step is vector arithmetic under masks. A lane's numbers depend on no other lane: what one lane needs
//! done again is done again for all, and kept only where it was needed.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `state` | what searches are told, where they are, how they end |
//! | `search` | the method above: a trial is accepted or refused, and the next one proposed |
//! | `damped_step` | the linear algebra of a step within the box |
//! | `watchdog` | least squares along curved valleys: steps that go uphill for once |
//! | `geodesic_acceleration` | steps bent by the second-order correction of the last one |
//! | `normal_coordinates` | the same correction where third derivatives are known |
//! | `known_optima` | searches that are on their way to an optimum that another has found |
//! | `lane_queue` | many searches, one per lane |

mod damped_step;
mod geodesic_acceleration;
pub mod known_optima;
pub mod lane_queue;
pub mod normal_coordinates;
mod search;
mod state;
mod watchdog;

pub use search::{SETTLED, settings};
pub use state::{Ending, SearchSettings};
