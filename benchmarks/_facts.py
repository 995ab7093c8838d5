"""Invented facts in three forms of question, ordinary questions, and notes about other things."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np


@dataclass(frozen=True)
class Fact:
    """A statement that nobody can know, questions for it, and the word that answers them."""

    said: str
    questions: tuple[str, str, str]
    answer: str


COLOURS = [
    "green",
    "yellow",
    "purple",
    "orange",
    "white",
    "black",
    "pink",
    "brown",
    "grey",
    "silver",
]
WOODS = ["oak", "elm", "pine", "cedar", "birch", "maple", "walnut", "cherry", "ash", "teak"]
ANIMALS = [
    "goat",
    "parrot",
    "donkey",
    "rabbit",
    "falcon",
    "turtle",
    "badger",
    "otter",
    "pony",
    "ferret",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
FOODS = [
    "soup",
    "bread",
    "cheese",
    "honey",
    "pepper",
    "rice",
    "lemons",
    "apples",
    "onions",
    "almonds",
]

#: (statement, three questions, answers): {n} is the name, {a} the answer.
KINDS: tuple[tuple[str, tuple[str, str, str], list[str]], ...] = (
    ("The front door of {n}'s house is {a}.",
     ("What colour is the front door of {n}'s house?", "Which colour does {n}'s front door have?",
      "{n} painted the front door of the house in which colour?"), COLOURS),
    ("The keel of the ship {n} is made of {a}.",
     ("What is the keel of the ship {n} made of?", "Which wood is the {n}'s keel?",
      "From which material did they build the keel of the ship {n}?"), WOODS),
    ("{n} keeps a {a} as a pet.",
     ("Which animal does {n} keep as a pet?", "What pet does {n} have?",
      "What kind of animal lives with {n} as a pet?"), ANIMALS),
    ("The market of {n} is held every {a}.",
     ("On which day is the market of {n} held?", "When does the town of {n} hold its market?",
      "Which day of the week is market day in {n}?"), DAYS),
    ("{n} never eats {a}.",
     ("What does {n} never eat?", "Which food is never eaten by {n}?",
      "Which food should I not cook for {n}?"), FOODS),
)  # fmt: skip
KNOWN = 1000  # names of the first seed that nobody else has
_SYLLABLES = """bra cal dor eld fen gor hal ira jen kol lum mar nor oth pel quor rin sol tam ul vel
wex yar zan|bin da len mo ra ric sa th tor va wyn zo|dale ek en holm ia ish mere ock or stead us
wick"""
_PARTS = tuple(part.split() for part in _SYLLABLES.split("|"))
_TALK = (
    "The {n} meeting was moved to the small room because the heating failed again.",
    "I read a book about {n} last winter and liked the second half more than the first.",
    "Remember to send the invoice to {n} before the end of the month.",
    "{n} asked whether the tests could run at night, when the machine is idle.",
    "The bus to {n} leaves ten minutes later on weekends.",
    "We compared two pumps for {n}; the cheaper one is louder and needs more oil.",
)


def names(seed: int) -> Iterator[str]:
    """Made-up names, none twice."""
    rng, seen = np.random.default_rng(seed), set()
    while True:
        name = "".join(str(rng.choice(part)) for part in _PARTS).capitalize()
        name += str(rng.choice(["", "", " " + str(rng.choice(_PARTS[0])).capitalize() + "son"]))
        if name not in seen:
            seen.add(name)
            yield name


def facts(count: int, seed: int = 1, taken: Collection[str] = ()) -> list[Fact]:
    """Facts of all kinds in turn, none of a name that is taken."""
    rng, found = np.random.default_rng(seed), []
    source = (name for name in names(seed) if name not in taken)
    for number in range(count):
        said, questions, answers = KINDS[number % len(KINDS)]
        name, answer = next(source), str(rng.choice(answers))
        first, second, third = (question.format(n=name) for question in questions)
        found.append(Fact(said.format(n=name, a=answer), (first, second, third), answer))
    return found


def other(fact: Fact, seed: int) -> Fact:
    """The same fact with another answer."""
    kind = next(k for k in KINDS if fact.answer in k[2])
    rest = [answer for answer in kind[2] if answer != fact.answer]
    answer = str(np.random.default_rng(seed).choice(rest))
    return Fact(fact.said.replace(fact.answer, answer), fact.questions, answer)


def distractors(count: int, seed: int = 2) -> Iterator[str]:
    """Half of them facts of the same kinds about others, half of them everyday notes.

    Others: of one name two facts of a kind would contradict each other, and either be right.
    """
    taken = set(islice(names(1), KNOWN))
    same = facts(count // 2, seed, taken)
    yield from (fact.said for fact in same)
    source = names(seed + 1)
    for number in range(count - len(same)):
        yield f"{number}. " + _TALK[number % len(_TALK)].format(n=next(source))


_CAPITALS = """France Paris|Germany Berlin|Italy Rome|Spain Madrid|Portugal Lisbon|Austria Vienna
Greece Athens|Norway Oslo|Sweden Stockholm|Finland Helsinki|Poland Warsaw|Hungary Budapest
Ireland Dublin|Belgium Brussels|Russia Moscow|Ukraine Kyiv|Turkey Ankara|Egypt Cairo|Kenya Nairobi
Japan Tokyo|China Beijing|India Delhi|Thailand Bangkok|Vietnam Hanoi|Indonesia Jakarta
Australia Canberra|Canada Ottawa|Mexico Mexico|Cuba Havana|Peru Lima|Chile Santiago
Argentina Buenos|Brazil Brasilia|Iran Tehran|Iraq Baghdad|Denmark Copenhagen|Romania Bucharest
Bulgaria Sofia|Serbia Belgrade|Croatia Zagreb"""
_ELEMENTS = """oxygen O|hydrogen H|carbon C|gold Au|silver Ag|iron Fe|helium He|sodium Na
nitrogen N|lead Pb|copper Cu|calcium Ca|potassium K|chlorine Cl|zinc Zn|tin Sn|neon Ne|lithium Li
sulfur S|phosphorus P"""
_CONTINENTS = """France Europe|Germany Europe|Japan Asia|China Asia|India Asia|Egypt Africa
Kenya Africa|Nigeria Africa|Brazil America|Peru America|Canada America|Mexico America|Italy Europe
Spain Europe|Thailand Asia|Vietnam Asia|Morocco Africa|Ghana Africa|Chile America|Poland Europe"""
_OPPOSITES = """hot cold|big small|up down|day night|fast slow|light dark|happy sad|old new
open closed|high low|rich poor|wet dry|hard soft|early late|left right|black white|true false
loud quiet|full empty|strong weak"""


def ordinary(count: int) -> list[tuple[str, str]]:
    """Questions with answers that a model may know by itself, none about the facts above."""
    found = []
    for text, forms in (
        (_CAPITALS, ("What is the capital of {0}?", "Name the capital city of {0}.")),
        (_CONTINENTS, ("On which continent is {0}?", "{0} lies on which continent?")),
        (_OPPOSITES, ("What is the opposite of {0}?", "Which word means the opposite of {0}?")),
        (_ELEMENTS, ("What is the chemical symbol of {0}?", "Which symbol stands for {0} in"
                     " chemistry?")),
    ):  # fmt: skip
        for form in forms:
            for pair in text.replace("\n", "|").split("|"):
                subject, answer = pair.split()
                found.append((form.format(subject), answer))
    order = np.random.default_rng(3).permutation(len(found))
    return [found[i] for i in order[:count]]
