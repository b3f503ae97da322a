"""Prompts of a known length that share nothing: some peers keep what they have seen before."""
import random

WORDS = "the cat sat on mat and looked at moon red blue green house tree car dog run walk".split()


def prompt(seed, tokens):
    """`tokens` words, each one token; a new seed shares no prefix with another."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(tokens))
