//! k-means: seeded k-means++ (Arthur & Vassilvitskii, 2007), then Lloyd's iterations.

use espalier_sdk::Rng;

/// Iterations at most; clusters are settled long before, as a rule.
const ITERATIONS: usize = 50;

/// The result of k-means.
pub(crate) struct Clusters {
    /// The centre of each cluster.
    pub(crate) centres: Vec<Vec<f64>>,
    /// The cluster of each point.
    pub(crate) of: Vec<usize>,
}

/// At most `k` clusters of points; fewer where there are fewer different points.
pub(crate) fn kmeans(points: &[Vec<f64>], k: usize, rng: &mut Rng) -> Clusters {
    let mut centres = seeds(points, k, rng);
    let mut of = vec![0; points.len()];
    for _ in 0..ITERATIONS {
        let nearest: Vec<usize> = points.iter().map(|point| nearest(point, &centres).0).collect();
        let settled = nearest == of;
        of = nearest;
        if settled {
            break;
        }
        for (cluster, centre) in centres.iter_mut().enumerate() {
            let members: Vec<&Vec<f64>> =
                points.iter().zip(&of).filter(|(_, of)| **of == cluster).map(|(point, _)| point).collect();
            // A cluster that lost all its points keeps its centre.
            if !members.is_empty() {
                for (column, x) in centre.iter_mut().enumerate() {
                    *x = members.iter().map(|point| point[column]).sum::<f64>() / members.len() as f64;
                }
            }
        }
    }
    Clusters { centres, of }
}

/// The square of the distance between two points.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

/// The nearest centre, the first of equals, and how far it is, squared.
fn nearest(point: &[f64], centres: &[Vec<f64>]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (at, centre) in centres.iter().enumerate() {
        let far = distance(point, centre);
        if far < best.1 {
            best = (at, far);
        }
    }
    best
}

/// The first centres: a point at random, then each with a probability that grows with the square of its
/// distance to those before.
fn seeds(points: &[Vec<f64>], k: usize, rng: &mut Rng) -> Vec<Vec<f64>> {
    let mut far = vec![f64::INFINITY; points.len()];
    let mut centres: Vec<Vec<f64>> = Vec::new();
    let mut next = if points.is_empty() { None } else { Some(rng.below(points.len())) };
    while let Some(at) = next.filter(|_| centres.len() < k) {
        let centre = points[at].clone();
        far.iter_mut().zip(points).for_each(|(far, point)| *far = far.min(distance(point, &centre)));
        centres.push(centre);
        let mut left = rng.unit() * far.iter().sum::<f64>();
        next = far.iter().position(|far| {
            left -= far;
            left < 0.0
        });
    }
    centres
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_that_lie_apart_are_found() {
        let mut rng = Rng::new(1);
        let points: Vec<Vec<f64>> =
            (0..90).map(|at| vec![(at % 3) as f64 * 10.0 + rng.unit(), rng.unit()]).collect();
        let clusters = kmeans(&points, 3, &mut rng);
        for (at, cluster) in clusters.of.iter().enumerate() {
            assert_eq!(*cluster, clusters.of[at % 3], "point {at}");
        }
        assert_eq!(clusters.centres.len(), 3);
    }

    #[test]
    fn there_are_no_more_clusters_than_points_that_differ() {
        let mut rng = Rng::new(1);
        assert_eq!(kmeans(&[vec![1.0], vec![1.0], vec![2.0]], 5, &mut rng).centres.len(), 2);
        assert!(kmeans(&[], 5, &mut rng).centres.is_empty());
    }
}
