//! The units that a scheme draws or changes: observations of positive weight, or clusters of them.

use crate::problem::Observations;

/// The units of a fit.
#[derive(Clone, Debug)]
pub struct Units {
    /// The number of units.
    pub count: usize,
    /// Whether units are clusters.
    pub are_clusters: bool,
    /// The observations of positive weight, in the canonical order of the sweep. All laws of a job share this order, so
    /// laws that use the same observations draw the same ones.
    pub order: Vec<u32>,
    /// The unit of each observation: an observation's place in `order`, or the number of its cluster; `count` for
    /// observations without weight.
    pub of: Vec<u32>,
}

impl Units {
    /// Returns the clusters where observations have some, or else the observations.
    #[must_use]
    pub fn of(observations: &Observations) -> Units {
        let n = observations.len();
        let mut order: Vec<u32> = (0..n as u32).filter(|&i| observations.weight[i as usize] > 0.0).collect();
        order.sort_unstable_by_key(|&i| observations.rows[i as usize]);
        let mut clusters: Vec<u32> = Vec::new();
        if let Some(cluster) = &observations.cluster {
            clusters.extend(order.iter().map(|&i| cluster[i as usize]));
            clusters.sort_unstable();
            clusters.dedup();
        }
        let are_clusters = observations.cluster.is_some();
        let count = if are_clusters { clusters.len() } else { order.len() };
        let mut of = vec![count as u32; n];
        for (place, &i) in order.iter().enumerate() {
            let unit = match &observations.cluster {
                Some(cluster) => clusters.partition_point(|&present| present < cluster[i as usize]),
                None => place,
            };
            of[i as usize] = unit as u32;
        }
        Units { count, are_clusters, order, of }
    }

    /// Writes the observations of positive weight to the front of `rows`, ascending, and the weight that `weight` gives
    /// each to `weights`; leaves out those of weight zero. Returns how many there are.
    pub fn keep(&self, rows: &mut [u32], weights: &mut [f64], weight: impl Fn(usize) -> f64) -> usize {
        let mut kept = 0;
        for (i, &unit) in self.of.iter().enumerate() {
            if (unit as usize) < self.count {
                let weight = weight(i);
                if weight > 0.0 {
                    (rows[kept], weights[kept]) = (i as u32, weight);
                    kept += 1;
                }
            }
        }
        kept
    }
}
