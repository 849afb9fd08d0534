//! Writes a kernel's description in Rust, taken from its source.

use crate::join::Joined;
use naga::{AddressSpace, Expression, Literal, Module, StorageAccess};
use std::fmt::Write;

/// The most bytes of parameters that every adapter takes.
const MOST_PARAMS: u32 = 128;

/// A module of the kernel's name, with its `KERNEL` and those of its constants that are `u32`.
pub(crate) fn describe(name: &str, joined: &Joined) -> Result<String, String> {
    let module = naga::front::wgsl::parse_str(joined.text()).map_err(|error| {
        let line = error.location(joined.text()).map_or(0, |place| place.line_number as usize);
        format!("{}{}", joined.place(line), error.message())
    })?;
    let failed = |message: String| format!("src/{name}.wgsl: {message}");
    let (bindings, params) = globals(&module).map_err(failed)?;
    match &module.entry_points[..] {
        [entry] if entry.name == "main" => {}
        _ => return Err(failed("a kernel has one entry point, `main`".to_owned())),
    }

    let mut rust = format!(
        "pub(crate) mod {name} {{\n    pub(crate) const KERNEL: crate::Kernel = crate::Kernel {{\n        \
         name: {name:?},\n        wgsl: include_str!({:?}),\n        \
         bindings: &[{}],\n        params: {params},\n    }};\n",
        format!("{name}.wgsl"),
        bindings.join(", "),
    );
    for (name, value) in constants(&module) {
        writeln!(rust, "    pub(crate) const {name}: u32 = {value};").map_err(|error| error.to_string())?;
    }
    rust += "}\n";
    Ok(rust)
}

/// How the bindings are used, in order, and the size of the parameters.
fn globals(module: &Module) -> Result<(Vec<&'static str>, u32), String> {
    let mut bindings = Vec::new();
    let mut params = 0;
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            AddressSpace::Storage { access } => {
                let binding = variable.binding.ok_or("a storage buffer that is not bound")?;
                if binding.group != 0 {
                    return Err("bindings are of group 0".to_owned());
                }
                let writes = access.contains(StorageAccess::STORE);
                bindings.push((
                    binding.binding,
                    if writes { "crate::Access::Write" } else { "crate::Access::Read" },
                ));
            }
            AddressSpace::Immediate => params = module.types[variable.ty].inner.size(module.to_ctx()),
            AddressSpace::WorkGroup => {}
            space => return Err(format!("a global variable in {space:?}")),
        }
    }
    bindings.sort_unstable();
    if !bindings.iter().map(|&(number, _)| number).eq(0..bindings.len() as u32) {
        return Err("bindings are numbered from 0, each once".to_owned());
    }
    if params > MOST_PARAMS {
        return Err(format!("{params} bytes of parameters; every adapter takes {MOST_PARAMS}"));
    }
    Ok((bindings.into_iter().map(|(_, access)| access).collect(), params))
}

/// The constants that are `u32`, with their values.
fn constants(module: &Module) -> impl Iterator<Item = (&str, u32)> {
    module.constants.iter().filter_map(|(_, constant)| match module.global_expressions[constant.init] {
        Expression::Literal(Literal::U32(value)) => Some((constant.name.as_deref()?, value)),
        _ => None,
    })
}
