//! One document for each region of the model's hidden states, as COLA does: mean-pooled hidden states of some
//! layers, normalised, projected at random, clustered; of each cluster the document nearest to its centre.

use crate::{
    kmeans::{distance, kmeans},
    pool::Pool,
};
use espalier_sdk::{
    Documents, Error, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest, Selector,
    SelectorInfo, Windows,
};

/// Numbers that a document's hidden states are projected to.
const WIDTH: usize = 64;

pub(crate) struct ClusterSelector {
    layers: String,
    pool: Pool,
}

impl Selector for ClusterSelector {
    fn info() -> SelectorInfo {
        let info =
            SelectorInfo::new("clusters", "one document for each cluster of the model's hidden states");
        Pool::declare(info.needs_model().option(
            "layers",
            OptionKind::String,
            "",
            "layers whose hidden states count, such as 0,8,15, or all; where nothing is said the first, the middle \
             and the last",
        ))
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { layers: options.string("layers")?.to_owned(), pool: Pool::new(options)? })
    }

    fn select(
        &self,
        documents: &Documents,
        model: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut rng = Rng::new(request.seed);
        let layers = layers(&self.layers, model.info()?.layers)?;
        let pool = self.pool.draw(documents, request, &mut rng)?;
        if pool.is_empty() {
            return Ok(());
        }
        let sequences: Vec<&[u32]> = pool.iter().map(|candidate| candidate.tokens.as_slice()).collect();
        let points = project(&model.pooled(&sequences, &layers)?, layers.len(), &mut rng);
        let clusters = kmeans(&points, request.samples, &mut rng);
        // Of each cluster its documents, the nearest to the centre first; the largest cluster first.
        let mut members: Vec<Vec<(f64, usize)>> = vec![Vec::new(); clusters.centres.len()];
        for (at, &cluster) in clusters.of.iter().enumerate() {
            members[cluster].push((distance(&points[at], &clusters.centres[cluster]), at));
        }
        for cluster in &mut members {
            cluster.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        members.sort_by_key(|cluster| std::cmp::Reverse(cluster.len()));
        // Where one document of each is not enough, such as packed short ones, the next of each follow.
        let deepest = members.iter().map(Vec::len).max().unwrap_or(0);
        for depth in 0..deepest {
            for &(far, at) in members.iter().filter_map(|cluster| cluster.get(depth)) {
                if !windows.wanted() {
                    return Ok(());
                }
                windows.offer(pool[at].document, Some(far.sqrt()))?;
            }
        }
        Ok(())
    }
}

/// The layers that are meant, of a model with so many.
fn layers(text: &str, count: usize) -> Result<Vec<usize>> {
    let mut layers = match text {
        "" => vec![0, count / 2, count - 1],
        "all" => (0..count).collect(),
        list => {
            let number = |part: &str| {
                let wrong = || {
                    Error::invalid(format!(
                        "option `layers`: `{part}` is not a layer from 0 to {}",
                        count - 1
                    ))
                };
                part.trim().parse().ok().filter(|&layer| layer < count).ok_or_else(wrong)
            };
            list.split(',').map(number).collect::<Result<_>>()?
        }
    };
    layers.sort_unstable();
    layers.dedup();
    Ok(layers)
}

/// Each layer's part at length 1, all of them projected onto random signs (Achlioptas, 2003).
fn project(pooled: &[Vec<f32>], layers: usize, rng: &mut Rng) -> Vec<Vec<f64>> {
    let length = pooled.first().map_or(0, Vec::len);
    let signs: Vec<Vec<f64>> = (0..WIDTH)
        .map(|_| (0..length).map(|_| if rng.below(2) == 0 { 1.0 } else { -1.0 }).collect())
        .collect();
    let scale = 1.0 / (WIDTH as f64).sqrt();
    let unit = |row: &Vec<f32>| -> Vec<f64> {
        row.chunks(length / layers)
            .flat_map(|part| {
                let norm =
                    part.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
                part.iter().map(move |&x| f64::from(x) / norm)
            })
            .collect()
    };
    let point = |row: Vec<f64>| {
        signs.iter().map(|signs| scale * signs.iter().zip(&row).map(|(s, x)| s * x).sum::<f64>()).collect()
    };
    pooled.iter().map(|row| point(unit(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read() {
        assert_eq!(layers("", 5), Ok(vec![0, 2, 4]));
        assert_eq!(layers("", 1), Ok(vec![0]));
        assert_eq!(layers("all", 3), Ok(vec![0, 1, 2]));
        assert_eq!(layers("4, 1", 5), Ok(vec![1, 4]));
        assert!(layers("5", 5).unwrap_err().message.contains("`5` is not a layer from 0 to 4"));
    }

    #[test]
    fn a_projection_about_keeps_distances() {
        let mut rng = Rng::new(2);
        let rows: Vec<Vec<f32>> =
            (0..10).map(|_| (0..400).map(|_| rng.unit() as f32 - 0.5).collect()).collect();
        let points = project(&rows, 2, &mut rng);
        // Two unit vectors end to end have length √2; different ones are about √2 · √2 apart.
        let mean = |xs: Vec<f64>| xs.iter().sum::<f64>() / xs.len() as f64;
        let apart = mean((1..10).map(|at| distance(&points[0], &points[at])).collect());
        assert!((3.0..5.0).contains(&apart), "{apart}");
    }
}
