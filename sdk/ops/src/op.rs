//! The operations.

use crate::{
    AttentionShape, Axis, Binary, Block, Packed, Reduction, Scores, Selection, Span, Unary, UnpackError,
    Within,
    pack::{Number, Operand, Reader},
};

/// Declares [`Op`] from one table: the name of each operation, its inputs in `[]` and its numbers in `{}`.
macro_rules! operations {
    ($(
        $(#[$doc:meta])*
        $name:literal = $Op:ident
            [$( $(#[$input_doc:meta])* $input:ident: $Input:ty ),*]
            {$( $(#[$number_doc:meta])* $number:ident: $Number:ty ),*}
    )*) => {
        /// An operation with inputs of type `T` and one output, `out`, which the caller made.
        ///
        /// Matrices are row-major. `out` is never an input too; operations in place take only their other operands as
        /// inputs. Where no type is given, tensors are f32.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Op<T> {
            $(
                $(#[$doc])*
                $Op {
                    $( $(#[$input_doc])* $input: $Input, )*
                    $( $(#[$number_doc])* $number: $Number, )*
                },
            )*
        }

        impl<T> Op<T> {
            /// The names of all operations.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The operation's name. It identifies the operation at the FFI boundary.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$Op { .. } => $name, )*
                }
            }
        }

        impl<T: Copy> Op<T> {
            /// The operation as a name, its inputs and its numbers.
            pub fn pack(&self) -> Packed<T> {
                let mut packed = Packed { name: self.name(), tensors: Vec::new(), numbers: Vec::new() };
                match self {
                    $( Self::$Op { $($input,)* $($number,)* } => {
                        $( Operand::push($input, &mut packed); )*
                        $( packed.put($number); )*
                    } )*
                }
                packed
            }

            /// The operation that [`pack`](Self::pack) took apart, possibly with other tensors.
            ///
            /// # Errors
            /// There is no operation of this name, or it has other inputs or numbers.
            pub fn unpack(name: &str, tensors: &[T], numbers: &[u64]) -> Result<Self, UnpackError> {
                let mut from = Reader::new(name, tensors, numbers);
                let op = match name {
                    $( $name => Self::$Op {
                        $( $input: Operand::pull(&mut from)?, )*
                        $( $number: Number::take(&mut from)?, )*
                    }, )*
                    _ => return Err(UnpackError::Unknown(name.to_owned())),
                };
                from.end()?;
                Ok(op)
            }
        }
    };
}

operations! {
    // Copies.

    /// `out = x` in `out`'s type; floating-point types only, rounding to nearest even.
    "convert" = Convert [
        /// Any floating-point type.
        x: T
    ] {}

    /// Rows `start..start + out.rows()` of `x`, of `out`'s type.
    "copy_rows" = CopyRows [
        /// Any type.
        x: T
    ] {
        /// The first row.
        start: usize
    }

    /// `out[places[i]] = x[i]`, row by row. Other rows of `out` stay as they are.
    "scatter_rows" = ScatterRows [
        /// `[rows, cols]`
        x: T,
        /// `[rows, 1]` u32: rows of `out`, no two the same.
        places: T
    ] {}

    /// Copies a rectangle to the place `to` of `out`, which has the same type. Not transposed.
    "copy" = Copy [
        /// The rectangle.
        from: Block<T>
    ] {
        /// The row and the column of `out` where the copy starts.
        to: (usize, usize)
    }

    // The forward pass.

    /// `out = x / √(mean(x²) + eps) · weight` row by row (Zhang & Sennrich, 1910.07467).
    "rms_norm" = RmsNorm [
        /// `[rows, cols]`
        x: T,
        /// `[1, cols]` in any floating-point type.
        weight: T
    ] {
        /// The number added to the mean of squares.
        eps: f32
    }

    /// Rotary embedding of `out` `[tokens, heads · head_dim]` in place, in the half-split layout of Hugging Face's
    /// LLaMA: in each head the pair `(i, i + head_dim/2)` turns by the angle of the row's position.
    "rope" = Rope [
        /// `[positions, head_dim]`: cosines in the left half, sines in the right.
        table: T,
        /// `[tokens, 1]` u32
        positions: T
    ] {
        /// Elements of a head.
        head_dim: usize
    }

    /// Causal attention of every span for itself. No matrix of queries × keys is ever held.
    "attention" = Attention [
        /// `[queries, heads · head_dim]`
        q: T,
        /// `[keys, kv_heads · head_dim]`
        k: T,
        /// `[keys, kv_heads · head_dim]`
        v: T
    ] {
        /// The heads.
        shape: AttentionShape,
        /// The sequences.
        spans: Vec<Span>
    }

    /// `out[t] = logsumexp(logits[t]) − logits[t, targets[t]]`, `[tokens, 1]`.
    "cross_entropy" = CrossEntropy [
        /// `[tokens, vocab]`
        logits: T,
        /// `[tokens, 1]` u32
        targets: T
    ] {}

    /// The gradient of `factors[t] · cross_entropy(logits[t], targets[t])` by the logits:
    /// `out[t] = factors[t] · (softmax(logits[t]) − onehot(targets[t]))`, `[tokens, vocab]`.
    "cross_entropy_gradient" = CrossEntropyGradient [
        /// `[tokens, vocab]`
        logits: T,
        /// `[tokens, 1]` u32
        targets: T,
        /// `[tokens, 1]`
        factors: T
    ] {}

    /// The Jensen-Shannon divergence in nats of the distributions of two rows of logits (Lin, 1991), `[tokens, 1]`.
    "js_divergence" = JsDivergence [
        /// `[tokens, vocab]`
        a: T,
        /// `[tokens, vocab]`
        b: T
    ] {}

    /// The softmax of `scale · out` in place, row by row, over the columns that a causal query sees: row `r` of `rows` sees
    /// the columns up to `r + cols − rows`, of which only the last `window`, if there is one. What it does not see is 0.
    "causal_softmax" = CausalSoftmax [] {
        /// The factor of the scores.
        scale: f32,
        /// How many columns a row sees at most.
        window: Option<usize>
    }

    // Element-wise functions and reductions.

    /// `out = scale · f(x) + shift`, element by element.
    "map" = Map [
        /// `[rows, cols]`
        x: T
    ] {
        /// The function.
        f: Unary,
        /// The factor.
        scale: f32,
        /// The summand.
        shift: f32
    }

    /// `out = f(a) ∘ (alpha · b)`, element by element.
    "zip" = Zip [
        /// `[rows, cols]`
        a: T,
        /// `[rows, cols]`, or a row `[1, cols]`, a column `[rows, 1]` or a number `[1, 1]`, which is repeated.
        b: T
    ] {
        /// The function of `a`.
        f: Unary,
        /// `∘`
        op: Binary,
        /// The factor of `b`.
        alpha: f32
    }

    /// `out = f(scale · out) ∘ (alpha · b)`, element by element, in place.
    "update" = Update [
        /// `[rows, cols]`, or a row `[1, cols]`, a column `[rows, 1]` or a number `[1, 1]`, which is repeated.
        b: T
    ] {
        /// The function of `out`.
        f: Unary,
        /// The factor of `out`.
        scale: f32,
        /// `∘`
        op: Binary,
        /// The factor of `b`.
        alpha: f32
    }

    /// `out (+)= reduction of x along axis`, in a fixed order.
    "reduce" = Reduce [
        /// `[rows, cols]`
        x: T
    ] {
        /// The reduction.
        f: Reduction,
        /// `[rows, 1]` for each row, `[1, cols]` for each column.
        axis: Axis,
        /// Whether `out` is added to.
        accumulate: bool
    }

    // Ranks and masks. Masks are words of 32 columns, `[rows, ⌈cols / 32⌉]` u32.

    /// Sets the bits of the selected scores in `out`, a mask, and clears all others.
    "select" = Select [
        /// None negative.
        scores: Scores<T>
    ] {
        /// The selected ones.
        selection: Selection
    }

    /// Sets in every row the bits of its `counts[row]` smallest scores in `out`, a mask, and clears all others. A count above the
    /// number of columns is that of all.
    "select_counts" = SelectCounts [
        /// None negative.
        scores: Scores<T>,
        /// `[rows, 1]` u32
        counts: T
    ] {}

    /// `out = +0` where the mask's bit is set, in place.
    "zero_where" = ZeroWhere [
        /// The mask.
        mask: T
    ] {}

    /// The score at index `k` of the sorted scores: `[rows, 1]` within each row, `[1, 1]` over the whole matrix.
    "kth_smallest" = KthSmallest [
        /// None negative.
        scores: Scores<T>
    ] {
        /// The set that is sorted.
        within: Within,
        /// The index, from 0.
        k: usize
    }

    /// Sets the bits of the scores that are at most their threshold in `out`, a mask, and clears all others.
    "at_most" = AtMost [
        /// The scores.
        scores: Scores<T>,
        /// `[1, 1]` or `[rows, 1]`
        thresholds: T
    ] {}

    // Linear algebra.

    /// `out += xᵀx`, `[cols, cols]`, both halves of which are filled. One half is computed, in a fixed order.
    "gram" = Gram [
        /// `[tokens, cols]`
        x: T
    ] {}

    /// `out = alpha · a · b + beta · out` on the rectangle of `out` that starts at `to` and has the product's shape. With
    /// `beta` 0 the previous content of `out` is not read.
    "matmul" = Matmul [
        /// The left operand.
        a: Block<T>,
        /// The right operand.
        b: Block<T>
    ] {
        /// The factor of the product.
        alpha: f32,
        /// The factor of the previous content of `out`.
        beta: f32,
        /// The row and the column of `out` where the product starts.
        to: (usize, usize)
    }

    /// `out = xᵀ`
    "transpose" = Transpose [
        /// `[rows, cols]`
        x: T
    ] {}

    /// `out = J out J`, in place: the order of rows and of columns reversed.
    "reverse" = Reverse [] {}

    /// `out[0, j] = x[j, j]` of a square matrix.
    "diagonal" = Diagonal [
        /// `[n, n]`
        x: T
    ] {}

    /// `out[j, j] += d[0, j]` of a square matrix, in place.
    "add_diagonal" = AddDiagonal [
        /// `[1, n]`
        d: T
    ] {}

    /// `out = L`, in place, lower triangular with `L Lᵀ = out`; its upper half becomes 0. Reads the lower half. Fails
    /// where the matrix is not positive definite; the content of `out` is then undefined.
    "cholesky" = Cholesky [] {}

    /// `out = L⁻¹` of a lower triangular `L = out`, in place; its upper half becomes 0.
    "triangular_inverse" = TriangularInverse [] {}

    /// The eigenvalues of a symmetric matrix in ascending order in `out`'s first row, and below them their eigenvectors, of
    /// length 1 and of either sign, one a row: `[n + 1, n]`. Reads the lower half. Computed in double precision, by the host
    /// on every device.
    "symmetric_eigen" = SymmetricEigen [
        /// `[n, n]`
        x: T
    ] {}

    /// `out = L⁻¹ out`, or `L⁻ᵀ out` if `transposed`, in place.
    "triangular_solve" = TriangularSolve [
        /// `[n, n]`, lower triangular.
        l: T
    ] {
        /// Whether `Lᵀ` is solved for.
        transposed: bool
    }
}
