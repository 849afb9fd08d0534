use espalier_host::device::Device;
use espalier_tests::gpu::{TestGpu, noise};

#[test]
fn kernels_are_timed_by_the_gpu_where_it_has_timestamps() {
    let gpu = TestGpu::open(None);
    let has_clock = TestGpu::report().features.timestamp_query;
    let (x, w) = (gpu.f32(40, 64, &noise(1, 40 * 64)), gpu.f32(50, 64, &noise(2, 50 * 64)));
    let run = || {
        let mut y = gpu.unwritten(40, 50);
        gpu.linear(&x, &w, None, false, &mut y).expect("it runs");
        y
    };
    let untimed = gpu.output(&run());
    assert_eq!(gpu.kernel_seconds(), None, "nobody asked for times yet");
    assert_eq!(gpu.time_kernels().expect("it answers"), has_clock);
    // More than fit one submission.
    let began = std::time::Instant::now();
    let results: Vec<_> = (0..150).map(|_| run()).collect();
    gpu.synchronize().expect("it runs");
    let elapsed = began.elapsed().as_secs_f64();
    let seconds = gpu.kernel_seconds();
    assert_eq!(seconds.is_some(), has_clock);
    if let Some(seconds) = seconds {
        assert!(seconds > 0.0 && seconds < elapsed, "{seconds} s of kernels in {elapsed} s");
    }
    assert_eq!(gpu.kernel_seconds(), None, "they are counted once");
    for y in &results {
        assert_eq!(gpu.output(y), untimed);
    }
}
