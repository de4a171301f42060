//! Some observations of a fit, with their weights.

/// Some observations of a fit, by position, and the weight of each.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub rows: &'a [u32],
    pub weight: &'a [f64],
}

impl Part<'_> {
    /// Returns one weight per observation of a fit of `n`, zero for those that are not in the part.
    pub fn spread(&self, n: usize) -> Vec<f64> {
        let mut weight = vec![0.0; n];
        for (&i, &w) in self.rows.iter().zip(self.weight) {
            weight[i as usize] = w;
        }
        weight
    }
}
