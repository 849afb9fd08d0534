use super::*;

#[test]
fn sizes_are_read_and_shown() {
    for (text, bytes) in
        [("0", 0), ("512", 512), ("1K", 1024), ("8G", 8 << 30), ("1.5GiB", 3 << 29), ("2 mb", 2 << 20)]
    {
        assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
    }
    for text in ["", "G", "-1", "much", "1e400", "NaN", "8X"] {
        assert!(text.parse::<Size>().is_err(), "{text}");
    }
    assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
    assert_eq!(Size(7).to_string(), "7 B");
}
