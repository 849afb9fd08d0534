use crate::{PANEL_LIMITS, close};
use espalier_host::device::{DType, Device};
use espalier_tests::gpu::{TestGpu, noise};

#[test]
fn rms_norm_of_odd_rows() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        for (rows, cols) in [(1, 1), (3, 17), (2, 31), (31, 64), (65, 200), (5, 1000), (9, 1023), (2, 257)] {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let x = noise(1, rows * cols);
                let (weight, w) = gpu.floats(dtype, 1, cols, &noise(2, cols));
                let mut y = gpu.unwritten(rows, cols);
                gpu.rms_norm(&gpu.f32(rows, cols, &x), &weight, 1e-5, &mut y).expect("it runs");
                let got = gpu.output(&y);
                for (r, row) in x.chunks(cols).enumerate() {
                    let squares: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                    let scale = 1.0 / (squares / cols as f64 + f64::from(1e-5_f32)).sqrt();
                    for (c, &x) in row.iter().enumerate() {
                        let want = f64::from(x) * scale * f64::from(w[c]);
                        close(got[r * cols + c], want, 2e-6 * want.abs() + 1e-30, || {
                            format!("[{r}, {c}] of {rows}x{cols} {dtype}")
                        });
                    }
                }
            }
        }
    }
}
