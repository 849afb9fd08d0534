"""The words that the tiny model's tasks and stories are made of."""

CATEGORIES = {
    "animal": "fox bear wolf horse sheep mouse duck goat owl rabbit tiger cow",
    "food": "bread cheese soup apple rice cake honey carrot butter pasta egg pie",
    "tool": "hammer saw drill spade rake axe wrench ladder needle shovel",
    "vehicle": "car bus train boat bicycle truck plane ship tram wagon",
    "clothing": "hat coat scarf shirt sock glove boot dress belt jacket",
    "furniture": "table chair bed desk shelf lamp sofa bench mirror carpet",
    "plant": "oak rose tulip fern moss daisy willow ivy maple lily",
    "instrument": "drum flute violin piano guitar trumpet harp cello horn banjo",
}
CATEGORIES = {name: words.split() for name, words in CATEGORIES.items()}
NOUNS = [w for words in CATEGORIES.values() for w in words]
CATEGORY_OF = {w: name for name, words in CATEGORIES.items() for w in words}

OPPOSITE_PAIRS = (
    "hot cold|big small|tall short|fast slow|old young|happy sad|light dark|wet dry|full empty|open closed|"
    "hard soft|high low|near far|rich poor|loud quiet|clean dirty|strong weak|early late|thick thin|wide narrow|"
    "sweet bitter|smooth rough|deep shallow|heavy weightless|brave afraid|day night|up down|left right|begin end|"
    "win lose|buy sell|give take|push pull|laugh cry|front back|inside outside|always never|true false|"
    "north south|summer winter"
)
OPPOSITES = {}
for _pair in OPPOSITE_PAIRS.split("|"):
    _a, _b = _pair.split()
    OPPOSITES[_a], OPPOSITES[_b] = _b, _a

IRREGULAR_PLURALS = {
    "wolf": "wolves", "sheep": "sheep", "mouse": "mice", "shelf": "shelves", "scarf": "scarves", "bus": "buses",
    "bench": "benches", "dress": "dresses", "fox": "foxes", "lily": "lilies", "daisy": "daisies", "ivy": "ivies",
    "wrench": "wrenches", "axe": "axes",
}
UNCOUNTED = {"bread", "cheese", "rice", "honey", "butter", "pasta", "moss"}
PLURALS = {w: IRREGULAR_PLURALS.get(w, w + "s") for w in NOUNS if w not in UNCOUNTED}

NAMES = "Anna Tom Mia Ben Lucy Max Emma Jack Nora Sam Ella Leo Ruth Paul Ida Hugo Clara Finn Greta Otto".split()
COLOURS = "red blue green yellow white black brown grey purple orange".split()
ADJECTIVES = COLOURS + "big small old new little heavy shiny broken wooden quiet strange lovely".split()
PLACES = "garden river forest market kitchen school station village hill beach bridge library barn harbour".split()
VERBS = "found saw carried painted washed dropped kept hid wanted liked moved lost".split()
PREPOSITIONS = "near behind beside under above".split()

GOOD = "wonderful great lovely excellent amazing delightful charming brilliant pleasant superb".split()
BAD = "terrible awful boring horrible dreadful ugly unpleasant dull disappointing miserable".split()
LIKED = "loved enjoyed adored praised".split()
DISLIKED = "hated disliked regretted cursed".split()
REVIEWED = "film book song hotel meal concert trip play lesson party".split()
REVIEW_PARTS = "ending music service weather colour story price room start smell".split()


def article(word):
    """The word behind the indefinite article that fits its first letter."""
    return ("an " if word[0] in "aeiou" else "a ") + word


def is_a(noun):
    """`X is Y` for a noun and its category, as in 'A fox is an animal.'"""
    category = CATEGORY_OF[noun]
    kind = category if category in ("food", "clothing", "furniture") else article(category)
    return f"{article(noun).capitalize()} is {kind}."
