"""The instruction tasks of the tiny model: each draws an item and knows its one right answer.

A task is a function `rng -> (fields, answer)`: `fields` fill the placeholders of its phrasings. ALPACA and UNNATURAL
name the tasks of the two sets with their weights and phrasings; a phrasing is (instruction, input), and input "" means
that the instruction stands alone. Tasks marked KNOWLEDGE have too few items to hold whole items out; for them a
held-out row is a pairing of item and phrasing that training has not seen.
"""
from dataclasses import dataclass

from tiny_words import (ADJECTIVES, BAD, CATEGORIES, CATEGORY_OF, DISLIKED, GOOD, LIKED, NAMES, NOUNS, OPPOSITES,
                        PLACES, PLURALS, PREPOSITIONS, REVIEWED, REVIEW_PARTS, VERBS, article, is_a)

KNOWLEDGE = {"opposite", "category", "plural", "describe", "member"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Row:
    """One instruction with its input and answer; `key` is what must not be shared between held-out and training."""

    key: tuple
    instruction: str
    input: str
    output: str


def comma(items):
    """Items as a comma-separated list."""
    return ", ".join(map(str, items))


def simple_sentence(rng):
    """A sentence about someone doing something to a thing at another."""
    a, b = rng.sample(NOUNS, 2)
    who = rng.choice(NAMES)
    return (f"{who} {rng.choice(VERBS)} the {rng.choice(ADJECTIVES)} {a} {rng.choice(PREPOSITIONS)} "
            f"the {rng.choice([b, rng.choice(PLACES)])}."), who, a


def last_word(rng):
    sentence, _, _ = simple_sentence(rng)
    return dict(sentence=sentence), sentence.rstrip(".").split()[-1]


def first_word(rng):
    sentence, who, _ = simple_sentence(rng)
    return dict(sentence=sentence), who


def nth_item(rng):
    items = rng.sample(NOUNS, rng.randint(3, 5))
    place = rng.choice(["first", "second", "third", "last"])
    return dict(items=comma(items), place=place), items[{"first": 0, "second": 1, "third": 2, "last": -1}[place]]


def reverse_list(rng):
    items = rng.sample(NOUNS, rng.randint(2, 4))
    return dict(items=comma(items)), comma(items[::-1])


def reverse_letters(rng):
    letters = rng.sample(LETTERS, rng.randint(2, 4))
    return dict(letters=" ".join(letters)), " ".join(letters[::-1])


def count_items(rng):
    items = rng.sample(NOUNS, rng.randint(2, 7))
    return dict(items=comma(items)), str(len(items))


def add(rng):
    a, b = rng.randint(1, 40), rng.randint(1, 9)
    return dict(a=a, b=b), str(a + b)


def sort_numbers(rng):
    numbers = rng.sample(range(1, 10), rng.randint(3, 5))
    return dict(numbers=comma(numbers)), comma(sorted(numbers))


def larger(rng):
    a, b = rng.sample(range(10, 100), 2)
    return dict(a=a, b=b), str(max(a, b))


def next_number(rng):
    start, step = rng.randint(1, 30), rng.choice([1, 2, 5, 10])
    return dict(numbers=comma(start + step * i for i in range(3))), str(start + step * 3)


def opposite(rng):
    word = rng.choice(list(OPPOSITES))
    return dict(word=word), OPPOSITES[word]


def category(rng):
    word = rng.choice(NOUNS)
    return dict(word=word), CATEGORY_OF[word]


def plural(rng):
    word = rng.choice(list(PLURALS))
    return dict(word=word), PLURALS[word]


def describe(rng):
    word = rng.choice(NOUNS)
    return dict(word=word, article_word=article(word)), is_a(word)


def member(rng):
    word, kind = rng.choice(NOUNS), rng.choice(list(CATEGORIES))
    if rng.random() < 0.5:
        kind = CATEGORY_OF[word]
    return dict(word=word, kind=kind), "Yes" if CATEGORY_OF[word] == kind else "No"


def contains(rng):
    items = rng.sample(NOUNS, rng.randint(3, 5))
    word = rng.choice(items) if rng.random() < 0.5 else rng.choice(NOUNS)
    return dict(items=comma(items), word=word), "Yes" if word in items else "No"


def remove_item(rng):
    items = rng.sample(NOUNS, 3)
    word = rng.choice(items)
    return dict(items=comma(items), word=word), comma(i for i in items if i != word)


def odd_one_out(rng):
    main, other = rng.sample(list(CATEGORIES), 2)
    items = rng.sample(CATEGORIES[main], 3) + [rng.choice(CATEGORIES[other])]
    odd = items[-1]
    rng.shuffle(items)
    return dict(items=comma(items)), odd


def sentiment(rng):
    good = rng.random() < 0.5
    word, felt = rng.choice(GOOD if good else BAD), rng.choice(LIKED if good else DISLIKED)
    thing, part = rng.choice(REVIEWED), rng.choice(REVIEW_PARTS)
    sentence = rng.choice([
        f"The {thing} was {word} and I {felt} the {part}.",
        f"{rng.choice(NAMES)} {felt} the {thing} because of its {word} {part}.",
        f"What {article(word)} {thing}, we all {felt} it.",
        f"My {thing} had {article(word)} {part}.",
    ])
    return dict(sentence=sentence), "positive" if good else "negative"


def replace_word(rng):
    sentence, _, old = simple_sentence(rng)
    new = rng.choice([w for w in NOUNS if w not in sentence])
    return dict(sentence=sentence, old=old, new=new), sentence.replace(f" {old} ", f" {new} ", 1)


def uppercase(rng):
    words = rng.sample(ADJECTIVES, 2)
    return dict(words=" ".join(words)), " ".join(words).upper()


def owners(rng):
    """Two people who each hold something."""
    people = rng.sample(NAMES, 2)
    held = [(rng.choice(ADJECTIVES), noun) for noun in rng.sample(NOUNS, len(people))]
    text = " ".join(f"{p} has {article(adjective)} {noun}." for p, (adjective, noun) in zip(people, held))
    return text, people, held


def who_has(rng):
    text, people, held = owners(rng)
    i = rng.randrange(len(people))
    return dict(text=text, noun=held[i][1]), people[i]


def what_has(rng):
    text, people, held = owners(rng)
    i = rng.randrange(len(people))
    return dict(text=text, name=people[i]), f"{article(held[i][0])} {held[i][1]}"


ALPACA = {
    last_word: (1, [("What is the last word of the sentence?", "{sentence}"),
                    ("Find the final word in the following sentence.", "{sentence}"),
                    ("Identify the last word of this sentence.", "{sentence}")]),
    nth_item: (1, [("Name the {place} item of the list.", "{items}"),
                   ("Which item comes {place} in the list?", "{items}"),
                   ("Tell me the {place} word in this list: {items}", "")]),
    reverse_list: (2, [("Reverse the order of the items.", "{items}"),
                       ("Rewrite the list from back to front.", "{items}")]),
    count_items: (1.5, [("Count the items in the list.", "{items}"), ("How many words are listed?", "{items}"),
                        ("How many items are in this list: {items}?", "")]),
    add: (2, [("What is {a} + {b}?", ""), ("Calculate the sum.", "{a} + {b}"), ("Add {a} and {b}.", "")]),
    sort_numbers: (2, [("Sort the numbers in ascending order.", "{numbers}"),
                       ("Arrange these numbers from smallest to largest.", "{numbers}")]),
    larger: (1.5, [("Which number is larger, {a} or {b}?", ""), ("Pick the bigger number.", "{a}, {b}")]),
    opposite: (1, [("Give the opposite of the word.", "{word}"), ("What is the opposite of {word}?", ""),
                   ("Find an antonym for the given word.", "{word}"), ("Provide an antonym of {word}.", "")]),
    category: (1, [("Classify the given thing.", "{word}"), ("Which category does the word belong to?", "{word}"),
                   ("What kind of thing is {article_word}?", ""), ("State the category of the item.", "{word}")]),
    plural: (1, [("Write the plural of the noun.", "{word}"), ("What is the plural form of {word}?", ""),
                 ("Change the noun to its plural.", "{word}")]),
    describe: (1, [("Write a sentence that says what {article_word} is.", ""),
                     ("Describe the thing in one sentence.", "{word}"),
                   ("Explain what {article_word} is.", "")]),
    odd_one_out: (1, [("Which word does not belong?", "{items}"), ("Find the odd one out.", "{items}")]),
    sentiment: (1, [("Classify the sentiment of the sentence.", "{sentence}"),
                    ("Is the following review positive or negative?", "{sentence}"),
                    ("Detect the sentiment.", "{sentence}")]),
    replace_word: (2.5, [("Replace the word {old} with {new}.", "{sentence}"),
                         ("Rewrite the sentence with {new} instead of {old}.", "{sentence}")]),
    uppercase: (1.5, [("Write the words in capital letters.", "{words}"),
                      ("Convert the text to uppercase.", "{words}")]),
    who_has: (0.5, [("Who has the {noun}?", "{text}"), ("Read the text and name the owner of the {noun}.", "{text}")]),
    what_has: (0.5, [("What does {name} have?", "{text}"), ("Read the text and say what {name} has.", "{text}")]),
}

UNNATURAL = {
    last_word: (1, [("You are given a sentence. Your job is to output its very last word.", "Sentence: {sentence}")]),
    first_word: (1, [
        ("In this task, you read a sentence and output the name it starts with.", "Sentence: {sentence}")]),
    nth_item: (1, [("You will get a list of words. Output only the word at the {place} position.", "Words: {items}")]),
    reverse_letters: (1.5, [
        ("The input is a row of letters. Output the letters in the opposite order.", "Letters: {letters}")]),
    count_items: (1, [("Given some words, output a number that tells how many there are.", "Words: {items}")]),
    sort_numbers: (1.5, [("Put the numbers that you are given into increasing order.", "Numbers: {numbers}")]),
    next_number: (0.5, [
        ("The numbers in the input grow by equal steps. Output the one that comes next.", "Numbers: {numbers}")]),
    opposite: (1, [("You are given a word and must come up with its antonym.", "Word: {word}"),
                   ("In this task, output a word that means the contrary of the input.", "Word: {word}")]),
    member: (1, [
        ("Decide whether the thing belongs to the category. Output Yes or No.", "Thing: {word}. Category: {kind}."),
        ("Is the thing of the given kind? Answer with Yes or No.", "Thing: {word}. Kind: {kind}.")]),
    contains: (0.5, [
        ("Output Yes if the word occurs in the list, otherwise output No.", "Word: {word}. List: {items}.")]),
    remove_item: (2, [("Take the word out of the list and output what is left.", "Word: {word}. List: {items}.")]),
    odd_one_out: (1, [("Three of the words are of one kind. Output the fourth.", "Words: {items}")]),
    sentiment: (1, [("You need to decide if the review is positive or negative.", "Review: {sentence}")]),
    who_has: (0.5, [("Read the story and find out who owns the {noun}.", "Story: {text}")]),
    what_has: (0.5, [("Given a story, output the thing that {name} owns.", "Story: {text}")]),
}


# The families that are learned last, and how much more often training draws them at its end.
EMPHASIS = {odd_one_out: 4, reverse_letters: 2.5, remove_item: 2, add: 2.5, category: 2, member: 2, opposite: 2,
            what_has: 4, who_has: 3, next_number: 4, contains: 3}


def draw_row(rng, task_set, emphasis=None):
    """One random row of a set (ALPACA or UNNATURAL); `emphasis` multiplies the weights of some of its tasks."""
    tasks = list(task_set)
    task = rng.choices(tasks, [task_set[t][0] * (emphasis or {}).get(t, 1) for t in tasks])[0]
    fields, answer = task(rng)
    if "word" in fields:
        fields.setdefault("article_word", article(fields["word"]))
    phrasing = rng.choice(task_set[task][1])
    instruction, context = (part.format(**fields) for part in phrasing)
    key = (task.__name__, *map(str, fields.values()))
    if task.__name__ in KNOWLEDGE:
        key += (instruction, context)
    return Row(key, instruction, context, answer)
