//! `host devices`.

use super::{CliError, args, print, print_json, table};
use espalier_device::{
    Compute, Device as _, DeviceInfo,
    choose::auto_choice,
    cpu::Cpu,
    gpu::{Adapter, AdapterReport, Backend, enumerate},
};
use serde::Serialize;

#[derive(Serialize)]
struct DeviceList {
    auto: DeviceInfo,
    adapters: Vec<AdapterReport>,
}

pub(super) fn run(command: &args::Devices) -> Result<(), CliError> {
    let adapters = enumerate(&Backend::ALL);
    let reports: Vec<_> = adapters.iter().map(Adapter::report).collect();
    let auto = match auto_choice(&reports) {
        Some(taken) => DeviceInfo::of_adapter(reports[taken], Compute::F32),
        None => Cpu::new().info().clone(),
    };
    let devices = DeviceList { auto, adapters: reports.into_iter().cloned().collect() };
    if command.json {
        return print_json(&devices);
    }
    let rows: Vec<_> = devices.adapters.iter().map(row).collect();
    let header =
        ["adapter", "type", "backend", "driver", "memory", "binding", "shared", "invocations", "features"];
    let mut text = table::render(&header, &rows);
    if devices.adapters.is_empty() {
        text = "no adapters: no Vulkan, Metal, DX12 or GL driver is installed".to_owned();
    }
    let auto = &devices.auto;
    print(&format!("{text}\n\n--device auto takes: {auto}"))
}

fn row(adapter: &AdapterReport) -> Vec<String> {
    let features = &adapter.features;
    let subgroups = format!("subgroups {}-{}", features.subgroup_size[0], features.subgroup_size[1]);
    let named = [
        (features.subgroups, subgroups.as_str()),
        (features.shader_f16, "f16"),
        (features.timestamp_query, "timestamps"),
        (!features.cooperative_matrix.is_empty(), "cooperative-matrix"),
        (!features.immediates, "UNUSABLE: no immediates"),
    ];
    let named: Vec<_> = named.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
    vec![
        format!("{} {}", adapter.index, adapter.name),
        adapter.kind.to_string(),
        adapter.backend.to_string(),
        format!("{} {}", adapter.driver, adapter.driver_info).trim().to_owned(),
        adapter.memory_bytes.map_or_else(|| "?".to_owned(), mebibytes),
        mebibytes(adapter.limits.max_storage_buffer_binding_size),
        format!("{} KiB", adapter.limits.max_workgroup_memory / 1024),
        adapter.limits.max_workgroup_invocations.to_string(),
        named.join(", "),
    ]
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
