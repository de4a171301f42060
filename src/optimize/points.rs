//! Points in solver coordinates, one after the other in one vector.

use crate::lanes::{LANES, Pack};

/// A list of points with p coordinates each, row-major.
#[derive(Clone, Debug, Default)]
pub struct Points {
    p: usize,
    n: usize,
    values: Vec<f64>,
}

impl Points {
    /// Removes all points and sets the number of coordinates to `p`.
    pub fn clear(&mut self, p: usize) {
        self.p = p;
        self.resize(0);
    }

    /// Sets the number of points; new points are zero.
    pub fn resize(&mut self, n: usize) {
        self.n = n;
        self.values.resize(n * self.p, 0.0);
    }

    /// Appends a point.
    pub fn push(&mut self, point: &[f64]) {
        self.n += 1;
        self.values.extend_from_slice(point);
    }

    /// Returns the number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n
    }

    /// Returns whether there are no points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Returns the coordinates of a point.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[must_use]
    pub fn point(&self, i: usize) -> &[f64] {
        &self.values[i * self.p..(i + 1) * self.p]
    }

    /// Returns the coordinates of a point for writing.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    pub fn point_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.p..(i + 1) * self.p]
    }

    /// Returns all coordinates, point by point.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Returns all coordinates for writing, point by point.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Returns how many points the pack that begins with point `first` holds.
    #[must_use]
    pub fn in_pack(&self, first: usize) -> usize {
        LANES.min(self.n - first)
    }

    /// Writes the points from `first` on as one pack per coordinate. The last point is repeated in lanes that are left.
    pub fn pack(&self, first: usize, packs: &mut Vec<Pack>) {
        let last = self.in_pack(first) - 1;
        packs.clear();
        packs.extend(
            (0..self.p).map(|i| Pack(std::array::from_fn(|lane| self.point(first + lane.min(last))[i]))),
        );
    }
}
