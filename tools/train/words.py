"""Random words, the train/evaluation split, numbers in words, and typing variants.

A word belongs to the evaluation when a checksum of its lower-case form is a multiple of ten. Training draws
only the other nine tenths, so every evaluation word is new to the model. Sums are split the same way.
"""
import zlib

ONSETS = ("b c d f g h j k l m n p r s t v w y z br cr dr fr gr kr pr tr bl cl fl gl pl sl sk sm sn sp st sw sh ch th qu").split()
VOWELS = "a e i o u a e i o u ai ea ee ei ia ie io oa oo ou y".split()
CODAS = [""] * 14 + "n r l s t m d k x n r l s nd rt st ck ll ss nn ng lm rn sh th z".split()
NAME_ENDS = "son ton ia ina ella ette us o a y ie ley ford a i an en er is".split()

COMMON_NAMES = (
    "Alex Maria Anna Tom Ben Sara Sarah Emma Olivia Liam Noah Lucas Mia Leo Max Paul Peter John James Robert Michael David "
    "Daniel Laura Lisa Julia Sophie Sofia Lena Nina Eva Eric Oscar Hugo Victor Simon Mark Martin Jack Harry George Charlie "
    "Alice Grace Ella Lily Rose Ruby Ivy Hannah Rachel Rebecca Kate Katie Jane Jenny Helen Diana Clara Nora Ada Alan Bob "
    "Carlos Diego Pedro Juan Luis Ana Carmen Elena Ivan Olga Natasha Boris Igor Yuki Kenji Hiro Mei Ling Chen Priya Raj "
    "Amit Anita Ravi Arjun Sunita Ahmed Omar Fatima Layla Ali Hassan Zara Ingrid Lars Sven Erik Freya Marco Giulia Luca "
    "Pierre Marie Claire Louis Chloe Sam Kim Chris Pat Taylor Jordan Casey Robin Morgan Jamie Steve Mary Linda Susan Karen "
    "Nancy Betty Kevin Brian Jason Ryan Eve Adam Amy Zoe Ian Neil Joe Nick Tim Jim Dan Will Kyle Sean Owen Finn Theo").split()

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen").split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()


def checksum(text):
    return zlib.crc32(text.lower().encode())


def for_evaluation(text):
    """True for the tenth of all words (or word-like keys) that training never sees."""
    return checksum(text) % 10 == 0


def sum_for_evaluation(a, op, b):
    """The split of two-number questions; sums of small numbers are everybody's and always trained."""
    return (a > 10 or b > 10) and checksum(f"{a}{op}{b}") % 10 == 0


def spell(n):
    """English words of 0..999."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("" if n % 10 == 0 else "-" + ONES[n % 10])
    rest = n % 100
    return ONES[n // 100] + " hundred" + ("" if rest == 0 else " and " + spell(rest))


class Words:
    """Draws words of one side of the split; `held_out` picks the evaluation side."""

    def __init__(self, rng, held_out=False):
        self.rng = rng
        self.held_out = held_out

    def raw(self):
        rng = self.rng
        pick = rng.random()
        syllables = 1 if pick < 0.12 else 2 if pick < 0.75 else 3
        out = ""
        for i in range(syllables):
            onset = "" if i == 0 and rng.random() < 0.15 else rng.choice(ONSETS)
            out += onset + rng.choice(VOWELS) + rng.choice(CODAS)
        if rng.random() < 0.15:
            out += rng.choice(NAME_ENDS)
        return out

    def word(self):
        """A lower-case invented word of 3 to 11 letters from this side of the split."""
        while True:
            w = self.raw()
            if 3 <= len(w) <= 11 and for_evaluation(w) == self.held_out:
                return w

    def invented_name(self):
        return self.word().capitalize()

    def name(self):
        """A person's name: mostly invented; in training a quarter are common ones."""
        if not self.held_out and self.rng.random() < 0.25:
            return self.rng.choice(COMMON_NAMES)
        return self.invented_name()

    def split_choice(self, make):
        """Calls `make` until its text falls on this side of the split."""
        while True:
            text = make()
            if for_evaluation(text) == self.held_out:
                return text


def sentence_case(text):
    return text[:1].upper() + text[1:]


def typed(rng, text, question=None):
    """The text as people type it or a speech recogniser writes it. Templates are written in lower case without a final
    mark; `{}` slots are already filled. `question` says which mark ends it; None means it ends with a plain stop."""
    mark = "?" if question else "."
    style = rng.random()
    if style < 0.45:
        text = sentence_case(text)
        if text[-1] not in "?!.":
            text += mark if question or rng.random() < 0.5 else ""
    elif style < 0.60:
        text = sentence_case(text)
    elif style < 0.72:
        text += mark if text[-1] not in "?!." else ""
    elif style < 0.84:
        text = text.replace("'", "")
    elif style < 0.88:
        text = sentence_case(text.replace("'", "\u2019"))
        text += mark if text[-1] not in "?!." else ""
    elif style < 0.91 and text[-1] not in "?!.":
        text = sentence_case(text) + "!"
    if "i" in text and style < 0.60:
        text = text.replace(" i ", " I ").replace(" i'", " I'")
    return text
