use crate::close;
use espalier_host::device::{
    Compute, DType, Device, Op, Operand,
    gpu::tune::{CANDIDATES, Tune, Tuning, Variant},
};
use espalier_shaders::{Kernel, linear};
use espalier_tests::gpu::{TestGpu, noise};
use std::{fs, path::Path};

const TINY: [Variant; 3] = [Variant::linear(8, 4, 2), Variant::linear(4, 8, 2), Variant::linear(16, 4, 1)];

fn tuning(folder: &Path, candidates: &[Variant]) -> Tuning {
    Tuning { tune: Tune::Always, folder: Some(folder.to_owned()), candidates: Some(candidates.to_vec()) }
}

/// A product on a tuned device and what was picked for it.
fn product(tuning: Tuning) -> (Vec<f32>, String) {
    let gpu = TestGpu::tuned(Compute::F32, tuning);
    let (tokens, outs, ins) = (70, 90, 33);
    let x = gpu.f32(tokens, ins, &noise(1, tokens * ins));
    let (w, _) = gpu.floats(DType::BF16, outs, ins, &noise(2, outs * ins));
    let (bias, _) = gpu.floats(DType::F16, 1, outs, &noise(3, outs));
    let mut y = gpu.unwritten(tokens, outs);
    gpu.linear(&x, &w, Some(&bias), false, &mut y).expect("it runs");
    let mut tuned = gpu.tuned();
    assert!(tuned.len() <= 1, "{tuned:?}");
    (gpu.output(&y), tuned.pop().map(|(_, variant)| variant).unwrap_or_default())
}

fn untuned() -> Vec<f32> {
    product(Tuning { tune: Tune::Never, ..Tuning::default() }).0
}

/// The only file of a cache folder.
fn file(folder: &Path) -> std::path::PathBuf {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_pick_changes_no_bit_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (result, picked) = product(tuning(folder.path(), &TINY));
    assert_eq!(result, untuned());
    let names: Vec<_> = TINY.iter().chain([&Variant::built_in_linear(70)]).map(ToString::to_string).collect();
    assert!(names.contains(&picked), "{picked} of {names:?}");
    // Another pick, written in its place, is what the next device takes, and it tunes nothing.
    let path = file(folder.path());
    let mut content: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let pick = &mut content["picks"]["linear bf16 in f32 unaligned 128x64x128"];
    assert_eq!(*pick, picked.as_str());
    let other = names.iter().find(|name| **name != picked).unwrap();
    *pick = other.as_str().into();
    let edited = serde_json::to_vec(&content).unwrap();
    fs::write(&path, &edited).unwrap();
    assert_eq!(product(tuning(folder.path(), &TINY)), (result, other.clone()));
    assert_eq!(fs::read(&path).unwrap(), edited);
}

/// The names of the variants of small matrices that an adapter may have.
fn cooperative() -> Vec<String> {
    let size = TestGpu::report().features.subgroup_size[1];
    let subgroups = if size <= 32 { 8 } else { 4 };
    let names = [8, 16].into_iter().flat_map(|side| {
        [1, 2].map(|rows| {
            let invocations = subgroups * size;
            format!("linear_cooperative_{side} GX={invocations} SUBGROUPS={subgroups} ROWS={rows}")
        })
    });
    names.collect()
}

#[test]
fn small_matrices_agree_with_a_reference_where_the_adapter_has_them() {
    let has = TestGpu::report().features.cooperative_matrix.iter().any(|shape| shape.ends_with("f16->f32"));
    let mut used = 0;
    for (tokens, outs, ins, dtype) in
        [(70, 140, 36, DType::F16), (20, 33, 7, DType::F32), (200, 300, 260, DType::BF16)]
    {
        let mut x = noise(1, tokens * ins);
        let bias = noise(3, outs);
        let before = noise(4, tokens * outs);
        let run = |folder: &Path, w: &[f32]| {
            let gpu = TestGpu::tuned(Compute::F16, tuning(folder, &[]));
            let (w, held) = gpu.floats(dtype, outs, ins, w);
            let mut y = gpu.f32(tokens, outs, &before);
            gpu.linear(
                &gpu.f32(tokens, ins, &noise(1, tokens * ins)),
                &w,
                Some(&gpu.f32(1, outs, &bias)),
                true,
                &mut y,
            )
            .expect("it runs");
            (gpu.output(&y), held, gpu.tuned())
        };
        let folder = tempfile::tempdir().unwrap();
        let (_, mut w, tuned) = run(folder.path(), &noise(2, outs * ins));
        Compute::F16.round(&mut x);
        Compute::F16.round(&mut w);
        let path = file(folder.path());
        let mut content: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for name in cooperative() {
            // What the cache says is taken if the adapter has it, whatever is fastest.
            content["picks"][&tuned[0].0] = name.as_str().into();
            fs::write(&path, serde_json::to_vec(&content).unwrap()).unwrap();
            let (got, _, tuned) = run(folder.path(), &noise(2, outs * ins));
            used += usize::from(tuned[0].1 == name);
            for (at, got) in got.into_iter().enumerate() {
                let (t, n) = (at / outs, at % outs);
                let products = (0..ins).map(|k| f64::from(x[t * ins + k]) * f64::from(w[n * ins + k]));
                let want = products.sum::<f64>() + f64::from(bias[n]) + f64::from(before[at]);
                close(got, want, 2e-6 * (ins + 2) as f64, || {
                    format!("[{t}, {n}] of {name}, {tokens}x{outs}x{ins}")
                });
            }
        }
    }
    // One size of matrices, with one and two rows of subgroups.
    assert_eq!(used, if has { 6 } else { 0 }, "{:?}", TestGpu::report().features);
}

#[test]
fn a_wrong_kernel_is_refused() {
    let broken = |name, from: &str, to: &str| {
        let wgsl = linear::KERNEL.wgsl.replace(from, to);
        assert_ne!(wgsl, linear::KERNEL.wgsl);
        let kernel: &'static Kernel =
            Box::leak(Box::new(Kernel { name, wgsl: wgsl.leak(), ..linear::KERNEL }));
        Variant { kernel, ..Variant::linear(8, 8, 1) }
    };
    let candidates = [
        broken("linear_off", "var sum = value;", "var sum = value * 1.0000002;"),
        broken("linear_short", "token >= p.tokens || k >= p.ins", "token + 1u >= p.tokens || k >= p.ins"),
        broken("linear_garbled", "var sum = value;", "var sum == value;"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (result, picked) = product(tuning(folder.path(), &candidates));
    assert_eq!(picked, Variant::built_in_linear(70).to_string());
    assert_eq!(result, untuned());
}

#[test]
fn a_damaged_or_foreign_cache_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    product(tuning(folder.path(), &TINY));
    let path = file(folder.path());
    let mut foreign: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    foreign["key"]["driver_info"] = "another".into();
    foreign["picks"] = serde_json::json!({ "linear bf16 in f32 unaligned 128x64x128": "linear GX=4 GY=8 ROWS=2", "linear f16 in f32 aligned 1x4x4": "x" });
    for content in [b"{ \"key\": ".to_vec(), Vec::new(), serde_json::to_vec(&foreign).unwrap()] {
        fs::write(&path, &content).unwrap();
        let (_, picked) = product(tuning(folder.path(), &TINY));
        let written: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            written["picks"],
            serde_json::json!({ "linear bf16 in f32 unaligned 128x64x128": picked })
        );
        assert_ne!(written["key"]["driver_info"], "another");
    }
}

#[test]
fn without_a_place_for_the_cache_it_still_tunes() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("file");
    fs::write(&taken, "no folder").unwrap();
    let (result, picked) = product(tuning(&taken, &TINY));
    assert_eq!((result, picked.is_empty()), (untuned(), false));
}

/// A device's products of rectangles that are stored in every way, and of a Gram matrix.
fn rectangles(gpu: &TestGpu) -> Vec<Vec<f32>> {
    let (m, n, k) = (150, 70, 45);
    let ways = [[false, false], [true, false], [false, true], [true, true]];
    let results = ways.map(|transposed| {
        let stored = [0, 1].map(|i| {
            let (rows, cols) = [(m, k), (k, n)][i];
            if transposed[i] { (cols, rows) } else { (rows, cols) }
        });
        let matrices = stored.map(|(rows, cols)| {
            let (rows, cols) = (rows + 3, cols + 2);
            gpu.f32(rows, cols, &noise(rows as u64, rows * cols))
        });
        let [a, b] = [0, 1].map(|i| {
            let (rows, cols) = stored[i];
            Operand { transposed: transposed[i], ..matrices[i].block(3..3 + rows, 1..1 + cols) }
        });
        let mut c = gpu.f32(m + 2, n + 5, &noise(3, (m + 2) * (n + 5)));
        gpu.execute(Op::Matmul { a, b, alpha: 0.5, beta: -2.0, to: (2, 4) }, &mut c).expect("it runs");
        gpu.output(&c)
    });
    let side = 152;
    let x = gpu.f32(k, side, &noise(4, k * side));
    let mut gram = gpu.zeros(DType::F32, side, side).expect("there is room");
    gpu.execute(Op::Gram { x: &x }, &mut gram).expect("it runs");
    results.into_iter().chain([gpu.output(&gram)]).collect()
}

#[test]
fn rectangles_are_tuned_without_changing_a_bit() {
    let plain = TestGpu::tuned(Compute::F32, Tuning { tune: Tune::Never, ..Tuning::default() });
    let expected = rectangles(&plain);
    let folder = tempfile::tempdir().unwrap();
    let gpu = TestGpu::tuned(Compute::F32, tuning(folder.path(), CANDIDATES));
    assert_eq!(rectangles(&gpu), expected);
    let classes: Vec<_> = gpu.tuned().into_iter().map(|(class, _)| class).collect();
    assert_eq!(classes.len(), 5, "{classes:?}");
    // Every candidate, whatever is fastest: what the cache says is taken.
    let path = file(folder.path());
    let mut content: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for variant in CANDIDATES.iter().filter(|variant| variant.plain.name == "matmul") {
        let name = variant.to_string();
        for class in &classes {
            content["picks"][class] = name.as_str().into();
        }
        fs::write(&path, serde_json::to_vec(&content).unwrap()).unwrap();
        let gpu = TestGpu::tuned(Compute::F32, tuning(folder.path(), CANDIDATES));
        assert_eq!(rectangles(&gpu), expected, "{name}");
        assert!(gpu.tuned().iter().all(|(_, picked)| *picked == name), "{name}: {:?}", gpu.tuned());
    }
}

#[test]
fn every_candidate_agrees_on_products_of_every_size() {
    let folder = tempfile::tempdir().unwrap();
    for (compute, tokens, outs, ins) in [(Compute::F32, 30, 17, 5), (Compute::F16, 140, 260, 40)] {
        let gpu = TestGpu::tuned(compute, tuning(folder.path(), CANDIDATES));
        let plain = TestGpu::tuned(compute, Tuning { tune: Tune::Never, ..Tuning::default() });
        let results = [&gpu, &plain].map(|gpu| {
            let x = gpu.f32(tokens, ins, &noise(1, tokens * ins));
            let w = gpu.f32(outs, ins, &noise(2, outs * ins));
            let mut y = gpu.unwritten(tokens, outs);
            gpu.linear(&x, &w, None, false, &mut y).expect("it runs");
            gpu.output(&y)
        });
        assert_eq!(results[0], results[1], "{tokens}x{outs}x{ins}");
        assert_eq!(gpu.tuned().len(), 1);
    }
}
