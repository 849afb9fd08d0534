//! Every kernel is valid WGSL that needs no optional feature but those it is listed under, and translates
//! to SPIR-V, Metal and Direct3D, which has no products of small matrices.

use espalier_shaders::{Access, COOPERATIVE_KERNELS, KERNELS, Kernel, SUBGROUP_KERNELS, all_kernels};
use naga::{
    AddressSpace, Module,
    back::{self, PipelineConstants},
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};
use std::{collections::BTreeSet, error::Error, fs, path::Path};

fn sources() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    fs::read_dir(folder)
        .expect("the sources are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_file_is_a_kernel_and_every_kernel_a_file() {
    let kernels: BTreeSet<_> = all_kernels().map(|kernel| kernel.name).collect();
    assert_eq!(kernels.len(), all_kernels().count(), "two kernels of one name");
    assert_eq!(sources(), kernels.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_kernel_translates() {
    for kernel in KERNELS {
        translates(kernel, Capabilities::empty());
    }
}

#[test]
fn every_kernel_of_subgroups_translates() {
    for kernel in SUBGROUP_KERNELS {
        translates(kernel, Capabilities::SUBGROUP);
        let needless = validate(&parse(kernel).expect("valid"), Capabilities::empty()).is_ok();
        assert!(!needless, "{} needs no subgroups", kernel.name);
    }
}

#[test]
fn every_kernel_of_small_matrices_translates() {
    let needed = [Capabilities::SUBGROUP, Capabilities::SHADER_FLOAT16, Capabilities::COOPERATIVE_MATRIX];
    for kernel in COOPERATIVE_KERNELS {
        translates(kernel, needed.into_iter().collect());
        for without in needed {
            let others = needed.into_iter().filter(|&capability| capability != without).collect();
            assert!(
                validate(&parse(kernel).expect("valid"), others).is_err(),
                "{} without {without:?}",
                kernel.name
            );
        }
    }
}

fn translates(kernel: &Kernel, optional: Capabilities) {
    if let Err(error) = check(kernel, optional) {
        panic!("{}.wgsl: {}", kernel.name, chain(&*error));
    }
}

fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn parse(kernel: &Kernel) -> Result<Module, Box<dyn Error>> {
    Ok(naga::front::wgsl::parse_str(kernel.wgsl).map_err(|error| error.emit_to_string(kernel.wgsl))?)
}

fn validate(module: &Module, optional: Capabilities) -> Result<ModuleInfo, Box<dyn Error>> {
    // Parameters in immediate data are the only feature that every adapter must have.
    let capabilities = Capabilities::IMMEDIATES | optional;
    Ok(Validator::new(ValidationFlags::all(), capabilities).validate(module)?)
}

fn check(kernel: &Kernel, optional: Capabilities) -> Result<(), Box<dyn Error>> {
    let parsed = parse(kernel)?;
    let info = validate(&parsed, optional)?;
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) =
        back::pipeline_constants::process_overrides(&parsed, &info, entry, &PipelineConstants::default())?;

    let cooperative = optional.contains(Capabilities::COOPERATIVE_MATRIX);
    // Where there are small matrices, there is twice the memory that WebGPU promises.
    is_small_enough(kernel, &module, if cooperative { 32 << 10 } else { 16 << 10 });

    let spirv = back::spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = back::spv::write_vec(&module, &info, &spirv, None)?;
    assert!(words.len() > 100, "{}: an empty translation", kernel.name);

    // Real slots, as wgpu gives them: a translation that invents them would hide a missing one.
    let mut resources = back::msl::EntryPointResources {
        immediates_buffer: Some(30),
        sizes_buffer: Some(29),
        ..Default::default()
    };
    let mut hlsl = back::hlsl::Options {
        fake_missing_bindings: false,
        immediates_target: Some(back::hlsl::BindTarget { register: 0, space: 1, ..Default::default() }),
        special_constants_binding: Some(back::hlsl::BindTarget {
            register: 0,
            space: 2,
            ..Default::default()
        }),
        ..Default::default()
    };
    for (binding, &access) in (0_u32..).zip(kernel.bindings) {
        let resource = naga::ResourceBinding { group: 0, binding };
        resources.resources.insert(
            resource,
            back::msl::BindTarget {
                buffer: Some(u8::try_from(binding)?),
                mutable: access == Access::Write,
                ..Default::default()
            },
        );
        hlsl.binding_map.insert(resource, back::hlsl::BindTarget { register: binding, ..Default::default() });
    }
    let msl = back::msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [("main".to_owned(), resources)].into_iter().collect(),
        fake_missing_bindings: false,
        ..Default::default()
    };
    let (metal, translation) =
        back::msl::write_string(&module, &info, &msl, &back::msl::PipelineOptions::default())?;
    for name in &translation.entry_point_names {
        assert!(name.is_ok(), "{}: {name:?}", kernel.name);
    }
    assert!(metal.contains("kernel void"), "{}: no Metal kernel", kernel.name);

    if cooperative {
        return Ok(());
    }
    let mut text = String::new();
    back::hlsl::Writer::new(&mut text, &hlsl, &back::hlsl::PipelineOptions::default())
        .write(&module, &info, None)?;
    assert!(text.contains("numthreads"), "{}: no Direct3D kernel", kernel.name);
    Ok(())
}

/// A workgroup fits every adapter that has WebGPU's least limits, but for its memory.
fn is_small_enough(kernel: &Kernel, module: &Module, memory: u32) {
    let workgroup: u32 = module.entry_points[0].workgroup_size.iter().product();
    assert!((1..=256).contains(&workgroup), "{}: {workgroup} invocations", kernel.name);
    let shared: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum();
    assert!(shared <= memory, "{}: {shared} bytes of workgroup memory", kernel.name);
}
