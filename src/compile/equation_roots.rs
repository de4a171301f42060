//! Roots of equations over a block of packs.
//!
//! All lanes of a block iterate together, each in its own bracket, and the equation's instructions run as long as any
//! bracket is open. The root in a lane depends on that lane's values alone ([`crate::lanes::root`]).

use std::cell::Cell;

use crate::lanes::Lanes;
use crate::lanes::root::{MOST_ROUNDS, Search, above, below};

use crate::lanes::{LANES, Pack};

use super::operands::{BLOCK, Operands};

/// The state of the root searches of one pack.
#[derive(Clone, Copy)]
struct RootSearches {
    low: Pack,
    high: Pack,
    last: Pack,
    direction: Pack,
    open: Pack,
}

/// The operands of an equation over a block, and the cells of its unknown.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    pub low: Operands<'a>,
    pub high: Operands<'a>,
    pub value: Operands<'a>,
    pub slope: Operands<'a>,
    pub unknown: &'a [Cell<Pack>],
}

/// Leaves the roots in `places.unknown`; `equation` computes value and slope at the unknown.
pub fn solve_block<L: Lanes>(token: L::Token, places: Places, equation: impl Fn()) {
    let len = places.unknown.len();
    let at_low = at_end::<L>(token, places, places.low, above::<L>, &equation);
    let at_high = at_end::<L>(token, places, places.high, below::<L>, &equation);
    let mut all = [RootSearches::NONE; BLOCK];
    for k in 0..len {
        let mut points = Pack::ZERO;
        for lane in (0..LANES).step_by(L::WIDTH) {
            let load = |pack: &Pack| L::load(token, &pack.0[lane..]);
            let (low, high) = (places.low.get(token, k, lane), places.high.get(token, k, lane));
            let search = Search::begin(low, high, load(&at_low[k]), load(&at_high[k]));
            all[k].store(search, lane);
            search.point.store(&mut points.0[lane..]);
        }
        places.unknown[k].set(points);
    }
    for round in 0..MOST_ROUNDS {
        if all[..len].iter().all(|s| s.open.0.iter().all(|open| *open == 0.0)) {
            return;
        }
        equation();
        observe::<L>(token, places, &mut all[..len], round);
    }
}

/// Returns the equation's value at one end of every bracket, or just inside where it has none at the end itself.
fn at_end<L: Lanes>(
    token: L::Token,
    places: Places,
    end: Operands,
    inside: fn(L) -> L,
    equation: &impl Fn(),
) -> [Pack; BLOCK] {
    let mut values = [Pack::ZERO; BLOCK];
    for k in 0..places.unknown.len() {
        places.unknown[k].set(end.pack(k));
    }
    equation();
    let mut missing = false;
    for k in 0..places.unknown.len() {
        values[k] = places.value.pack(k);
        missing |= values[k].0.iter().any(|v| v.is_nan());
    }
    if missing {
        for k in 0..places.unknown.len() {
            let mut beside = Pack::ZERO;
            for lane in (0..LANES).step_by(L::WIDTH) {
                inside(end.get(token, k, lane)).store(&mut beside.0[lane..]);
            }
            places.unknown[k].set(beside);
        }
        equation();
        for k in 0..places.unknown.len() {
            let other = places.value.pack(k);
            for (value, other) in values[k].0.iter_mut().zip(other.0) {
                if value.is_nan() {
                    *value = other;
                }
            }
        }
    }
    values
}

/// Advances every search by one round.
fn observe<L: Lanes>(token: L::Token, places: Places, all: &mut [RootSearches], round: usize) {
    L::vectorize(
        token,
        #[inline(always)]
        || {
            for (k, searches) in all.iter_mut().enumerate() {
                let mut points = places.unknown[k].get();
                for lane in (0..LANES).step_by(L::WIDTH) {
                    let ends = (places.low.get(token, k, lane), places.high.get(token, k, lane));
                    let search = searches.load::<L>(token, &points, lane).observe(
                        ends,
                        places.value.get(token, k, lane),
                        places.slope.get(token, k, lane),
                        round,
                    );
                    search.point.store(&mut points.0[lane..]);
                    searches.store(search, lane);
                }
                places.unknown[k].set(points);
            }
        },
    );
}

impl RootSearches {
    const NONE: RootSearches = RootSearches {
        low: Pack::ZERO,
        high: Pack::ZERO,
        last: Pack::ZERO,
        direction: Pack::ZERO,
        open: Pack::ZERO,
    };

    #[inline(always)]
    fn load<L: Lanes>(&self, token: L::Token, points: &Pack, lane: usize) -> Search<L> {
        Search {
            point: L::load(token, &points.0[lane..]),
            low: L::load(token, &self.low.0[lane..]),
            high: L::load(token, &self.high.0[lane..]),
            last: L::load(token, &self.last.0[lane..]),
            direction: L::load(token, &self.direction.0[lane..]),
            open: L::load(token, &self.open.0[lane..]),
        }
    }

    #[inline(always)]
    fn store<L: Lanes>(&mut self, search: Search<L>, lane: usize) {
        search.low.store(&mut self.low.0[lane..]);
        search.high.store(&mut self.high.0[lane..]);
        search.last.store(&mut self.last.0[lane..]);
        search.direction.store(&mut self.direction.0[lane..]);
        search.open.store(&mut self.open.0[lane..]);
    }
}
