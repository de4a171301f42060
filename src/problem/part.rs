//! Which observations of a fit take part, and how much each counts.

/// The observations of a fit that take part, and their weights.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub rows: &'a [u32],
    pub weight: &'a [f64],
}

impl Part<'_> {
    /// One weight per observation of a fit of `n`.
    pub fn spread(&self, n: usize) -> Vec<f64> {
        let mut weight = vec![0.0; n];
        for (&i, &w) in self.rows.iter().zip(self.weight) {
            weight[i as usize] = w;
        }
        weight
    }
}
