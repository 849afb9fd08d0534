//! The interface grows: plugins and hosts of two minor versions load each other's libraries. Both SDKs are copies of this
//! one, as `host plugin new` makes them: 1.0 as it is, and 1.1 with one addition to every table that crosses the border. The
//! hosts are small programs that open a library through the SDK, as the real one does.
//!
//! And a plugin of the SDK's source on the day 1.0 was declared (`tests/scripts/freeze_sdk.sh`) runs in today's host.

use espalier_tests::{host, path, run, said};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// An addition at the end of each table: the file, what is there, and what takes its place.
const ADDITIONS: [(&str, &str, &str); 7] = [
    (
        "abi/library.rs",
        "new_selector: extern \"C\" fn(RStr<'_>, RStr<'_>) -> AbiResult<SelectorBox>,\n",
        "new_selector: extern \"C\" fn(RStr<'_>, RStr<'_>) -> AbiResult<SelectorBox>,\n    added: extern \"C\" fn() -> u32,\n",
    ),
    ("abi/library.rs", "new_selector: new_selector::<P> }", "new_selector: new_selector::<P>, added }"),
    (
        "abi/library.rs",
        "extern \"C\" fn describe<P",
        "extern \"C\" fn added() -> u32 {\n    7\n}\n\nextern \"C\" fn describe<P",
    ),
    (
        "abi/method.rs",
        "    fn close(&mut self) -> AbiResult<()> {\n        ROk(())\n    }\n}\n",
        "    fn close(&mut self) -> AbiResult<()> {\n        ROk(())\n    }\n    fn added(&self) -> u32 {\n        7\n    }\n}\n",
    ),
    (
        "abi/device.rs",
        "        workgroups: u32,\n    ) -> AbiResult<()>;\n}\n",
        "        workgroups: u32,\n    ) -> AbiResult<()>;\n    fn added(&self) -> u32 {\n        7\n    }\n}\n",
    ),
    (
        "abi/host.rs",
        "    fn call(&self, call: RStr<'_>) -> AbiResult<RString>;\n}\n",
        "    fn call(&self, call: RStr<'_>) -> AbiResult<RString>;\n    fn added(&self) -> u32 {\n        7\n    }\n}\n",
    ),
    (
        "message.rs",
        "    /// Removes a block from the model.\n",
        "    /// Added.\n    \"rotate\" = Rotate {\n        /// From 0.\n        block: usize,\n    }\n    /// Removes a block from the model.\n",
    ),
];

const LOADER: &str = r#"use espalier_sdk::{Options, Sparsity, abi, testing};

fn main() {
    std::env::args().skip(1).for_each(|path| load(&path));
}

fn load(path: &str) {
    let library = match abi::open(path.as_ref()) {
        Ok(library) => library,
        Err(error) => return println!("{error}"),
    };
    let device = testing::device();
    for info in &library.info().methods {
        let weight = testing::tensor(&device, &[[1.0, -4.0], [2.0, 3.0]]).expect("a weight");
        let inputs = testing::random(&device, 4, 2, 0).expect("inputs");
        let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5)).expect("a layer");
        let pruned = library.method(&info.name, &Options::default());
        match pruned.and_then(|method| testing::prune_loaded(&method, &layer, &device)) {
            Ok(pruned) => println!("{}: {:?}", info.name, pruned.weight.to_vec().expect("a weight")),
            Err(error) => println!("{}: {error}", info.name),
        }
    }
}
"#;

const PLUGIN: &str = r#"use espalier_sdk::*;

macro_rules! method {
    ($Type:ident, $name:literal, $($requires:literal)?) => {
        struct $Type;

        impl Method for $Type {
            fn info() -> MethodInfo {
                MethodInfo::new($name, "for tests")$(.requires($requires))?
            }
            fn new(_: &Options) -> Result<Self> {
                Ok(Self)
            }
            fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
                run.log(Level::Info, "a line");
                let scores = Scores::of(Unary::Abs, &layer.weight);
                Ok(run.device().smallest_per_row(scores, layer.target)?.into())
            }
        }
    };
}

method!(Plain, "plain",);
"#;

/// The methods of the library of each version.
const OF_1_0: &str = "export_plugin! { methods: [Plain] }\n";
const OF_1_1: &str = "method!(Needy, \"needy\", \"rotate\");\nexport_plugin! { methods: [Plain, Needy] }\n";

/// The SDK of a version, in a folder of its own.
fn sdk(folder: &Path, name: &str, version: &str, additions: &[(&str, &str, &str)]) -> PathBuf {
    run(host().current_dir(folder).args(["plugin", "new", name]));
    let sdk = folder.join(name).join("sdk");
    let manifest = fs::read_to_string(sdk.join("Cargo.toml")).unwrap();
    let own = format!("version = \"{}\"", espalier_sdk::VERSION);
    assert!(manifest.contains(&own));
    fs::write(sdk.join("Cargo.toml"), manifest.replace(&own, &format!("version = \"{version}\""))).unwrap();
    for (file, there, instead) in additions {
        let file = sdk.join("src").join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(there), "{} has changed: {there}", file.display());
        fs::write(&file, text.replacen(there, instead, 1)).unwrap();
    }
    sdk
}

/// Builds a crate against an SDK; gives back the folder of what was built.
fn build(
    folder: &Path,
    name: &str,
    sdk: &Path,
    (file, source): (&str, &str),
    settings: &[(&str, &str)],
) -> PathBuf {
    let crate_folder = folder.join(format!("crate-{name}"));
    fs::create_dir_all(crate_folder.join("src")).unwrap();
    let library = if file == "lib.rs" { "[lib]\ncrate-type = [\"cdylib\"]\n" } else { "" };
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{library}\n[dependencies]\nespalier-sdk = {{ \
         path = {:?} }}\n\n[workspace]\n",
        sdk.display().to_string()
    );
    fs::write(crate_folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(crate_folder.join("src").join(file), source).unwrap();
    fs::copy(path("../Cargo.lock"), crate_folder.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versions");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&crate_folder).args(["build", "--offline", "--quiet"]).env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(cargo.envs(settings.iter().copied()));
    target.join("debug")
}

/// What a host says of libraries that it opens one after the other.
fn load(loader: &Path, libraries: &[&str]) -> String {
    let folder = loader.parent().unwrap();
    let file =
        |name: &&str| folder.join(format!("{}{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX));
    let output: Output = Command::new(loader).args(libraries.iter().map(file)).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn plugins_and_hosts_of_two_minor_versions_load_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let old = sdk(folder, "old", "1.0.0", &[]);
    let new = sdk(folder, "new", "1.1.0", &ADDITIONS);
    let next = sdk(folder, "next", "2.0.0", &[]);
    let plugin = |methods: &str| format!("{PLUGIN}\n{methods}");
    let (plain, both) = (plugin(OF_1_0), plugin(OF_1_1));
    build(folder, "plugin_old", &old, ("lib.rs", &plain), &[]);
    build(folder, "plugin_new", &new, ("lib.rs", &both), &[]);
    build(folder, "plugin_next", &next, ("lib.rs", &plain), &[]);
    build(folder, "host_old", &old, ("main.rs", LOADER), &[]);
    let built = build(folder, "host_new", &new, ("main.rs", LOADER), &[]);
    let stripped = [("CARGO_PROFILE_DEV_PANIC", "abort"), ("CARGO_PROFILE_DEV_STRIP", "symbols")];
    build(folder, "plugin_stripped", &old, ("lib.rs", &plain), &stripped);

    const PRUNED: &str = "plain: [0.0, -4.0, 0.0, 3.0]\n";
    let (host_old, host_new) = (built.join("host_old"), built.join("host_new"));
    assert_eq!(load(&host_old, &["plugin_old"]), PRUNED);
    assert_eq!(load(&host_new, &["plugin_old"]), PRUNED);
    assert_eq!(
        load(&host_old, &["plugin_new"]),
        format!(
            "{PRUNED}needy: the method needy needs `rotate`, which this host does not have: use a newer host\n"
        )
    );
    let both = format!("{PRUNED}needy: [0.0, -4.0, 0.0, 3.0]\n");
    assert_eq!(load(&host_new, &["plugin_new"]), both);
    // In one process, in either order.
    assert_eq!(load(&host_new, &["plugin_old", "plugin_new"]), format!("{PRUNED}{both}"));
    assert_eq!(load(&host_new, &["plugin_new", "plugin_old"]), format!("{both}{PRUNED}"));
    assert_eq!(load(&host_old, &["plugin_stripped"]), PRUNED);
    for host in [&host_old, &host_new] {
        let refused = load(host, &["plugin_next"]);
        assert!(refused.contains("plugin_next"), "{refused}");
        assert!(!refused.contains("plain:"), "{refused}");
    }
}

/// Methods of every scope and a selector, by all that SDK 1.0 has for them.
const OF_EVERY_SCOPE: &str = r#"use espalier_sdk::*;

struct Smallest;

impl Method for Smallest {
    fn info() -> MethodInfo {
        MethodInfo::new("smallest", "for tests").needs(Statistic::ColumnNorms).needs(Statistic::Gram).option(
            "factor", OptionKind::Float, 1.0, "scales scores",
        )
    }
    fn new(options: &Options) -> Result<Self> {
        options.float("factor").map(|_| Self)
    }
    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let norms = layer.statistics.column_norms()?;
        let mask = layer.smallest_per_row(run.device(), Scores::of(Unary::Abs, &layer.weight).by(Binary::Multiply, norms))?;
        let norm = layer.output_norms(run.device())?.to_vec()?[0];
        run.number("norm", f64::from(norm))?;
        Ok(Pruned::from((run.device().zero_where(&mask, &layer.weight)?, mask)).error(1.0))
    }
}

struct Fits;

impl Method for Fits {
    fn info() -> MethodInfo {
        MethodInfo::new("fits", "for tests").scope(Scope::Block).requires("backward")
    }
    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }
    fn block(&self, block: &mut Block, run: &Run) -> Result<()> {
        let (device, tape) = (run.device(), block.forward(0, &[])?);
        let difference = device.axpy(tape.output(), -1.0, &block.dense_output(0)?)?;
        let difference = device.zip(Unary::Identity, &difference, Binary::Multiply, &block.token_weights(0)?)?;
        let gradients = tape.backward(&difference)?;
        for projection in block.layers().to_vec() {
            run.progress(0, 1)?;
            let layer = block.layer(&projection)?;
            let mut weight = device.axpy(&layer.weight, -1e-3, gradients.weight(&projection)?)?;
            device.update(&mut weight, (Unary::Identity, 1.0), Binary::Multiply, (1.0, &device.full(1, 1, 1.0)?))?;
            let mask = layer.mask.as_ref().ok_or_else(|| Error::invalid("nothing is pruned"))?;
            let weight = device.zero_where(mask, &weight)?;
            let kept = device.smallest_per_row(Scores::of(Unary::Abs, &weight), layer.target)?;
            block.set(&projection, (weight, kept))?;
        }
        Ok(())
    }
}

struct Decides;

impl Method for Decides {
    fn info() -> MethodInfo {
        MethodInfo::new("decides", "for tests").scope(Scope::Model).requires("trial").requires("gradients")
    }
    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }
    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let mut seen = 0.0;
        model.survey(|block| {
            seen += f64::from(block.input(0)?.to_vec()?[0].abs());
            Ok(())
        })?;
        model.gradients(1, |_, gradients| {
            seen += f64::from(gradients.input().to_vec()?[0].abs());
            Ok(())
        })?;
        run.number("seen", seen)?;
        run.number("loss", model.trial(&[], 1)?)?;
        let layer = model.layers()[0].clone();
        let [rows, cols] = layer.shape;
        model.set_target(1, None, Sparsity::Ratio(0.25))?;
        model.set_row_counts(layer.block, &layer.projection, &vec![cols / 2; rows])
    }
}

struct Last;

impl Selector for Last {
    fn info() -> SelectorInfo {
        SelectorInfo::new("last", "for tests")
    }
    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }
    fn select(&self, documents: &Documents, _: &LanguageModel, _: &SelectionRequest, windows: &mut Windows) -> Result<()> {
        for index in (0..documents.len()).rev() {
            if !windows.wanted() {
                break;
            }
            windows.offer(index, Some(documents.tokens(index)?.len() as f64))?;
        }
        Ok(())
    }
}

export_plugin! { methods: [Smallest, Fits, Decides], selectors: [Last] }
"#;

#[test]
fn a_plugin_of_the_frozen_sdk_runs_in_this_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--gzip").arg("--file").arg(path("fixtures/sdk-1.0.0.tar.gz"));
    run(tar.arg("--directory").arg(folder.path()));
    let sdk = folder.path().join("sdk");
    // Another compiler may lay out Rust's own types otherwise: so does this one, told to.
    let shuffled = [("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zrandomize-layout -Zlayout-seed=7")];
    let libraries = [("plugin_frozen", &[][..], "never"), ("plugin_shuffled", &shuffled, "always")];
    for (name, settings, isolate) in libraries {
        let built = build(folder.path(), name, &sdk, ("lib.rs", OF_EVERY_SCOPE), settings);
        let library = format!("{}{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
        let out = folder.path().join(isolate);
        let mut command = host();
        command.arg("--plugin").arg(built.join(&library)).args(["--method", "decides,smallest,fits"]);
        command.args([
            "--selector",
            "last",
            "--samples",
            "2",
            "--seqlen",
            "32",
            &format!("--isolate={isolate}"),
        ]);
        command.args(["--device", "cpu", "--model"]).arg(path("models/tiny-instruct"));
        command.arg("--calibration").arg(path("models/data/c4.jsonl")).arg("--out").arg(&out);
        run(&mut command);
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("espalier.json")).unwrap()).unwrap();
        assert!(manifest["decided"]["numbers"]["decides.loss"].as_f64().unwrap() > 0.0, "{isolate}");
        assert_eq!(manifest["calibration"]["selector"]["name"], "last");
        for layer in manifest["layers"].as_array().unwrap() {
            let target = if layer["name"].as_str().unwrap().contains("layers.1.") { 0.25 } else { 0.5 };
            let sparsity = layer["sparsity"].as_f64().unwrap();
            assert!((sparsity - target).abs() < 0.01, "{isolate}: {layer}");
        }
    }
}
