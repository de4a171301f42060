//! Points of the solver's coordinates, one after the other in one vector.

use crate::lanes::{LANES, Pack};

/// Points of so many coordinates each.
#[derive(Clone, Debug, Default)]
pub struct Points {
    p: usize,
    n: usize,
    values: Vec<f64>,
}

impl Points {
    /// Empties it, for points of `p` coordinates.
    pub fn clear(&mut self, p: usize) {
        self.p = p;
        self.resize(0);
    }

    /// Points that are added are zero.
    pub fn resize(&mut self, n: usize) {
        self.n = n;
        self.values.resize(n * self.p, 0.0);
    }

    pub fn push(&mut self, point: &[f64]) {
        self.n += 1;
        self.values.extend_from_slice(point);
    }

    pub fn len(&self) -> usize {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    pub fn point(&self, i: usize) -> &[f64] {
        &self.values[i * self.p..(i + 1) * self.p]
    }

    pub fn point_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.p..(i + 1) * self.p]
    }

    /// All coordinates, point by point.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// How many points a pack holds from the given one on.
    pub fn in_pack(&self, first: usize) -> usize {
        LANES.min(self.n - first)
    }

    /// The points from the given one on as one pack per coordinate; the last point fills the lanes that are left.
    pub fn pack(&self, first: usize, packs: &mut Vec<Pack>) {
        let last = self.in_pack(first) - 1;
        packs.clear();
        packs.extend(
            (0..self.p).map(|i| Pack(std::array::from_fn(|lane| self.point(first + lane.min(last))[i]))),
        );
    }
}
