//! The properties of the processor.

use crate::{Compute, DeviceInfo};

/// The processor's name, its instruction sets that kernels use, and the number of threads.
pub(super) fn info(compute: Compute) -> DeviceInfo {
    let threads = rayon::current_num_threads();
    let threads = format!("{threads} {}", if threads == 1 { "thread" } else { "threads" });
    let driver = instruction_sets().into_iter().map(str::to_owned).chain([threads]);
    DeviceInfo {
        name: name(),
        kind: crate::DeviceKind::Cpu,
        backend: "native".to_owned(),
        driver: driver.collect::<Vec<_>>().join(", "),
        compute,
        memory_bytes: None,
    }
}

#[cfg(target_arch = "x86_64")]
fn name() -> String {
    use std::arch::x86_64::__cpuid;
    const NAME: std::ops::RangeInclusive<u32> = 0x8000_0002..=0x8000_0004;
    if __cpuid(0x8000_0000).eax < *NAME.end() {
        return "x86-64 processor".to_owned();
    }
    let bytes: Vec<u8> = NAME
        .map(__cpuid)
        .flat_map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx])
        .flat_map(u32::to_le_bytes)
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(not(target_arch = "x86_64"))]
fn name() -> String {
    format!("{} processor", std::env::consts::ARCH)
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let sets = [
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
    ];
    sets.into_iter().filter(|(_, found)| *found).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}
