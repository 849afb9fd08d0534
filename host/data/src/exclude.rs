//! Which data must not be met again: a calibration row that an evaluation set holds too would make the
//! evaluation say less.

use super::{CalibrationError, Collection, Reading, Source};
use std::{
    collections::{HashSet, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    path::PathBuf,
};

/// Words in a row that two texts must share to count as one another's: the measure of the GPT-3 paper.
const WORDS: usize = 13;

/// The odd number that the rolling hash multiplies with.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The runs of words of some data, 8 bytes each.
pub(super) struct Exclusion {
    runs: HashSet<u64>,
}

impl Exclusion {
    /// Reads what is to be excluded; nothing if there are no files.
    ///
    /// # Errors
    /// A file is not usable, or holds tokens in place of text.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Option<Self>, CalibrationError> {
        if paths.is_empty() {
            return Ok(None);
        }
        let sources: Vec<_> = paths.iter().map(Source::new).collect();
        let collection = Collection::open(&sources, &Reading::default())?;
        let mut exclusion = Self { runs: HashSet::new() };
        for index in 0..collection.len() {
            let record = collection.record(index)?;
            let texts = record.texts();
            if texts.is_empty() {
                return Err(CalibrationError::NoText {
                    place: collection.place(index),
                    found: record.kind(),
                });
            }
            exclusion.runs.extend(Runs::of(&texts));
        }
        Ok(Some(exclusion))
    }

    /// Whether these texts, one behind the other, share a run of words with what is excluded. Texts of
    /// fewer words than a run has are shared if they are the same as a whole.
    pub(super) fn meets(&self, texts: &[&str]) -> bool {
        Runs::of(texts).any(|run| self.runs.contains(&run))
    }
}

/// The hashes of the runs of words in some texts; of all their words, if they are too few for one.
struct Runs<W> {
    words: W,
    held: VecDeque<u64>,
    rolling: u64,
    any: bool,
}

impl<'a> Runs<Box<dyn Iterator<Item = u64> + 'a>> {
    fn of(texts: &'a [&'a str]) -> Self {
        let words = texts.iter().flat_map(|text| word_hashes(text));
        Self { words: Box::new(words), held: VecDeque::with_capacity(WORDS + 1), rolling: 0, any: false }
    }
}

impl<W: Iterator<Item = u64>> Iterator for Runs<W> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        for word in &mut self.words {
            self.rolling = self.rolling.wrapping_mul(BASE).wrapping_add(word);
            self.held.push_back(word);
            if self.held.len() > WORDS {
                let oldest = self.held.pop_front().unwrap_or_default();
                self.rolling =
                    self.rolling.wrapping_sub(oldest.wrapping_mul(BASE.wrapping_pow(WORDS as u32)));
            }
            if self.held.len() == WORDS {
                self.any = true;
                return Some(self.rolling);
            }
        }
        let short = !self.any && !self.held.is_empty();
        self.any = true;
        short.then_some(self.rolling)
    }
}

/// The hashes of a text's words: runs of letters and digits, in lower case. In scripts that put no spaces between words,
/// every character is one.
pub fn word_hashes(text: &str) -> impl Iterator<Item = u64> {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    runs.flat_map(parts).map(|word| {
        let mut hasher = DefaultHasher::new();
        for c in word.chars().flat_map(char::to_lowercase) {
            c.hash(&mut hasher);
        }
        hasher.finish()
    })
}

/// A run of letters and digits, parted around every character of a script without spaces.
fn parts(run: &str) -> impl Iterator<Item = &str> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match is_unspaced(first) {
            true => first.len_utf8(),
            false => rest.find(is_unspaced).unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at(end);
        rest = behind;
        Some(word)
    })
}

/// Whether a character is of a script that is written without spaces between words.
fn is_unspaced(c: char) -> bool {
    // Blocks of Unicode.
    const BLOCKS: [(char, char); 14] = [
        ('\u{e00}', '\u{e7f}'),     // Thai
        ('\u{e80}', '\u{eff}'),     // Lao
        ('\u{f00}', '\u{fff}'),     // Tibetan
        ('\u{1000}', '\u{109f}'),   // Myanmar
        ('\u{1780}', '\u{17ff}'),   // Khmer
        ('\u{3005}', '\u{3007}'),   // iteration mark, closing mark, zero
        ('\u{3040}', '\u{30ff}'),   // Hiragana, Katakana
        ('\u{3100}', '\u{312f}'),   // Bopomofo
        ('\u{31f0}', '\u{31ff}'),   // Katakana, phonetic extensions
        ('\u{3400}', '\u{4dbf}'),   // Han, extension A
        ('\u{4e00}', '\u{9fff}'),   // Han
        ('\u{f900}', '\u{faff}'),   // Han, compatibility
        ('\u{ff66}', '\u{ff9d}'),   // Katakana, half width
        ('\u{20000}', '\u{3ffff}'), // Han, further extensions
    ];
    c >= BLOCKS[0].0 && BLOCKS.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusion(texts: &[&str]) -> Exclusion {
        Exclusion { runs: texts.iter().flat_map(|text| Runs::of(&[text]).collect::<Vec<_>>()).collect() }
    }

    #[test]
    fn thirteen_shared_words_are_met_and_twelve_are_not() {
        let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        let excluded = exclusion(&[&numbers(0..40).join(" ")]);
        let row = |range| format!("So, we begin: {}! And so on…", numbers(range).join("; "));
        assert!(excluded.meets(&[&row(20..33)]));
        assert!(!excluded.meets(&[&row(20..32)]));
        // Across the pieces of a row, whatever case and signs.
        let (first, second) = (numbers(3..9).join("-"), numbers(9..16).join("\n"));
        assert!(excluded.meets(&[&first, &second]));
        assert!(!excluded.meets(&[&second, &first]));
    }

    #[test]
    fn in_scripts_without_spaces_characters_are_words() {
        for item in [
            "昔々ある所にお爺さんとお婆さんが住んでいました",
            "床前明月光疑是地上霜举头望明月低头思故乡",
            "กาลครั้งหนึ่งนานมาแล้วมีชายชราและหญิงชราอาศัยอยู่",
        ] {
            let excluded = exclusion(&[item]);
            assert!(excluded.meets(&[&format!("見よ{item}続きabc")]));
            let begin: String = item.chars().take(9).collect();
            assert!(!excluded.meets(&[&format!("x {begin} y")]), "{item}");
        }
        let words: Vec<_> = parts("abc模型7b").collect();
        assert_eq!(words, ["abc", "模", "型", "7b"]);
    }

    #[test]
    fn short_rows_are_met_as_a_whole() {
        let excluded = exclusion(&["What is the opposite of hot? Cold."]);
        assert!(excluded.meets(&["what is the OPPOSITE of hot", "", "cold"]));
        assert!(!excluded.meets(&["what is the opposite of hot", "", "ice"]));
        assert!(!excluded.meets(&["the opposite of hot? Cold."]));
        assert!(!excluded.meets(&["", "?"]));
    }
}
