"""Running text from a small grammar: little stories and descriptions that keep to their people, things and places.

Stands in the place of C4 in the tests: it differs from the instruction data in form and vocabulary, has documents of
very different length, and repeats its entities, so that a language model gains from its context.
"""
from tiny_words import ADJECTIVES, BAD, CATEGORIES, COLOURS, GOOD, NAMES, NOUNS, PLACES, PREPOSITIONS, VERBS, article

WEATHER = "sunny rainy windy cold warm foggy snowy stormy".split()
TIMES = ["In the morning", "At noon", "In the evening", "Later", "After lunch", "The next day", "At night", "Soon"]
FEELINGS = "happy tired proud hungry curious worried calm surprised".split()
SAYINGS = ["I will help you", "look at this", "we should go home", "it is getting late", "that is mine",
           "do not be afraid", "let us try again", "what a day"]
SMALL_NUMBERS = "two three four five six seven eight nine ten".split()


def opening(rng, scene):
    """A sentence that introduces the story's people and place."""
    a, b, place, thing = scene["a"], scene["b"], scene["place"], scene["thing"]
    return rng.choice([
        f"One {rng.choice(WEATHER)} day {a} walked to the {place} with {b}.",
        f"{a} and {b} lived near the {place}.",
        f"There was once {article(scene['adjective'])} {thing} in the {place}.",
        f"{a} had {article(scene['adjective'])} {thing} and took it to the {place}.",
    ])


def happening(rng, scene):
    """A sentence of the story's middle, about its people, its thing and something new."""
    a, b = rng.sample([scene["a"], scene["b"]], 2)
    thing, place, other = scene["thing"], scene["place"], rng.choice(NOUNS)
    when = rng.choice(TIMES)
    return rng.choice([
        f"{when} {a} {rng.choice(VERBS)} the {thing} {rng.choice(PREPOSITIONS)} the {other}.",
        f"{when} {b} {rng.choice(VERBS)} {article(rng.choice(ADJECTIVES))} {other}, "
        f"but {a} was {rng.choice(FEELINGS)}.",
        f"{a} said to {b}: \"{rng.choice(SAYINGS).capitalize()}.\"",
        f"\"{rng.choice(SAYINGS).capitalize()},\" said {b}, and {a} {rng.choice(VERBS)} the {thing}.",
        f"The {thing} was {scene['adjective']} and the {place} was {rng.choice(WEATHER)}.",
        f"They counted {rng.choice(SMALL_NUMBERS)} steps to the {place}.",
        f"{when} it became {rng.choice(WEATHER)}, so {a} and {b} waited in the {rng.choice(PLACES)}.",
        f"{a} asked why the {other} was {rng.choice(COLOURS)}. {b} did not know.",
        f"{a} was {rng.choice(FEELINGS)} because the {thing} was gone.",
    ])


def ending(rng, scene):
    """A sentence that closes the story."""
    a, b, thing, place = scene["a"], scene["b"], scene["thing"], scene["place"]
    return rng.choice([
        f"At last {a} gave the {thing} to {b}, and they went home.",
        f"From then on {a} and {b} met at the {place} every week.",
        f"It was {article(rng.choice(GOOD))} day, and {b} never forgot the {thing}.",
        f"The {thing} stayed in the {place}, and nobody ever moved it again.",
    ])


def story(rng, middle):
    """A story of `middle` sentences between its opening and its ending, in paragraphs."""
    a, b = rng.sample(NAMES, 2)
    scene = dict(a=a, b=b, place=rng.choice(PLACES), thing=rng.choice(NOUNS), adjective=rng.choice(ADJECTIVES))
    sentences = [opening(rng, scene)] + [happening(rng, scene) for _ in range(middle)] + [ending(rng, scene)]
    text = sentences[0]
    for sentence in sentences[1:]:
        text += ("\n\n" if rng.random() < 0.08 else " ") + sentence
    return text


def description(rng):
    """A short text without people: a price list, a notice or a review."""
    place, number = rng.choice(PLACES), rng.randint
    kind = rng.choice(list(CATEGORIES))
    things = rng.sample(CATEGORIES[kind], 4)
    return rng.choice([
        f"The {place} shop sells things of every kind. " + " ".join(
            f"The {rng.choice(COLOURS)} {t} costs {number(2, 99)} coins." for t in things),
        f"Notice: the {place} is closed from {number(1, 6)} to {number(7, 12)}. Please do not bring "
        f"{article(things[0])} or {article(things[1])}. Thank you.",
        f"Visitors call the {place} {rng.choice(GOOD)}, though some find it {rng.choice(BAD)}. "
        f"It has {rng.choice(SMALL_NUMBERS)} {rng.choice(COLOURS)} doors and "
        f"{article(rng.choice(ADJECTIVES))} {things[2]}.",
    ])


def document(rng):
    """One document: mostly stories of 2 to 40 sentences, now and then a description."""
    if rng.random() < 0.2:
        return description(rng)
    return story(rng, min(40, 2 + int(rng.expovariate(1 / 10))))
