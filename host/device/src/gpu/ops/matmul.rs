//! Matrix products on rectangles.

use super::rectangle;
use crate::{
    Result, Tensor,
    gpu::{
        Context,
        products::{Class, Product, Shape},
        tune::Tuner,
    },
};

/// Computes a product in the way that is fastest on the adapter.
///
/// # Errors
/// As [`Product::run_by`].
pub(in crate::gpu) fn run(context: &Context, tuner: &Tuner, product: Product) -> Result<()> {
    if product.a.shape().0 == 0 || product.b.shape().1 == 0 {
        return Ok(());
    }
    product.run_by(context, &tuner.variant(context, Class::matmul(product.a, product.b)))
}

/// [`Op::Gram`](crate::Op::Gram).
pub(in crate::gpu) fn gram(context: &Context, tuner: &Tuner, x: &Tensor, gram: &mut Tensor) -> Result<()> {
    let shape = Shape { lower: true, ..Shape::default() };
    run(context, tuner, Product::new(1.0, x.all().t(), x.all(), 1.0, gram, (0, 0)).shaped(shape))?;
    rectangle::mirror(context, gram)
}
