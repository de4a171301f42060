//! The jackknife: each replicate leaves out one observation, or one cluster.

use crate::problem::Observations;

use super::scheme::{Sample, Scheme};
use super::units::Units;

/// Leaves out one unit after the other (Quenouille 1956), or one group of units after the other.
#[derive(Debug)]
pub struct Jackknife {
    units: Units,
    /// The number of groups of units.
    groups: usize,
    /// The weight of each observation in the sweep.
    own: Vec<f64>,
}

impl Jackknife {
    /// Prepares to leave out the observations of positive weight, or their clusters if there are any: one by one, or where
    /// there are more than `most`, in as many groups.
    #[must_use]
    pub fn new(observations: &Observations, most: usize) -> Jackknife {
        let units = Units::of(observations);
        Jackknife { groups: units.count.min(most), units, own: observations.weight.clone() }
    }
}

impl Scheme for Jackknife {
    fn n_units(&self) -> usize {
        self.units.count
    }

    fn n_samples(&self, most: usize) -> usize {
        self.groups.min(most)
    }

    fn n_replicates(&self, _: usize) -> usize {
        self.groups
    }

    fn draw(&mut self, replicate: u64, Sample { rows, weight, .. }: Sample<'_>) -> usize {
        let Jackknife { units, groups, own } = self;
        units.keep(rows, weight, |i| {
            let is_left_out = units.of[i] as u64 % *groups as u64 == replicate;
            if is_left_out { 0.0 } else { own[i] }
        })
    }
}
