"""Makes difflib.tsv: pairs of texts and the characters that difflib finds in common blocks.

    python3 difflib.py > difflib.tsv

Each line has two texts and two numbers, between tabs: the sum of the sizes of the blocks of
SequenceMatcher(None, one, other, autojunk=False), and of the same in the reverse order. The pairs come from a seed, so
that every run makes the same file; ratios are 2 * blocks / (len(one) + len(other)).
"""

import random
import sys
from importlib import import_module

# This file has the name of the module that it is about.
sys.path = [path for path in sys.path if path not in ("", sys.path[0])]
SequenceMatcher = import_module("difflib").SequenceMatcher

RANDOM = random.Random(20260713)
NAMES = (
    "ann dan john jane maria mario ahmed fatima chen wei olga ivan jörg zoë søren núria émile łukasz "
    "иван ольга γιώργος 太郎 smith müller garcía rossi novak okafor dubois hansen"
).split()
DOMAINS = "gmail.com googlemail.com example.org company.example bücher.example пример.example mail.co.uk".split()
SEPARATORS = ["", ".", "_", "-", "+"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"


def address():
    count = RANDOM.randint(1, 3)
    separator = RANDOM.choice(SEPARATORS)
    local = separator.join(RANDOM.choice(NAMES) for _ in range(count))
    if RANDOM.random() < 0.4:
        local += str(RANDOM.randint(0, 9999))
    return local + "@" + RANDOM.choice(DOMAINS)


def changed(text):
    for _ in range(RANDOM.randint(1, 4)):
        at = RANDOM.randint(0, len(text))
        kind = RANDOM.random()
        if kind < 0.3:
            text = text[:at] + RANDOM.choice(LETTERS) + text[at:]
        elif kind < 0.6:
            text = text[:at] + text[at + 1 :]
        elif kind < 0.8:
            text = text[:at] + RANDOM.choice(LETTERS) + text[at + 1 :]
        else:
            end = RANDOM.randint(at, len(text))
            text = text[:at] + text[end:] + text[at:end]
    return text


def few_letters(alphabet, most):
    return "".join(RANDOM.choice(alphabet) for _ in range(RANDOM.randint(0, most)))


def pairs():
    for _ in range(1500):
        one = address()
        yield one, changed(one)
    for _ in range(1000):
        yield address(), address()
    for _ in range(700):
        yield few_letters("ab", 18), few_letters("ab", 18)
    for _ in range(700):
        yield few_letters("abcde", 24), few_letters("abcde", 24)
    # Here difflib would ignore frequent characters if it were let.
    for _ in range(40):
        one = few_letters("abcd", 40) + "@" + "".join(RANDOM.choice("abc") for _ in range(205))
        yield one, changed(one)


def blocks(one, other):
    return sum(block.size for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks())


for one, other in pairs():
    print(one, other, blocks(one, other), blocks(other, one), sep="\t")
