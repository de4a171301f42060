//! What a resampling scheme is: a way to make the replicates of one fit.

/// The buffers that a scheme writes one replicate to; each has room for all observations of the fit.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Positions of the observations that take part, ascending.
    pub rows: &'a mut [u32],
    /// The weight of each.
    pub weight: &'a mut [f64],
    /// The transformed response T(y) of each; empty where the scheme keeps the sweep's.
    pub target: &'a mut [f64],
}

/// A way to make replicates of one fit.
pub trait Scheme {
    /// Returns the number of units that a replicate draws. From a single unit every replicate is the same.
    fn n_units(&self) -> usize;

    /// Returns the number of different replicates that the scheme can make, up to `most`.
    fn n_samples(&self, most: usize) -> usize;

    /// Returns the number of replicates to be made where the user asks for some.
    fn n_replicates(&self, asked: usize) -> usize {
        asked
    }

    /// Returns whether replicates have responses of their own.
    fn makes_responses(&self) -> bool {
        false
    }

    /// Makes a replicate, given by its number alone, at the front of the buffers, and returns how many observations it has.
    fn draw(&mut self, replicate: u64, sample: Sample<'_>) -> usize;

    /// Returns whether a replicate of so many observations is the sweep itself, and says nothing about other sweeps.
    fn is_original(&self, _n_drawn: usize) -> bool {
        false
    }
}
