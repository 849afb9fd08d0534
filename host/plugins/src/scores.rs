//! A watch on the scores that a method ranks. Devices rank scores that are not negative by their bits, so that a negative or
//! NaN score would pass in silence and prune something else. What is seen is summed on the device and read once, when the
//! method is done.

use espalier_device::{Axis, Binary, DType, Device, DeviceError, Op, Reduction, Scores, Tensor, Unary};
use espalier_sdk::{Code, Error, Result};
use std::sync::{Mutex, PoisonError};

/// What was seen since the last answer.
#[derive(Default)]
pub(super) struct ScoreWatch(Mutex<Option<Seen>>);

struct Seen {
    /// How many were negative, `[1, 1]`.
    negative: Tensor,
    /// The greatest magnitude, `[1, 1]`; NaN if there was one.
    greatest: Tensor,
}

impl ScoreWatch {
    /// Looks at scores that are about to be ranked. Weights and statistics that the host lends are known to be finite, and
    /// statistics that are a factor not to be negative.
    pub(super) fn see(
        &self,
        device: &dyn Device,
        scores: &Scores,
        is_lent: impl Fn(&Tensor) -> bool,
    ) -> Result<(), DeviceError> {
        let never_negative = matches!(scores.f, Unary::Abs | Unary::Square | Unary::Sqrt | Unary::Exp);
        if never_negative && !is_lent(scores.a) {
            self.look(device, scores.a, false)?;
        }
        match scores.by {
            None if never_negative => Ok(()),
            None => self.look(device, &map(device, scores.f, scores.a)?, true),
            Some((Binary::Multiply | Binary::Divide, by)) if never_negative => {
                if is_lent(by) {
                    Ok(())
                } else {
                    self.look(device, by, true)
                }
            }
            Some((op, b)) => {
                let mut written = device.zeros(DType::F32, scores.a.rows(), scores.a.cols())?;
                device.execute(Op::Zip { a: scores.a, b, f: scores.f, op, alpha: 1.0 }, &mut written)?;
                self.look(device, &written, true)
            }
        }
    }

    /// Looks for what is not finite, and, of what has a sign, for what is negative.
    fn look(&self, device: &dyn Device, x: &Tensor, signed: bool) -> Result<(), DeviceError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match &mut *seen {
            Some(seen) => seen,
            None => {
                let number = || device.zeros(DType::F32, 1, 1);
                seen.insert(Seen { negative: number()?, greatest: number()? })
            }
        };
        gather(device, Reduction::MaxAbs, x, &mut seen.greatest)?;
        if signed {
            let nothing = device.zeros(DType::F32, 1, 1)?;
            let mut is_negative = device.zeros(DType::F32, x.rows(), x.cols())?;
            let (f, op) = (Unary::Identity, Binary::Less);
            device.execute(Op::Zip { a: x, b: &nothing, f, op, alpha: 1.0 }, &mut is_negative)?;
            gather(device, Reduction::Sum, &is_negative, &mut seen.negative)?;
        }
        Ok(())
    }

    /// What was seen, if it was not right.
    pub(super) fn answer(&self, device: &dyn Device) -> Result<()> {
        let Some(seen) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let number = |x| Ok::<_, DeviceError>(device.to_f32(x)?.first().copied().unwrap_or_default());
        let (negative, greatest) = (number(&seen.negative)?, number(&seen.greatest)?);
        let what = if greatest.is_nan() {
            "a score that it ranked is NaN"
        } else if greatest.is_infinite() {
            "a score that it ranked is infinite"
        } else if negative > 0.0 {
            "a score that it ranked is negative: scores must not be, so take absolute values or add a constant"
        } else {
            return Ok(());
        };
        Err(Error::new(Code::Numeric, what))
    }
}

/// Adds a reduction of the whole matrix to a total `[1, 1]`.
fn gather(device: &dyn Device, f: Reduction, x: &Tensor, total: &mut Tensor) -> Result<(), DeviceError> {
    let mut rows = device.zeros(DType::F32, x.rows(), 1)?;
    device.execute(Op::Reduce { x, f, axis: Axis::EachRow, accumulate: false }, &mut rows)?;
    device.execute(Op::Reduce { x: &rows, f, axis: Axis::EachColumn, accumulate: true }, total)
}

fn map(device: &dyn Device, f: Unary, x: &Tensor) -> Result<Tensor, DeviceError> {
    let mut out = device.zeros(DType::F32, x.rows(), x.cols())?;
    device.execute(Op::Map { x, f, scale: 1.0, shift: 0.0 }, &mut out)?;
    Ok(out)
}
