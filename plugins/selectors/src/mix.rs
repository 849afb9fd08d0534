//! Sources in proportion.

use espalier_sdk::{
    Documents, Error, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest, Selector,
    SelectorInfo, Shuffled, Source, Windows,
};

/// Documents of a source whose tokens are counted, to say how many it has.
const LOOKS: usize = 1000;

pub(crate) struct Mix(By);

#[derive(Debug, Clone, Copy)]
enum By {
    Equal,
    Weights,
    Tokens,
}

impl Selector for Mix {
    fn info() -> SelectorInfo {
        SelectorInfo::new("mix", "random documents, with a given number of windows from each source")
            .option(
                "by",
                OptionKind::String,
                "equal",
                "equal (as many of each), weights (as given with --calibration), or tokens (as many as each has)",
            )
            .choices(&["equal", "weights", "tokens"])
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self(match options.string("by")? {
            "equal" => By::Equal,
            "weights" => By::Weights,
            _ => By::Tokens,
        }))
    }

    fn select(
        &self,
        documents: &Documents,
        _: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut rng = Rng::new(request.seed);
        let sources = documents.sources();
        let shares = match self.0 {
            By::Equal => vec![1.0; sources.len()],
            By::Weights => sources.iter().map(|source| source.share).collect(),
            By::Tokens => {
                let tokens = |source| tokens(source, documents, &mut rng);
                sources.iter().map(tokens).collect::<Result<_>>()?
            }
        };
        // Windows of a budget in tokens that are shorter than they may be leave room for more.
        while windows.wanted() {
            for (source, quota) in sources.iter().zip(quotas(&shares, request.samples)) {
                fill(source, quota, &mut windows.part(quota), &mut rng)?;
            }
        }
        Ok(())
    }
}

/// Offers random documents of a source until it gave its windows.
fn fill(source: &Source, quota: usize, windows: &mut Windows, rng: &mut Rng) -> Result<()> {
    let (mut left, mut gave, mut before) = (Shuffled::new(source.documents.len()), 0, 0);
    while windows.wanted() {
        match left.next(rng) {
            Some(number) => gave += windows.offer(source.documents.start + number, None)?,
            // A round that gave nothing would give nothing again.
            None if gave > before => {
                before = gave;
                left = Shuffled::new(source.documents.len());
            }
            None => {
                return Err(Error::invalid(format!(
                    "{} gives {gave} windows, where its part is {quota}: give more of it, fewer --samples, a smaller \
                     --seqlen or other proportions",
                    source.name
                )));
            }
        }
    }
    Ok(())
}

/// About how many tokens a source has.
fn tokens(source: &Source, documents: &Documents, rng: &mut Rng) -> Result<f64> {
    let (count, mut shuffled, mut found) = (source.documents.len(), Shuffled::new(source.documents.len()), 0);
    let looks = count.min(LOOKS);
    for _ in 0..looks {
        if let Some(number) = shuffled.next(rng) {
            found += documents.tokens(source.documents.start + number)?.len();
        }
    }
    Ok(found as f64 * count as f64 / looks.max(1) as f64)
}

/// `total` in proportion, by the largest remainders: each is exact to one.
fn quotas(shares: &[f64], total: usize) -> Vec<usize> {
    let sum: f64 = shares.iter().sum();
    let exact: Vec<f64> = shares.iter().map(|share| share / sum * total as f64).collect();
    let mut quotas: Vec<usize> = exact.iter().map(|exact| exact.floor() as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).filter(|&at| shares[at] > 0.0).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    let missing = total.saturating_sub(quotas.iter().sum());
    order.iter().take(missing).for_each(|&at| quotas[at] += 1);
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_add_up_and_are_exact_to_one() {
        let mut rng = Rng::new(9);
        for _ in 0..500 {
            let shares: Vec<f64> = (0..1 + rng.below(7)).map(|_| 0.01 + rng.unit()).collect();
            let total = rng.below(300);
            let quotas = quotas(&shares, total);
            assert_eq!(quotas.iter().sum::<usize>(), total, "{shares:?}");
            let sum: f64 = shares.iter().sum();
            for (quota, share) in quotas.iter().zip(&shares) {
                assert!((*quota as f64 - share / sum * total as f64).abs() < 1.0, "{quotas:?} of {shares:?}");
            }
        }
    }

    #[test]
    fn the_largest_remainders_are_rounded_up() {
        assert_eq!(quotas(&[1.0, 1.0, 1.0], 8), [3, 3, 2]);
        assert_eq!(quotas(&[0.5, 0.3, 0.2, 0.0], 4), [2, 1, 1, 0]);
    }
}
