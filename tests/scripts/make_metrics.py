"""Records text metrics for the evaluation tests: `tests/fixtures/metrics.json` and `tests/fixtures/stems.json`.

Each row is a prediction with its references and what the published definitions give for them:
    exact_match, f1   SQuAD v1.1 (Rajpurkar et al., 1606.05250): lower case, no ASCII punctuation, no articles, single
                      spaces; F1 over token bags; the best reference counts. Two texts without tokens match exactly and
                      have F1 0, as in the SQuAD v1.1 script.
    rouge1, rouge1_stemmed
                      precision, recall, F-measure of ROUGE-1 by PyPI `rouge-score`, without and with its Porter
                      stemmer; of several references the one with the highest F-measure (`score_multi`).

tests/fixtures/stems.json: pairs of a word and its stem by NLTK's `PorterStemmer`, which `rouge-score` stems with: every
irregular form, stems with all suffixes of the algorithm, and strings of letters at random.

usage: python tests/scripts/make_metrics.py
Deterministic. Hand-written pairs for the edges, and pairs made by editing sentences at random.
"""
import collections
import json
import random
import re
import string
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

import tiny_text

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ROWS = 300

EDGES = [
    ("", [""]), ("", ["a"]), ("the", ["a"]), ("the", ["an apple"]), ("...", ["!"]), ("", ["cat"]), ("cat", [""]),
    ("Cat", ["cat"]), ("The cat.", ["cat"]), ("a cat", ["the cat"]), ("theatre", ["the atre"]),
    ("an  apple\n", ["apple"]), ("cat cat cat", ["cat"]), ("cat", ["cat cat"]), ("A a A", ["the"]), ("it's", ["its"]),
    ("it's", ["it s"]), ("3.14", ["314"]), ("1,000", ["1000"]), ("-5", ["5"]), ("5%", ["5"]), ("42", ["forty-two"]),
    ("10 000", ["10000"]), ("café", ["cafe"]), ("CAFÉ", ["café"]), ("naïve résumé", ["naive resume"]),
    ("Straße", ["STRASSE"]), ("İstanbul", ["istanbul"]), ("東京", ["東京"]), ("東京 タワー", ["東京タワー"]),
    ("Привет мир", ["привет, мир!"]), ("مرحبا", ["مرحبا"]), ("😀 yes", ["yes"]), ("“quoted”", ["quoted"]),
    ("«quoted»", ["quoted"]), ("well—known", ["well known"]), ("well-known", ["well known"]),
    ("snake_case", ["snake case"]), ("don’t", ["dont"]), ("yes", ["no", "yes"]),
    ("Yes, it is.", ["no", "yes", "it is"]), ("the quick fox", ["a slow fox", "quick brown fox", "quick fox"]),
    ("running runs ran", ["run running runner"]), ("the cats were sleeping", ["a cat sleeps"]),
    ("generalizations", ["generalize"]), ("flies dies mules", ["fly die mule"]),
    ("happily relational", ["happy relate"]), ("non\u00a0breaking space", ["non breaking space"]),
    ("tab\tand\nline", ["tab and line"]), ("a.b.c", ["abc"]), ("U.S.A.", ["usa"]), ("C++ and C#", ["c and c"]),
    ("e-mail", ["email"]), ("x" * 60, ["x" * 60]), ("ﬁne", ["fine"]), ("½ cup", ["1/2 cup"]), ("²", ["2"]),
    ("Ångström", ["ångström"]), ("I I I", ["i"]), ("an", ["AN"]), ("one two three four", ["four three two one"]),
    ("and the and", ["and"]), ("A-Team", ["team"]), ("the-end", ["end"]),
]
ASIDES = ["Café", "3.5", "naïve", "don't", "1,234", "über", "東京", "the", "an", "A", "well-known", "(sic)",
          "running", "happily"]

BASES = ["b", "fl", "oat", "tree", "troubl", "hop", "fall", "hiss", "fizz", "fil", "siz", "enjo", "happ", "geo", "theo",
         "archaeo", "sens", "formal", "relat", "cond", "ration", "vietnam", "oper", "decis", "electr", "good", "reviv",
         "controll", "y", "sy", "play", "ow", "box", "er", "ag", "adopt", "activ", "x2", "probat", "ceas"]
SUFFIXES = ["", "s", "es", "ss", "sses", "ies", "ied", "eed", "ed", "ing", "y", "ational", "tional", "enci", "anci", "izer",
            "bli", "alli", "ally", "entli", "eli", "ously", "ization", "ation", "ator", "alism", "iveness", "fulness",
            "ousness", "aliti", "ivity", "bility", "fully", "logy", "logi", "icate", "ative", "alize", "iciti", "ical",
            "ful", "ness", "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou",
            "ism", "ate", "iti", "ous", "ive", "ize", "e", "ll", "le", "ted", "ating", "bling", "ee"]


def normalised_tokens(text):
    """SQuAD's normalisation, split at white space."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def exact_match(prediction, reference):
    """1 where the normalised texts are equal."""
    return float(normalised_tokens(prediction) == normalised_tokens(reference))


def f1(prediction, reference):
    """Harmonic mean of precision and recall over the token bags; 0 where they share nothing."""
    predicted, wanted = normalised_tokens(prediction), normalised_tokens(reference)
    shared = sum((collections.Counter(predicted) & collections.Counter(wanted)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def edited(rng, text):
    """A text with words dropped, doubled, swapped for asides, or with its case changed."""
    words = []
    for word in text.split():
        words += rng.choices([[word], [], [word, word], [rng.choice(ASIDES)], [word.upper()]], [12, 2, 1, 2, 1])[0]
    return rng.choice([" ", " ", "  "]).join(words)


def random_pair(rng):
    """A prediction with one to three references, all edits of the same sentence or, at times, of another."""
    source = rng.choice(tiny_text.document(rng).split("\n\n")[0].split(". "))
    other = tiny_text.document(rng).split(". ")[0]
    references = [edited(rng, rng.choice([source, source, other])) for _ in range(rng.choice([1, 1, 2, 3]))]
    return edited(rng, source), references


def measured(prediction, references):
    """One row of the fixture."""
    row = dict(prediction=prediction, references=references,
               exact_match=max(exact_match(prediction, r) for r in references),
               f1=max(f1(prediction, r) for r in references))
    for key, stemmer in (("rouge1", False), ("rouge1_stemmed", True)):
        score = RougeScorer(["rouge1"], use_stemmer=stemmer).score_multi(references, prediction)["rouge1"]
        row[key] = dict(precision=score.precision, recall=score.recall, fmeasure=score.fmeasure)
    return row


def stems(rng):
    """Words with their stems."""
    stemmer = PorterStemmer()
    words = sorted({base + suffix for base in BASES for suffix in SUFFIXES})
    words = [*stemmer.pool, *rng.sample(words, 1200)]
    words += ["".join(rng.choices("aeiouybdlst", k=rng.randrange(1, 9))) for _ in range(300)]
    return [[word, stemmer.stem(word)] for word in words]


def main():
    rng = random.Random("metrics")
    pairs = EDGES + [random_pair(rng) for _ in range(ROWS - len(EDGES))]
    rows = [measured(prediction, references) for prediction, references in pairs]
    FIXTURES.mkdir(parents=True, exist_ok=True)
    (FIXTURES / "metrics.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    lines = ",\n".join(json.dumps(pair) for pair in stems(rng))
    (FIXTURES / "stems.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(rows)} rows, mean F1 {sum(r['f1'] for r in rows) / len(rows):.3f}")


if __name__ == "__main__":
    main()
