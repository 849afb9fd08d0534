use espalier_host::device::{DType, Device, DeviceError};
use espalier_tests::gpu::{TestGpu, noise};
use std::sync::atomic::{AtomicBool, Ordering};

fn bytes(seed: u64, count: usize) -> Vec<u8> {
    noise(seed, count).iter().map(|x| x.to_bits() as u8).collect()
}

#[test]
fn bytes_come_back_as_they_went() {
    for limit in [None, Some(48), Some(64)] {
        let gpu = TestGpu::open(limit);
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::U32] {
            for (rows, cols) in [(0, 3), (3, 0), (1, 1), (1, 3), (17, 5), (31, 12), (7, 1)] {
                let content = bytes(5, rows * cols * dtype.size());
                let tensor = gpu.upload(dtype, rows, cols, content.clone().into()).expect("it is uploaded");
                assert_eq!(gpu.read(&tensor).expect("it is read"), content, "{rows}x{cols} {dtype}");
                assert!(gpu.guards_intact(&tensor).expect("it is read"));
                let zeros = gpu.zeros(dtype, rows, cols).expect("it is made");
                assert!(gpu.read(&zeros).expect("it is read").iter().all(|&byte| byte == 0));
            }
        }
    }
}

#[test]
fn a_large_tensor_travels_in_pieces() {
    let gpu = TestGpu::open(Some(40 << 20));
    let content = bytes(6, 50_000_000);
    let tensor = gpu.upload(DType::BF16, 5000, 5000, content.clone().into()).expect("it is uploaded");
    assert!(gpu.read(&tensor).expect("it is read") == content);
}

/// As while the next block is loaded: whichever thread waits for the device, both get what is theirs.
#[test]
fn threads_upload_and_read_at_the_same_time() {
    let gpu = TestGpu::open(None);
    let upload = |seed| {
        let content = bytes(seed, 4096);
        let tensor = gpu.upload(DType::F32, 32, 32, content.clone().into()).expect("it is uploaded");
        (tensor, content)
    };
    let reading = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for seed in 1..=3 {
            let (reading, upload, gpu) = (&reading, &upload, &gpu);
            scope.spawn(move || {
                while reading.load(Ordering::Relaxed) {
                    upload(seed);
                    gpu.synchronize().expect("it waits");
                }
            });
        }
        let reads = (0..2000).map(|_| {
            let (tensor, content) = upload(4);
            Ok::<_, DeviceError>(gpu.read(&tensor)? == content)
        });
        let all_right = reads.collect::<Result<Vec<_>, _>>();
        reading.store(false, Ordering::Relaxed);
        assert!(all_right.expect("it reads").into_iter().all(|right| right));
    });
}

#[test]
fn a_row_larger_than_a_panel_is_an_error() {
    let gpu = TestGpu::open(Some(64));
    let error = gpu.zeros(DType::F32, 2, 17).expect_err("68 bytes");
    assert!(error.to_string().contains("one row of a tensor [2, 17] of f32 takes 68 bytes"), "{error}");
}

#[test]
fn bytes_of_the_wrong_length_are_an_error() {
    let gpu = TestGpu::open(None);
    let error = gpu.upload(DType::F32, 2, 2, vec![0; 15].into()).expect_err("15 bytes");
    assert_eq!(error.to_string(), "upload: a f32 tensor [2, 2] has 16 bytes, but there are 15");
}

#[test]
fn reused_buffers_keep_recorded_work_apart() {
    let gpu = TestGpu::unguarded(None);
    let one = gpu.f32(1, 64, &[1.0; 64]);
    let mut sums = Vec::new();
    for round in 1..=200 {
        // The weight's buffer is given back while its product is only recorded, and taken again by the
        // next round's upload.
        let w = gpu.f32(64, 64, &vec![round as f32; 64 * 64]);
        let mut y = gpu.zeros(DType::F32, 1, 64).expect("it is made");
        gpu.linear(&one, &w, None, true, &mut y).expect("it runs");
        sums.push(y);
    }
    for (y, round) in sums.iter().zip(1..) {
        assert_eq!(gpu.output(y), vec![(64 * round) as f32; 64]);
    }
}

#[test]
fn zeros_are_zeros_in_a_reused_buffer() {
    let gpu = TestGpu::unguarded(None);
    for _ in 0..3 {
        drop(gpu.f32(10, 10, &[7.0; 100]));
        let zeros = gpu.zeros(DType::F32, 10, 10).expect("it is made");
        assert_eq!(gpu.output(&zeros), [0.0; 100]);
    }
}

#[test]
fn the_peak_counts_what_tensors_held_together() {
    let gpu = TestGpu::unguarded(None);
    let size = 1 << 20;
    let tensor = || gpu.zeros(DType::F32, 512, 512).expect("it is made");
    for _ in 0..5 {
        drop((tensor(), tensor()));
    }
    assert_eq!(gpu.peak_bytes(), 2 * size);
}
