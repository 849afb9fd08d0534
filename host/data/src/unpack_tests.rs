use super::super::{Collection, Reading, Record, Source};
use flate2::{Compression, write::GzEncoder};
use parquet::{
    data_type::{ByteArray, ByteArrayType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use std::{fs, io::Write, path::Path, sync::Arc};

const ROWS: &str = "{\"text\": \"one\"}\n{\"text\": \"two \u{e9}\"}\n";

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum, as the command line tool writes it.
fn zstd(content: &str) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn records(path: &Path) -> Vec<Record> {
    let collection = Collection::open(&[Source::new(path)], &Reading::default()).unwrap();
    (0..collection.len()).map(|index| collection.record(index).unwrap()).collect()
}

fn texts(texts: &[&str]) -> Vec<Record> {
    texts.iter().map(|&text| Record::Text(text.to_owned())).collect()
}

/// Two row groups of Alpaca's columns.
fn parquet() -> Vec<u8> {
    let schema = "message rows { required binary instruction (UTF8); optional binary input (UTF8); \
                  required binary output (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for columns in [[&["Add.", "Say"][..], &["1 2"], &["3", "\"hi\"\n"]], [&["Go"], &[""], &["on"]]] {
        let mut group = writer.next_row_group().unwrap();
        for (at, values) in columns.into_iter().enumerate() {
            let mut column = group.next_column().unwrap().unwrap();
            let there: &[i16] = if columns[0].len() == 2 { &[1, 0] } else { &[1] };
            let values: Vec<_> = values.iter().map(|&value| ByteArray::from(value)).collect();
            let levels = (at == 1).then_some(there);
            column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn packed_files_are_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.jsonl.gz"), gzip(ROWS)).unwrap();
    fs::write(path("b.json.zst"), zstd("[{\"text\": \"three\"}]")).unwrap();
    fs::write(path("c.TXT.GZ"), gzip("four\nfive")).unwrap();
    assert_eq!(records(&path("a.jsonl.gz")), texts(&["one", "two \u{e9}"]));
    assert_eq!(records(&path("b.json.zst")), texts(&["three"]));
    assert_eq!(records(&path("c.TXT.GZ")), texts(&["four\nfive"]));
    // A folder of them, and files of several members.
    assert_eq!(records(dir.path()), texts(&["one", "two \u{e9}", "three", "four\nfive"]));
    fs::write(path("a.jsonl.gz"), [gzip(ROWS), gzip(ROWS)].concat()).unwrap();
    assert_eq!(records(&path("a.jsonl.gz")).len(), 4);
    fs::write(path("b.json.zst"), [zstd(ROWS), zstd(ROWS)].concat()).unwrap();
    assert_eq!(records(&path("b.json.zst")).len(), 4);
}

#[test]
fn parquet_is_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    fs::write(&path, parquet()).unwrap();
    let row = |instruction: &str, input: &str, output: &str| Record::Instruction {
        system: String::new(),
        instruction: instruction.to_owned(),
        input: input.to_owned(),
        outputs: vec![output.to_owned()],
    };
    let expected = [row("Add.", "1 2", "3"), row("Say", "", "\"hi\"\n"), row("Go", "", "on")];
    assert_eq!(records(&path), expected);
}

#[test]
fn the_fingerprint_is_that_of_the_packed_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = (dir.path().join("a.jsonl.gz"), gzip(ROWS));
    fs::write(&path, &bytes).unwrap();
    let unpacked = super::unpack(&path).unwrap().unwrap();
    assert_eq!(unpacked.sha256, super::Hashed::new(&bytes[..]).finish().unwrap());
    assert_eq!((fs::read_to_string(&*unpacked.data).unwrap(), &*unpacked.end), (ROWS.to_owned(), "jsonl"));
    let data = unpacked.data.to_path_buf();
    drop(unpacked);
    // A file that was unlinked leaves nothing behind.
    assert!(data.starts_with("/proc/self/fd") || !data.exists());
}

#[test]
fn damaged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let packed = [
        ("a.jsonl.gz", gzip(&ROWS.repeat(99))),
        ("a.jsonl.zst", zstd(&ROWS.repeat(99))),
        ("a.parquet", parquet()),
    ];
    for (name, bytes) in packed {
        let path = dir.path().join(name);
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 0x55;
        for wrong in [&bytes[..bytes.len() - 5], &bytes[..9], &[], &flipped] {
            fs::write(&path, wrong).unwrap();
            let Err(error) = Collection::open(&[Source::new(&path)], &Reading::default()) else {
                // Parquet has no checksum over its pages by default.
                assert!(name == "a.parquet" && wrong == flipped, "{name} of {} bytes is taken", wrong.len());
                continue;
            };
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn what_comes_to_far_more_than_its_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let line = "x".repeat(1023) + "\n";
    for (name, bytes) in
        [("a.txt.gz", gzip(&line.repeat(200 << 10))), ("a.txt.zst", zstd(&line.repeat(200 << 10)))]
    {
        let path = dir.path().join(name);
        assert!(bytes.len() < 600_000, "{name} has {} bytes", bytes.len());
        fs::write(&path, bytes).unwrap();
        let error = super::unpack(&path).unwrap_err();
        let said = espalier_base::cause::causes(&error).join(": ");
        assert!(said.contains(name) && said.contains("more than 200 times its size"), "{said}");
    }
}

/// An output of `zstd --long=31`: a window of 2 GiB, of which only what is used is touched.
#[test]
fn long_windows_of_zstd_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl.zst");
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(31).unwrap();
    encoder.write_all(ROWS.as_bytes()).unwrap();
    fs::write(&path, encoder.finish().unwrap()).unwrap();
    assert_eq!(records(&path), texts(&["one", "two é"]));
}

#[test]
fn zeros_behind_gzip_are_padding_and_other_bytes_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl.gz");
    let [first, second] = [&ROWS[..16], &ROWS[16..]].map(gzip);
    for (parts, fine) in [
        (vec![&first[..], &second, &[0; 3000]], true),
        (vec![&first[..], &[0; 5], &second], true),
        (vec![&first[..], &second, b"more"], false),
        (vec![&[0; 5][..], &first, &second], false),
        (vec![&first[..], &second[..second.len() - 5]], false),
    ] {
        fs::write(&path, parts.concat()).unwrap();
        let read = Collection::open(&[Source::new(&path)], &Reading::default());
        assert_eq!(read.is_ok(), fine, "{} parts", parts.len());
        if fine {
            assert_eq!(records(&path), texts(&["one", "two é"]));
        }
    }
}

/// A column of bytes without a word that they are text, in every codec that is in use.
#[test]
fn text_in_binary_columns_is_text() {
    use parquet::basic::{BrotliLevel, Compression as Codec, GzipLevel, ZstdLevel};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    for codec in [
        Codec::UNCOMPRESSED,
        Codec::SNAPPY,
        Codec::LZ4,
        Codec::LZ4_RAW,
        Codec::GZIP(GzipLevel::default()),
        Codec::ZSTD(ZstdLevel::default()),
        Codec::BROTLI(BrotliLevel::default()),
    ] {
        let schema = Arc::new(
            parse_message_type("message rows { required binary text; required binary image; }").unwrap(),
        );
        let properties = Arc::new(WriterProperties::builder().set_compression(codec).build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for values in [["one", "two é"].map(str::as_bytes), [b"\xff\xd8", b"\x00\xfe"]] {
            let values = values.map(|value| ByteArray::from(value.to_vec()));
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        fs::write(&path, writer.into_inner().unwrap()).unwrap();
        assert_eq!(records(&path), texts(&["one", "two é"]), "{codec:?}");
    }
}
