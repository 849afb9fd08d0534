//! `U` with `H⁻¹ = UᵀU`, from the Gram matrix of a layer's input.

use espalier_sdk::{Code, Device, Error, Result, Tensor, Unary};

/// How often the damping is raised before the layer is given up.
const MAX_RAISES: u32 = 5;

/// The factor of the inverse, and what had to be done to get it.
pub(crate) struct Inverse {
    /// `U`, upper triangular, `[cols, cols]`.
    pub(crate) factor: Tensor,
    /// `U_jj²`, `[1, cols]`.
    pub(crate) diagonal_squared: Tensor,
    /// 1 for every column whose input is ever other than 0, `[1, cols]`.
    pub(crate) alive: Tensor,
    /// How many are not.
    pub(crate) dead: usize,
    /// The damping that was used.
    pub(crate) percdamp: f64,
    /// Notes for the report.
    pub(crate) notes: Vec<String>,
}

/// Factors the damped inverse. The scale of `gram` cancels: damping is relative, and scores and updates
/// are ratios of entries of `U`.
pub(crate) fn of_gram(gram: &Tensor, percdamp: f64, device: &Device) -> Result<Inverse> {
    let cols = gram.cols();
    let diagonal = device.diagonal(gram)?.to_vec()?;
    let alive: Vec<f32> = diagonal.iter().map(|&h| if h == 0.0 { 0.0 } else { 1.0 }).collect();
    let dead = alive.iter().filter(|&&alive| alive == 0.0).count();
    // A dead input gets a diagonal of 1, before the mean is taken.
    let mean = diagonal.iter().map(|&h| if h == 0.0 { 1.0 } else { f64::from(h) }).sum::<f64>() / cols as f64;
    let mut percdamp = percdamp;
    let mut notes = Vec::new();
    for raises in 0..=MAX_RAISES {
        let shift: Vec<f32> =
            diagonal.iter().map(|&h| (percdamp * mean) as f32 + if h == 0.0 { 1.0 } else { 0.0 }).collect();
        match factor(gram, &shift, device) {
            Ok(factor) => {
                let diagonal_squared = device.map(Unary::Square, &device.diagonal(&factor)?)?;
                let alive = device.from_slice(1, cols, &alive)?;
                return Ok(Inverse { factor, diagonal_squared, alive, dead, percdamp, notes });
            }
            Err(error) if error.code == Code::Numeric && raises < MAX_RAISES => {
                let raised = if percdamp == 0.0 { 0.01 } else { percdamp * 10.0 };
                notes.push(format!(
                    "not positive definite with damping {percdamp} ({}); raised to {raised}",
                    error.message
                ));
                percdamp = raised;
            }
            Err(error) => return Err(error.context(format!("factoring the Gram matrix, damping {percdamp}"))),
        }
    }
    Err(Error::new(Code::Numeric, "the Gram matrix is not positive definite with any damping"))
}

/// `U` of `H + diag(shift)`. With `J` reversing the order of rows and columns and `J H J = L Lᵀ`, it is
/// `J L⁻¹ J`: one Cholesky and one triangular inverse, where the published code takes a Cholesky, an
/// inverse and another Cholesky.
fn factor(gram: &Tensor, shift: &[f32], device: &Device) -> Result<Tensor> {
    let shift = device.from_slice(1, shift.len(), shift)?;
    let damped = device.add_diagonal(gram, &shift)?;
    let lower = device.cholesky(device.reverse(damped)?)?;
    device.reverse(device.triangular_inverse(lower)?)
}
