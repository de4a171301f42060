//! Lines and parabolas by least squares, in powers of a centred and scaled variable.

/// A parabola `a + b·x + c·x²`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parabola {
    /// The position of the vertex.
    pub vertex: f64,
    /// The value there.
    pub value: f64,
    /// Twice the coefficient of the square.
    pub curvature: f64,
}

/// Returns the line through points, as intercept and slope; none where fewer than two positions differ.
#[must_use]
pub fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let squares: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let products: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let size: f64 = points.iter().map(|p| p.0 * p.0).sum();
    (squares > 1e-24 * size).then(|| (y - products / squares * x, products / squares))
}

/// Returns the parabola through points; none where fewer than three positions differ.
#[must_use]
pub fn parabola(points: &[(f64, f64)]) -> Option<Parabola> {
    let n = points.len() as f64;
    let centre = points.iter().map(|p| p.0).sum::<f64>() / n;
    let width = points.iter().map(|p| (p.0 - centre).abs()).fold(0.0, f64::max);
    if !(width > 0.0) {
        return None;
    }
    // Orthogonal polynomials: 1, u and u² − s·u − m, with u from −1 to 1.
    let u: Vec<f64> = points.iter().map(|p| (p.0 - centre) / width).collect();
    let mean = |f: &dyn Fn(f64) -> f64| u.iter().map(|u| f(*u)).sum::<f64>() / n;
    let (second, third) = (mean(&|u| u * u), mean(&|u| u.powi(3)));
    let skew = third / second;
    let q = |u: f64| u * u - skew * u - second;
    let norm = mean(&|u| q(u).powi(2));
    if !(norm > 1e-20) {
        return None;
    }
    let along = |f: &dyn Fn(f64) -> f64| u.iter().zip(points).map(|(u, p)| f(*u) * p.1).sum::<f64>() / n;
    let (level, slope, bend) = (along(&|_| 1.0), along(&|u| u) / second, along(&q) / norm);
    // level + slope·u + bend·(u² − skew·u − second)
    let linear = slope - bend * skew;
    let vertex = -linear / (2.0 * bend);
    let value = level - bend * second - bend * vertex * vertex;
    Some(Parabola { vertex: centre + width * vertex, value, curvature: 2.0 * bend / (width * width) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_points_give_their_line_and_parabola() {
        let at: Vec<f64> = [20.0, 20.7, 22.0, 23.5, 21.1].to_vec();
        let points: Vec<(f64, f64)> = at.iter().map(|&x| (x, 2.0 + 0.03 * (x - 21.3).powi(2))).collect();
        let found = parabola(&points).unwrap();
        assert!((found.vertex - 21.3).abs() < 1e-10 && (found.value - 2.0).abs() < 1e-12);
        assert!((found.curvature - 0.06).abs() < 1e-12);
        let points: Vec<(f64, f64)> = at.iter().map(|&x| (x, 3.0 - 0.5 * x)).collect();
        let (intercept, slope) = line(&points).unwrap();
        assert!((intercept - 3.0).abs() < 1e-12 && (slope + 0.5).abs() < 1e-13);
        assert_eq!(line(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(parabola(&[(1.0, 2.0), (2.0, 3.0), (1.0, 2.5)]), None);
    }

    /// `numpy.polyfit([0, 1, 2, 3, 4, 6], [5, 3, 2.5, 2, 3, 6], 2)` of NumPy 2.4.6.
    #[test]
    fn noisy_points_give_the_parabola_of_numpy() {
        let points = [(0.0, 5.0), (1.0, 3.0), (2.0, 2.5), (3.0, 2.0), (4.0, 3.0), (6.0, 6.0)];
        let found = parabola(&points).unwrap();
        let [c, b, a] = [0.363_095_238_095_238, -1.978_571_428_571_429_3, 4.865_476_190_476_190_5];
        assert!((found.curvature - 2.0 * c).abs() < 1e-8, "{found:?}");
        assert!((found.vertex + b / (2.0 * c)).abs() < 1e-7, "{found:?}");
        assert!((found.value - (a - b * b / (4.0 * c))).abs() < 1e-7, "{found:?}");
    }
}
