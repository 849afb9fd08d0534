use super::{header::HeaderWriter, *};
use crate::{
    Checkpoint, Generation, Llama, LlamaConfig,
    checkpoint::CheckpointError,
    fixture::{Stored, config, sharded, single, tensors},
    resolve,
};
use espalier_base::hash::Hasher;
use espalier_device::cpu::Cpu;
use proptest::prelude::*;
use safetensors::Dtype;
use std::{fs, path::PathBuf, sync::Arc};
use tempfile::TempDir;

/// Tensors with zeros: the first row of every matrix has none, the second nothing else, and −0 stands among the others.
fn pruned(dtype: Dtype) -> Vec<Stored> {
    let mut tensors = tensors(dtype);
    let size = dtype.bitsize() / 8;
    for (name, _, shape, data) in &mut tensors {
        // Numbers, not bits that may be none.
        for (at, element) in data.chunks_exact_mut(size).enumerate() {
            let bits = 0x3c00_u16 + (at * 37 % 512) as u16;
            element.fill(0);
            element[size - 2..].copy_from_slice(&bits.to_le_bytes());
        }
        if crate::layout::Projection::parse(name).is_none() {
            continue;
        }
        let cols = shape[1];
        for (at, element) in data.chunks_exact_mut(size).enumerate() {
            match at / cols {
                0 => {}
                1 => element.fill(0),
                _ if at % 7 == 3 => {
                    element.fill(0);
                    element[size - 1] = 0x80;
                }
                _ if at % 3 != 0 => element.fill(0),
                _ => {}
            }
        }
    }
    tensors
}

fn hash(path: &Path) -> String {
    let mut hash = Hasher::default();
    hash.update(&fs::read(path).unwrap());
    hash.hex()
}

/// A model's folder with its archive beside it.
fn packed(dtype: Dtype, shards: bool) -> (TempDir, PathBuf, PathBuf, Packing) {
    let home = tempfile::tempdir().unwrap();
    let (folder, archive) = (home.path().join("model"), home.path().join("model.sparse"));
    if shards {
        sharded(&folder, &config(), &pruned(dtype), 5);
    } else {
        single(&folder, &config(), &pruned(dtype));
    }
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    fs::write(folder.join("notes.txt"), "not a part of the model").unwrap();
    let packing = pack(&folder, &archive, false, |_| {}).unwrap();
    (home, folder, archive, packing)
}

#[test]
fn unpacking_gives_every_byte_back() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        for shards in [false, true] {
            let (home, folder, archive, packing) = packed(dtype, shards);
            assert_eq!(packing.bytes as u64, fs::metadata(&archive).unwrap().len());
            assert!(dtype != Dtype::F32 || packing.tensors > 0, "{packing:?}");
            let again = home.path().join("again");
            let mut bytes = 0;
            unpack(&archive, &again, |more| bytes += more).unwrap();
            assert!(bytes > 0);
            let mut names: Vec<_> =
                fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.retain(|name| name != "notes.txt");
            assert_eq!(fs::read_dir(&again).unwrap().count(), names.len());
            for name in names {
                assert_eq!(hash(&folder.join(&name)), hash(&again.join(&name)), "{dtype:?} {name:?}");
            }
            assert!(unpack(&archive, &again, |_| {}).is_err(), "it is there");
        }
    }
}

#[test]
fn what_unpacking_would_make_is_known_before() {
    let (home, folder, archive, _) = packed(Dtype::BF16, true);
    let found = records(&archive).unwrap();
    unpack(&archive, &home.path().join("again"), |_| {}).unwrap();
    assert!(found.len() > 2 && found.contains_key("tokenizer.json"), "{found:?}");
    for (name, record) in found {
        let bytes = fs::metadata(folder.join(&name)).unwrap().len();
        assert_eq!((record.bytes, record.sha256), (bytes, hash(&folder.join(&name))), "{name}");
    }
}

/// A model with a low-rank part in some layers, as pruning writes it.
#[test]
fn low_rank_parts_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let (folder, archive) = (home.path().join("model"), home.path().join("model.sparse"));
    single(&folder, &config(), &pruned(Dtype::F32));
    let weight = crate::layout::Projection::ALL[0].weight(1);
    let shape = Checkpoint::open(&folder).unwrap().entry(&weight).unwrap().1.shape.clone();
    fs::write(folder.join("espalier.json"), "{}").unwrap();
    let adapter = folder.join("adapter");
    fs::create_dir(&adapter).unwrap();
    let settings =
        r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "rank_pattern": {}, "alpha_pattern": {}}"#;
    fs::write(adapter.join("adapter_config.json"), settings).unwrap();
    let factors: Vec<Stored> = [('B', vec![shape[0], 1]), ('A', vec![1, shape[1]])]
        .map(|(which, shape)| {
            let bytes = (0..shape[0] * shape[1]).flat_map(|at| (at as f32 * 0.01).to_le_bytes()).collect();
            (crate::checkpoint::adapter::factor(&weight, which), Dtype::F32, shape, bytes)
        })
        .into();
    fs::write(adapter.join("adapter_model.safetensors"), crate::fixture::safetensors(&factors, &[])).unwrap();

    pack(&folder, &archive, false, |_| {}).unwrap();
    resolve(archive.to_str().unwrap()).unwrap();
    let [dense, packed] = [&folder, &archive].map(|path| {
        let checkpoint = Checkpoint::open(path).unwrap();
        checkpoint.validate(&LlamaConfig::read(path).unwrap()).unwrap();
        checkpoint
    });
    let factors = |checkpoint: &Checkpoint, weight: &str| {
        let found = checkpoint.low_rank(weight).unwrap();
        found.map(|(left, right)| (left.shape, left.bytes, right.shape, right.bytes))
    };
    assert!(factors(&packed, &weight).is_some());
    assert_eq!(factors(&dense, &weight), factors(&packed, &weight));
    assert_eq!(factors(&packed, &crate::layout::Projection::ALL[1].weight(1)), None);
    assert!(packed.has_adapter() && packed.packing().0 > 0);
    let [dense, packed] = [&folder, &archive].map(|path| Llama::open(path, Arc::new(Cpu::new())).unwrap());
    let hidden = |model: &Llama| {
        let batch = model.batch(&[&[1, 2, 3]]).unwrap();
        let mut hidden = model.embed(&batch).unwrap();
        model
            .each_block(0..2, false, |_, block| model.forward_block(block, &batch, &mut hidden, None))
            .unwrap();
        model.device.to_f32(&hidden).unwrap()
    };
    assert!(hidden(&dense) == hidden(&packed));
    let again = home.path().join("again");
    unpack(&archive, &again, |_| {}).unwrap();
    for name in ["adapter/adapter_config.json", "adapter/adapter_model.safetensors", "model.safetensors"] {
        assert_eq!(hash(&folder.join(name)), hash(&again.join(name)), "{name}");
    }
}

/// Tensors of more than 4 GiB, whose bytes only the header counts.
#[test]
fn places_beyond_four_gibibytes_are_right() {
    let side: usize = 33_000;
    let mut header = HeaderWriter::default();
    let (kept, row) = (side * side / 2, side.div_ceil(8));
    let tensors = [
        ("whole", Dtype::F32, vec![side, side]),
        ("t.compressed", Dtype::F32, vec![kept]),
        ("t.bitmask", Dtype::U8, vec![side, row]),
        ("t.row_offsets", Dtype::I64, vec![side]),
        ("t.shape", Dtype::I64, vec![2]),
    ];
    let mut end = 0;
    for (name, dtype, shape) in &tensors {
        end += header.add(name, *dtype, shape);
        assert!(end.is_multiple_of(ALIGN));
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        assert_eq!(header.data_bytes(), end);
    }
    assert!(end > 6 << 30);
    let bytes = header.finish(&Default::default());
    let header = crate::checkpoint::Header::of_preamble(&bytes).unwrap();
    let found: Vec<_> = header.tensors.iter().filter(|entry| !entry.name.starts_with(PADDING)).collect();
    for (entry, (name, _, shape)) in found.iter().zip(&tensors) {
        assert_eq!((entry.name.as_str(), &entry.shape), (*name, shape));
        assert!((entry.range.start - header.data_start).is_multiple_of(ALIGN));
    }
    assert_eq!(found[0].range.len(), 4 * side * side);
    assert_eq!(found.last().unwrap().range.end, header.data_start + end);
}

#[test]
fn an_archive_is_read_as_its_folder() {
    let (_home, folder, archive, _) = packed(Dtype::F32, true);
    let dense = Checkpoint::open(&folder).unwrap();
    assert_eq!(resolve(archive.to_str().unwrap()).unwrap(), archive);
    let config = LlamaConfig::read(&archive).unwrap();
    let packed = Checkpoint::open(&archive).unwrap();
    packed.validate(&config).unwrap();
    let mut names: [Vec<_>; 2] = [&dense, &packed].map(|checkpoint| checkpoint.names().collect());
    names.iter_mut().for_each(|names| names.sort_unstable());
    assert_eq!(names[0], names[1]);
    for name in &names[0] {
        assert_eq!(dense.raw(name).unwrap(), packed.raw(name).unwrap(), "{name}");
        assert_eq!(dense.tensor_bytes(name), packed.tensor_bytes(name));
    }
    assert!(packed.packing().0 > 0);
    // The bytes that kernels read begin at lines of the cache.
    let shard = &packed.shards()[0];
    for entry in &shard.header.tensors {
        assert!(entry.range.start.is_multiple_of(ALIGN) || entry.name.starts_with(PADDING), "{}", entry.name);
    }
}

#[test]
fn texts_are_those_of_the_dense_model() {
    let home = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-instruct");
    let (folder, archive) = (home.path().join("model"), home.path().join("model.sparse"));
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(&source).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    // Every other weight of the linear layers, and a whole row.
    let shard = folder.join("model.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    let header = Checkpoint::open(&folder).unwrap().shards()[0].header.clone();
    for entry in header.tensors {
        if crate::layout::Projection::parse(&entry.name).is_some() {
            let size = entry.dtype.bitsize() / 8;
            for (at, element) in bytes[entry.range].chunks_exact_mut(size).enumerate() {
                if at % 2 == 0 || at / entry.shape[1] == 3 {
                    element.fill(0);
                }
            }
        }
    }
    fs::write(&shard, bytes).unwrap();
    let packing = pack(&folder, &archive, false, |_| {}).unwrap();
    assert!(packing.packed_linear_bytes < packing.linear_bytes * 6 / 10, "{packing:?}");
    resolve(archive.to_str().unwrap()).unwrap();
    let [dense, packed] = [&folder, &archive].map(|path| Llama::open(path, Arc::new(Cpu::new())).unwrap());
    let prompts: Vec<Vec<u32>> =
        (0..100).map(|i| (0..1 + i % 9).map(|k| (i * 37 + k * 11) % 400 + 3).collect()).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    for sequences in [1, 16] {
        let options = Generation { sequences, ..Generation::greedy(&dense.config, 12) };
        let run = |model: &Llama| model.generate(&prompts, &options, || {}).unwrap();
        assert_eq!(run(&dense), run(&packed));
    }
    // More tokens at a time than the kernel takes that reads packed weights.
    let long: Vec<u32> = (0..90).map(|i| (i * 29) % 400 + 3).collect();
    let batch = dense.batch(&[&long]).unwrap();
    let hidden = |model: &Llama| {
        let mut hidden = model.embed(&batch).unwrap();
        model
            .each_block(0..model.config.num_hidden_layers, false, |_, block| {
                model.forward_block(block, &batch, &mut hidden, None)
            })
            .unwrap();
        model.device.to_f32(&hidden).unwrap()
    };
    assert!(hidden(&dense) == hidden(&packed));
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let (home, folder, archive, _) = packed(Dtype::F32, false);
    let to = |name: &str| pack(&folder, &home.path().join(name), false, |_| {});
    assert!(matches!(to("model.safetensors"), Err(ArchiveError::Named(_))));
    assert!(matches!(to("model.sparse"), Err(ArchiveError::Output(_))));
    assert!(matches!(pack(&archive, &home.path().join("x"), false, |_| {}), Err(ArchiveError::NoFolder(_))));
    assert!(matches!(
        unpack(&folder.join("model.safetensors"), &home.path().join("x"), |_| {}),
        Err(ArchiveError::NoArchive(_))
    ));
    let mut tensors = pruned(Dtype::F32);
    tensors.push(("own.bitmask".to_owned(), Dtype::U8, vec![1], vec![1]));
    single(&folder, &config(), &tensors);
    assert!(matches!(to("x"), Err(ArchiveError::Reserved { name, .. }) if name == "own.bitmask"));
}

/// All that is read of an archive, or why it is refused.
fn read_all(archive: &Path) -> Result<(), String> {
    let run = || -> crate::Result<()> {
        let folder = resolve(archive.to_str().unwrap())?;
        let config = LlamaConfig::read(&folder)?;
        let checkpoint = Checkpoint::open(&folder)?;
        checkpoint.validate(&config)?;
        for name in checkpoint.names() {
            checkpoint.raw(name)?;
        }
        Ok(())
    };
    run().map_err(|error| espalier_base::cause::causes(&error).join(": "))
}

/// What is done to an archive's bytes.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    /// Of the header.
    HeaderBit(prop::sample::Index, u8),
    /// Of a file beside the weights.
    FileBit(prop::sample::Index, u8),
    /// Of the mask of some tensor.
    MaskBit(prop::sample::Index, u8),
    /// Of the offsets of some tensor.
    OffsetBit(prop::sample::Index, u8),
    /// Of the shape of some tensor.
    ShapeBit(prop::sample::Index, u8),
    /// A whole offset.
    Offset(prop::sample::Index, u64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Damage::Cut),
        (index(), 0..8u8).prop_map(|(at, bit)| Damage::HeaderBit(at, bit)),
        (index(), 0..8u8).prop_map(|(at, bit)| Damage::FileBit(at, bit)),
        (index(), 0..8u8).prop_map(|(at, bit)| Damage::MaskBit(at, bit)),
        (index(), 0..8u8).prop_map(|(at, bit)| Damage::OffsetBit(at, bit)),
        (index(), 0..8u8).prop_map(|(at, bit)| Damage::ShapeBit(at, bit)),
        (index(), any::<u64>()).prop_map(|(at, value)| Damage::Offset(at, value)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nothing is read out of bounds, and what no longer fits together is refused by the name of the file or tensor. A bit of the
    /// header may turn into another name that nobody needs, and so is only not to bring anything down.
    #[test]
    fn damaged_archives_are_refused(damage in damage()) {
        let (home, _, archive, _) = packed(Dtype::F32, false);
        let mut bytes = fs::read(&archive).unwrap();
        let shard = crate::checkpoint::Shard::open(archive, "model.sparse".to_owned()).unwrap();
        let start = shard.header.data_start;
        let part = |end: &str, at: prop::sample::Index, unit: usize| {
            let all: Vec<usize> = shard.header.tensors.iter()
                .filter(|entry| entry.name.ends_with(end) || entry.name.starts_with(end))
                .flat_map(|entry| entry.range.clone().step_by(unit)).collect();
            all[at.index(all.len())]
        };
        let mut must = true;
        match damage.clone() {
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::HeaderBit(at, bit) => {
                bytes[at.index(start)] ^= 1 << bit;
                must = false;
            }
            Damage::FileBit(at, bit) => {
                bytes[part("espalier.file/", at, 1)] ^= 1 << bit;
                must = false;
            }
            Damage::MaskBit(at, bit) => bytes[part(".bitmask", at, 1)] ^= 1 << bit,
            Damage::OffsetBit(at, bit) => bytes[part(".row_offsets", at, 1)] ^= 1 << bit,
            Damage::ShapeBit(at, bit) => bytes[part(".shape", at, 1)] ^= 1 << bit,
            Damage::Offset(at, value) => {
                let at = part(".row_offsets", at, 8);
                let new = value.to_le_bytes();
                prop_assume!(bytes[at..at + 8] != new);
                bytes[at..at + 8].copy_from_slice(&new);
            }
        }
        let damaged = home.path().join("damaged.sparse");
        fs::write(&damaged, bytes).unwrap();
        match read_all(&damaged) {
            Ok(()) => prop_assert!(!must, "{damage:?}"),
            Err(message) => {
                prop_assert!(message.contains("damaged.sparse"), "{message}");
                let named = message.contains("model.layers.");
                prop_assert!(named || matches!(damage, Damage::Cut(_) | Damage::HeaderBit(..) | Damage::FileBit(..)), "{damage:?}: {message}");
            }
        }
        // Whatever was turned, what is unpacked is what was packed or nothing.
        let again = home.path().join("again");
        if unpack(&damaged, &again, |_| {}).is_ok() {
            prop_assert!(!matches!(damage, Damage::FileBit(..)));
            for name in ["config.json", "model.safetensors"] {
                prop_assert_eq!(hash(&again.join(name)), hash(&home.path().join("model").join(name)));
            }
        }
    }
}

#[test]
fn turned_values_are_found_when_they_are_unpacked() {
    let (home, _, archive, _) = packed(Dtype::F32, false);
    let mut bytes = fs::read(&archive).unwrap();
    let checkpoint = Checkpoint::open(&archive).unwrap();
    let values =
        checkpoint.shards()[0].header.tensors.iter().find(|entry| entry.name.ends_with(".compressed"));
    bytes[values.unwrap().range.start] ^= 1;
    let damaged = home.path().join("damaged.sparse");
    fs::write(&damaged, bytes).unwrap();
    let refused = unpack(&damaged, &home.path().join("again"), |_| {});
    assert!(matches!(refused, Err(ArchiveError::Hash { .. })));
    assert!(!home.path().join("again").exists());
    // Another version is not guessed at.
    let mut bytes = fs::read(&archive).unwrap();
    let text = String::from_utf8_lossy(&bytes[..400]).into_owned();
    assert!(text.contains("\"version\":\"1\""), "{text}");
    let at = bytes.windows(13).position(|window| window == b"\"version\":\"1\"").unwrap();
    bytes[at + 11] = b'2';
    fs::write(&damaged, bytes).unwrap();
    assert!(matches!(Checkpoint::open(&damaged), Err(CheckpointError::Archive { name: None, .. })));
}
