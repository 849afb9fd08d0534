//! The Porter stemmer (Porter, "An algorithm for suffix stripping", 1980) with the extensions of NLTK's
//! `PorterStemmer`, whose stems `rouge_score` compares.

/// Words with a stem of their own.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// The replacement of each suffix of step 2 behind a stem of measure above 0.
const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

/// The same for step 3.
const STEP_3: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

/// The suffixes that step 4 takes off a stem of measure above 1.
const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a word of the letters a to z and digits.
pub(super) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    let steps = [step_1a, step_1b, step_1c, step_2, step_3, step_4, step_5a, step_5b];
    steps.into_iter().fold(word.to_owned(), |word, step| step(&word).unwrap_or(word))
}

/// Every step gives back the new word, or nothing where the word stays.
type PorterStep = Option<String>;

fn step_1a(word: &str) -> PorterStep {
    if let Some(stem) = word.strip_suffix("ies") {
        return Some(if word.len() == 4 { format!("{stem}ie") } else { format!("{stem}i") });
    }
    if let Some(stem) = word.strip_suffix("sses") {
        return Some(format!("{stem}ss"));
    }
    if word.ends_with("ss") { None } else { word.strip_suffix('s').map(str::to_owned) }
}

fn step_1b(word: &str) -> PorterStep {
    if let Some(stem) = word.strip_suffix("ied") {
        return Some(if word.len() == 4 { format!("{stem}ie") } else { format!("{stem}i") });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return (measure(stem) > 0).then(|| format!("{stem}ee"));
    }
    let mut stems = ["ed", "ing"].into_iter().filter_map(|suffix| word.strip_suffix(suffix));
    let stem = stems.find(|stem| has_vowel(stem))?;
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return Some(format!("{stem}e"));
    }
    if ends_double(stem) {
        let single = if stem.ends_with(['l', 's', 'z']) { stem } else { &stem[..stem.len() - 1] };
        return Some(single.to_owned());
    }
    Some(if measure(stem) == 1 && ends_short(stem) { format!("{stem}e") } else { stem.to_owned() })
}

fn step_1c(word: &str) -> PorterStep {
    let stem = word.strip_suffix('y')?;
    (stem.len() > 1 && consonants(stem).last().copied().unwrap_or(false)).then(|| format!("{stem}i"))
}

fn step_2(word: &str) -> PorterStep {
    // This suffix first, and what it leaves once more.
    if let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        let shorter = format!("{stem}al");
        return Some(step_2(&shorter).unwrap_or(shorter));
    }
    if let Some((suffix, replacement)) = STEP_2.iter().find(|(suffix, _)| word.ends_with(suffix)) {
        return replaced(word, suffix, replacement);
    }
    // The l counts with the stem, so that `geo` goes like `archaeo`.
    let stem = word.strip_suffix("ogi").filter(|stem| stem.ends_with('l'))?;
    (measure(stem) > 0).then(|| format!("{stem}og"))
}

fn step_3(word: &str) -> PorterStep {
    let (suffix, replacement) = STEP_3.iter().find(|(suffix, _)| word.ends_with(suffix))?;
    replaced(word, suffix, replacement)
}

fn replaced(word: &str, suffix: &str, replacement: &str) -> PorterStep {
    let stem = word.strip_suffix(suffix)?;
    (measure(stem) > 0).then(|| format!("{stem}{replacement}"))
}

fn step_4(word: &str) -> PorterStep {
    let suffix = STEP_4.iter().find(|suffix| word.ends_with(**suffix))?;
    let stem = word.strip_suffix(suffix)?;
    let fits = *suffix != "ion" || stem.ends_with(['s', 't']);
    (fits && measure(stem) > 1).then(|| stem.to_owned())
}

fn step_5a(word: &str) -> PorterStep {
    let stem = word.strip_suffix('e')?;
    let measure = measure(stem);
    (measure > 1 || measure == 1 && !ends_short(stem)).then(|| stem.to_owned())
}

fn step_5b(word: &str) -> PorterStep {
    let stem = word.strip_suffix('l').filter(|stem| stem.ends_with('l'))?;
    (measure(stem) > 1).then(|| stem.to_owned())
}

/// Which letters are consonants: y is one at the start and behind a vowel.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => flags.last().is_none_or(|before| !before),
            _ => true,
        });
    }
    flags
}

/// How often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

fn has_vowel(stem: &str) -> bool {
    consonants(stem).contains(&false)
}

fn ends_double(word: &str) -> bool {
    let bytes = word.as_bytes();
    matches!(bytes, [.., a, b] if a == b) && consonants(word).last() == Some(&true)
}

/// Whether a word ends consonant, vowel, consonant (not w, x or y), or is a vowel and a consonant.
fn ends_short(word: &str) -> bool {
    match consonants(word).as_slice() {
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        flags => flags == [false, true],
    }
}
