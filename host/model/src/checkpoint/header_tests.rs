use super::*;
use proptest::prelude::*;

/// A file with this header and so many bytes of tensors.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

const GOOD: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]},"empty":{"dtype":"BF16","shape":[0,9],"data_offsets":[12,12]}}"#;

#[test]
fn reads_what_the_safetensors_library_writes() {
    use safetensors::tensor::{TensorView, serialize};
    let data: Vec<u8> = (0..48).collect();
    let views = [
        ("w", TensorView::new(Dtype::F32, vec![2, 3], &data[..24]).unwrap()),
        ("v", TensorView::new(Dtype::BF16, vec![4], &data[24..32]).unwrap()),
        ("s", TensorView::new(Dtype::I64, vec![], &data[32..40]).unwrap()),
    ];
    let bytes = serialize(views, Some([("format".to_owned(), "pt".to_owned())].into())).unwrap();
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(header.tensors.len(), 3);
    for (name, shape, expected) in
        [("w", vec![2, 3], &data[..24]), ("v", vec![4], &data[24..32]), ("s", vec![], &data[32..40])]
    {
        let entry = header.tensors.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!((&entry.shape, &bytes[entry.range.clone()]), (&shape, expected));
    }
}

#[test]
fn tensors_come_in_the_order_of_their_bytes() {
    let header = Header::parse(&file(GOOD, 12)).unwrap();
    let names: Vec<_> = header.tensors.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "empty"]);
    assert_eq!(header.data_start, 8 + GOOD.len());
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let whole = file(GOOD, 12);
    for length in 0..whole.len() {
        let error = Header::parse(&whole[..length]).unwrap_err();
        let expected = match length {
            0..8 => matches!(error, HeaderError::TooShort(_)),
            _ if length < 8 + GOOD.len() => matches!(error, HeaderError::HeaderPastEnd { .. }),
            _ => matches!(error, HeaderError::PastEnd { .. }),
        };
        assert!(expected, "{length}: {error}");
    }
}

#[test]
fn lies_are_refused() {
    for (json, data, words) in [
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 12, "4 bytes at its end"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12, "4 bytes before tensor `a`"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "`a` claims bytes 8 to 0"),
        (r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "`a` of F32 [3] claims 8 bytes"),
        (r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#, 1, "which its shape does not make"),
        (r#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#, 8, "unknown element type F33"),
        (r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "header is malformed"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, 8, "header is malformed"),
        (r#"{"a":{"dtype":"F32","shape":[2]}}"#, 8, "header is malformed"),
        (r#"{"__metadata__":{"n":1}}"#, 0, "header is malformed"),
        ("[]", 0, "header is malformed"),
        ("{}x", 0, "header is malformed"),
        (
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
            3,
            "tensors `a` and `b` overlap",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
            8,
            "which its shape does not make",
        ),
    ] {
        let message = Header::parse(&file(json, data)).unwrap_err().to_string();
        assert!(message.contains(words), "{json}: {message}");
    }
    let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let Err(HeaderError::Json(source)) = Header::parse(&file(twice, 1)) else { panic!("accepted") };
    assert!(source.to_string().contains("`a` comes twice"), "{source}");
    let error = Header::parse(&u64::MAX.to_le_bytes()).unwrap_err();
    assert!(matches!(error, HeaderError::HeaderPastEnd { .. }));
}

/// If a header is accepted, its tensors lie one after the other up to the end of the file.
fn check(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        let mut end = header.data_start;
        for entry in &header.tensors {
            assert_eq!(entry.range.start, end);
            end = entry.range.end;
        }
        assert_eq!(end, bytes.len());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn random_headers_never_panic(json in "[\\[\\]{}\":,a-z0-9_ ]{0,120}", data in 0usize..32) {
        check(&file(&json, data));
    }

    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = file(GOOD, 12);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        check(&bytes);
    }

    #[test]
    fn changed_numbers_never_panic(shape in proptest::collection::vec(any::<u64>(), 0..4), begin: u64, end: u64, small: bool) {
        let [begin, end] = if small { [begin % 24, end % 24] } else { [begin, end] };
        let json = format!(r#"{{"a":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}}}"#);
        check(&file(&json, 16));
    }
}
