//! Documents by their length in tokens.

use espalier_sdk::{
    Documents, Draw, LanguageModel, OptionKind, Options, Result, Rng, SelectionRequest, Selector,
    SelectorInfo, Windows,
};

pub(crate) struct Length {
    order: LengthOrder,
    target: usize,
    pool: usize,
}

enum LengthOrder {
    Longest,
    Shortest,
    Nearest,
}

impl Selector for Length {
    fn info() -> SelectorInfo {
        SelectorInfo::new("length", "documents by their length")
            .option("order", OptionKind::String, "longest", "longest, shortest, or nearest to `target`")
            .choices(&["longest", "shortest", "nearest"])
            .option("target", OptionKind::Integer, 0, "tokens to be near to; 0 is as many as a window has")
            .range(0.0..=f64::INFINITY)
            .option(
                "pool",
                OptionKind::Integer,
                100_000,
                "documents to choose from, at random if there are more",
            )
            .range(1.0..=f64::INFINITY)
    }

    fn new(options: &Options) -> Result<Self> {
        let order = match options.string("order")? {
            "longest" => LengthOrder::Longest,
            "shortest" => LengthOrder::Shortest,
            _ => LengthOrder::Nearest,
        };
        let size = |name: &str| options.integer(name).map(|size| size as usize);
        Ok(Self { order, target: size("target")?, pool: size("pool")? })
    }

    fn select(
        &self,
        documents: &Documents,
        _: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut rng = Rng::new(request.seed);
        let mut draw = Draw::new(documents);
        let target = if self.target == 0 { request.seqlen } else { self.target };
        let mut ranked = Vec::new();
        while ranked.len() < self.pool {
            let Some((source, document)) = draw.next(&mut rng, |_| false) else { break };
            let length = documents.tokens(document)?.len();
            if length >= documents.sources()[source].min_tokens {
                let rank = match self.order {
                    LengthOrder::Longest => usize::MAX - length,
                    LengthOrder::Shortest => length,
                    LengthOrder::Nearest => length.abs_diff(target),
                };
                ranked.push((rank, document, length));
            }
        }
        // Of equals, the first of the file.
        ranked.sort_unstable();
        for (_, document, length) in ranked {
            if !windows.wanted() {
                break;
            }
            windows.offer(document, Some(length as f64))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    #[test]
    fn every_order_is_kept() {
        let documents = ["aaa", "a", "aaaaaa", "aa", "aaaa"];
        let chosen = |order: &str, target: i64| {
            let options = [("order", order.into()), ("target", target.into())];
            let request = SelectionRequest { samples: 2, seqlen: 5, seed: 0 };
            testing::select::<Length>(&options, &documents, &request)
        };
        assert_eq!(chosen("longest", 0).unwrap(), [2, 4]);
        assert_eq!(chosen("shortest", 0).unwrap(), [1, 3]);
        assert_eq!(chosen("nearest", 3).unwrap()[0], 0);
        assert!(chosen("widest", 0).is_err());
        assert!(chosen("longest", -1).is_err());
    }
}
