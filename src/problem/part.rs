//! Some observations of a fit, with weights and responses: what a replicate is.

/// Some observations of a fit, by position, with the weight of each, and responses where they are not the fit's own.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub rows: &'a [u32],
    pub weight: &'a [f64],
    /// The transformed response T(y) of each row; none for the fit's own.
    pub target: Option<&'a [f64]>,
}

impl<'a> Part<'a> {
    /// Returns observations with their own responses.
    #[must_use]
    pub fn new(rows: &'a [u32], weight: &'a [f64]) -> Part<'a> {
        Part { rows, weight, target: None }
    }

    /// Returns one weight per observation of a fit of `n`, zero for those that are not in the part.
    #[must_use]
    pub fn spread(&self, n: usize) -> Vec<f64> {
        let mut weight = vec![0.0; n];
        for (&i, &w) in self.rows.iter().zip(self.weight) {
            weight[i as usize] = w;
        }
        weight
    }
}
