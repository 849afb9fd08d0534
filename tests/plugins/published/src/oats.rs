//! OATS (Zhang & Papyan, 2409.13652): a weight, scaled by the norms of its inputs, becomes a sparse part and a low-rank part, each
//! fitted in turn to what the other leaves.

use espalier_sdk::{
    Binary, DType, Device, Layer, Method, MethodInfo, OptionKind, Options, Pruned, Reduction, Result, Run,
    Selection, Statistic, Tensor, Unary,
};

pub(crate) struct Oats {
    iterations: usize,
    rank_ratio: f64,
}

impl Method for Oats {
    fn info() -> MethodInfo {
        MethodInfo::new("oats", "splits each weight into a sparse and a low-rank part")
            .paper("Zhang & Papyan, 2409.13652")
            .option("iterations", OptionKind::Integer, 80, "how often each part is fitted")
            .range(1.0..=10_000.0)
            .option("rank_ratio", OptionKind::Float, 0.25, "the share of kept numbers in the low-rank part")
            .range(0.0..=0.95)
            .without_patterns()
            .needs(Statistic::ColumnNorms)
            .requires("symmetric_eigen")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            iterations: options.integer("iterations")? as usize,
            rank_ratio: options.float("rank_ratio")?,
        })
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let (device, weight) = (run.device(), &layer.weight);
        let (rows, cols) = (weight.rows(), weight.cols());
        let kept = (1.0 - layer.target.ratio()) * (rows * cols) as f64;
        let rank = (self.rank_ratio * kept / (rows + cols) as f64) as usize;
        let sparse_in_row = ((1.0 - self.rank_ratio) * kept / rows as f64) as usize;
        let smallest = Selection::EachRow { count: cols - sparse_in_row };

        // A feature that no token used must not be divided by.
        let tiny = device.from_slice(1, 1, &[f32::MIN_POSITIVE.sqrt()])?;
        let norms = device.zip(Unary::Identity, layer.statistics.column_norms()?, Binary::Maximum, &tiny)?;
        let scaled = device.zip(Unary::Identity, weight, Binary::Multiply, &norms)?;
        let unscaled = |x: &Tensor| device.zip(Unary::Identity, x, Binary::Divide, &norms);

        let mut sparse = device.zeros(DType::F32, rows, cols)?;
        let mut low_rank = None;
        let mut mask = device.select(&device.map(Unary::Abs, &scaled)?, smallest)?;
        for step in 0..self.iterations {
            run.progress(step, self.iterations)?;
            low_rank = truncated(device, &device.axpy(&scaled, -1.0, &sparse)?, rank)?;
            let rest = match &low_rank {
                Some((left, right)) => {
                    let mut rest = device.map(Unary::Identity, &scaled)?;
                    device.matmul(-1.0, left.view(), right.view(), 1.0, rest.view_mut())?;
                    rest
                }
                None => device.map(Unary::Identity, &scaled)?,
            };
            mask = device.select(&device.map(Unary::Abs, &rest)?, smallest)?;
            sparse = device.zero_where(&mask, &rest)?;
        }
        let mut error = device.axpy(&scaled, -1.0, &sparse)?;
        if let Some((left, right)) = &low_rank {
            device.matmul(-1.0, left.view(), right.view(), 1.0, error.view_mut())?;
        }
        let pruned = Pruned::from((unscaled(&sparse)?, mask))
            .error(size(device, &error)? / size(device, &scaled)?.max(f64::MIN_POSITIVE));
        Ok(match low_rank {
            Some((left, right)) => pruned.low_rank(left, unscaled(&right)?),
            None => pruned,
        })
    }
}

/// The best approximation of a matrix by one of this rank, as two factors: with the singular vectors of its shorter side.
fn truncated(device: &Device, x: &Tensor, rank: usize) -> Result<Option<(Tensor, Tensor)>> {
    if rank == 0 {
        return Ok(None);
    }
    let (rows, cols, is_wide) = (x.rows(), x.cols(), x.rows() <= x.cols());
    let side = rows.min(cols);
    let mut gram = device.zeros(DType::F32, side, side)?;
    let (a, b) = if is_wide { (x.view(), x.view().t()) } else { (x.view().t(), x.view()) };
    device.matmul(1.0, a, b, 0.0, gram.view_mut())?;
    let (_, vectors) = device.symmetric_eigen(&gram)?;
    // The largest eigenvalues are the last.
    let largest = vectors.block(side - rank..side, 0..side);
    let (mut left, mut right) =
        (device.zeros(DType::F32, rows, rank)?, device.zeros(DType::F32, rank, cols)?);
    if is_wide {
        device.matmul(1.0, largest, x.view(), 0.0, right.view_mut())?;
        let mut copied = device.zeros(DType::F32, rank, side)?;
        device.copy(largest, copied.view_mut())?;
        left = device.transpose(&copied)?;
    } else {
        device.matmul(1.0, x.view(), largest.t(), 0.0, left.view_mut())?;
        device.copy(largest, right.view_mut())?;
    }
    Ok(Some((left, right)))
}

/// The Frobenius norm.
fn size(device: &Device, x: &Tensor) -> Result<f64> {
    let squares = device.reduce(Reduction::SumSquares, espalier_sdk::Axis::EachRow, x)?.to_vec()?;
    Ok(squares.into_iter().map(f64::from).sum::<f64>().sqrt())
}
