//! Joins the source of every kernel with the parts that it includes, and takes from it what the host has to know.

mod describe;
mod join;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=src");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a joined source for every kernel, and `kernels.rs`.
fn run() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut kernels = String::new();
    let mut included = BTreeSet::new();
    for file in join::sources(Path::new("src"))? {
        let joined = join::join(&file)?;
        let name = file.file_stem().ok_or("a kernel without a name")?.to_string_lossy();
        kernels += &describe::describe(&name, &joined)?;
        write(&out.join(format!("{name}.wgsl")), joined.text())?;
        included.extend(joined.parts().iter().cloned());
    }
    for part in join::sources(Path::new("src/parts"))? {
        if !part.file_stem().is_some_and(|name| included.contains(&*name.to_string_lossy())) {
            return Err(format!("{}: no kernel includes this part", part.display()));
        }
    }
    write(&out.join("kernels.rs"), &kernels)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
