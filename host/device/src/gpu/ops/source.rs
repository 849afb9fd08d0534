//! A look at a plugin's WGSL before the driver sees it: some drivers hang, or end the process, on what is too large.

use crate::gpu::faults::chain;
use naga::{
    AddressSpace, ArraySize, EntryPoint, Function, Module, TypeInner,
    proc::{Layouter, TypeResolution},
    valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator},
};

/// The most bytes of an invocation's own variables, and of one of its values. WebGPU promises 8 KiB; drivers keep them
/// on a stack.
const OWN_BYTES: u64 = 64 << 10;

/// Whether a device may be given this source for a kernel with so many bytes of parameters; else what is wrong with it.
pub(super) fn check(wgsl: &str, params: usize, limits: &wgpu::Limits) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(wgsl)
        .map_err(|error| format!("its WGSL does not parse: {}", error.message()))?;
    let lengths = module.types.iter().map(|(_, of)| match of.inner {
        TypeInner::Array { size, .. } | TypeInner::BindingArray { size, .. } => size,
        _ => ArraySize::Dynamic,
    });
    // Such arrays have no size yet that could be compared with anything.
    if lengths.into_iter().any(|length| matches!(length, ArraySize::Pending(_))) {
        return Err("the length of an array is not a constant".to_owned());
    }
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let in_space = |wanted: AddressSpace| {
        let variables = module.global_variables.iter().filter(|(_, variable)| variable.space == wanted);
        variables.fold(0u64, |sum, (_, variable)| sum.saturating_add(u64::from(layouter[variable.ty].size)))
    };

    let (shared, most) = (in_space(AddressSpace::WorkGroup), limits.max_compute_workgroup_storage_size);
    if shared > u64::from(most) {
        return Err(format!("it takes {shared} bytes of workgroup memory, and this device has {most}"));
    }
    let declared = in_space(AddressSpace::Immediate);
    if declared > params as u64 {
        return Err(format!("it declares {declared} bytes of parameters, and is given {params}"));
    }
    let own = functions(&module).flat_map(|function| function.local_variables.iter());
    let own = own.fold(in_space(AddressSpace::Private), |sum, (_, variable)| {
        sum.saturating_add(u64::from(layouter[variable.ty].size))
    });
    if own > OWN_BYTES {
        return Err(format!("its variables take {own} bytes an invocation, and {OWN_BYTES} are the limit"));
    }
    let Some((index, entry)) = module.entry_points.iter().enumerate().find(|(_, entry)| entry.name == "main")
    else {
        return Err("it has no entry point `main`".to_owned());
    };
    invocations(entry, limits)?;

    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| format!("its WGSL is not valid: {}", chain(error.as_inner())))?;
    largest_value(&module, &info, index)
}

fn functions(module: &Module) -> impl Iterator<Item = &Function> {
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    module.functions.iter().map(|(_, function)| function).chain(entries)
}

fn invocations(entry: &EntryPoint, limits: &wgpu::Limits) -> Result<(), String> {
    let invocations = entry.workgroup_size.iter().fold(1u64, |all, &size| all.saturating_mul(size.into()));
    let most = limits.max_compute_invocations_per_workgroup;
    if invocations == 0 || invocations > u64::from(most) {
        return Err(format!("its workgroups have {invocations} invocations, and this device allows {most}"));
    }
    Ok(())
}

/// Refuses values that are held as a whole, such as an array that is copied out of a buffer.
fn largest_value(module: &Module, info: &ModuleInfo, main: usize) -> Result<(), String> {
    let check = |function: &Function, info: &FunctionInfo| {
        for (expression, _) in function.expressions.iter() {
            let inner = match &info[expression].ty {
                TypeResolution::Handle(of) => &module.types[*of].inner,
                TypeResolution::Value(inner) => inner,
            };
            let is_value = !matches!(inner, TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. });
            let bytes = if is_value { u64::from(inner.size(module.to_ctx())) } else { 0 };
            if bytes > OWN_BYTES {
                return Err(format!("it holds a value of {bytes} bytes, and {OWN_BYTES} are the limit"));
            }
        }
        Ok(())
    };
    for (handle, function) in module.functions.iter() {
        check(function, &info[handle])?;
    }
    check(&module.entry_points[main].function, info.get_entry_point(main))
}

#[cfg(test)]
mod tests {
    use super::check;

    fn said(globals: &str, body: &str) -> String {
        let wgsl = format!(
            "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
             {globals}
             @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {{ {body} }}"
        );
        check(&wgsl, 0, &wgpu::Limits::default()).err().unwrap_or_default()
    }

    #[test]
    fn a_plain_kernel_passes() {
        assert_eq!(
            said("var<workgroup> s: array<f32, 64>;", "var x: array<f32, 4>; out[i] = x[i % 4u];"),
            ""
        );
    }

    #[test]
    fn what_is_too_large_is_refused() {
        for (globals, body, words) in [
            ("var<workgroup> s: array<f32, 100000>;", "out[i] = s[i];", "400000 bytes of workgroup memory"),
            (
                "override N: u32 = 100000; var<workgroup> s: array<f32, N>;",
                "out[i] = s[i];",
                "is not a constant",
            ),
            ("var<private> p: array<f32, 100000>;", "out[i] = p[i];", "take 400000 bytes an invocation"),
            ("", "var p: array<f32, 100000>; out[i] = p[i];", "take 400000 bytes an invocation"),
            ("", "let p = array<f32, 100000>(); out[i] = p[5];", "a value of 400000 bytes"),
            (
                "@group(0) @binding(1) var<storage> wide: array<f32, 100000>;",
                "let p = wide; out[i] = p[5];",
                "a value of 400000 bytes",
            ),
            ("", "out[i] = true;", "its WGSL"),
            ("var<private> p: array<array<array<f32, 65536>, 65536>, 65536>;", "out[i] = p[0][0][i];", ""),
        ] {
            let said = said(globals, body);
            assert!(!said.is_empty() && said.contains(words), "{globals} {body}: {said}");
        }
    }
}
