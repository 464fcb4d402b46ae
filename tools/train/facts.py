"""Small facts: capitals, definitions and everyday knowledge, and polite refusal of what is not known."""
import re
from chatstate import Turn
from facttables import CAPITALS, DEFINITIONS, PROPER, QUESTIONS, OPPOSITES, ANIMAL_SOUNDS, COLOURS_OF, PLURALS, CONTINENT_OF, LANGUAGE_OF
from words import typed

CAPITAL_FORMS = ["what is the capital of {c}"] * 3 + ["what's the capital of {c}", "whats the capital of {c}", "capital of {c}", "tell me the capital of {c}", "which city is the capital of {c}", "the capital of {c}",
                 "what is {c}'s capital", "do you know the capital of {c}", "can you tell me the capital of {c}", "name the capital of {c}", "what is the capital city of {c}"]
DEFINE_FORMS = ["what is {t}"] * 3 + ["what's {t}", "whats {t}", "explain {t}", "explain {t} to me", "tell me about {t}", "can you explain {t}", "what does {t} mean", "describe {t}", "what do you know about {t}",
                "please explain {t}", "do you know what {t} is", "define {t}"]
REFUSALS = {
    "news": (["what's in the news", "who won the game yesterday", "who won the match last night", "what happened today", "who is the president", "any news today", "what's the latest news", "who won the election"],
             "I can't look up news, sorry."),
    "prices": (["what is the price of gold", "how much is a bitcoin", "what are the stock prices", "how much does a car cost", "what's the price of milk", "how is the stock market doing"],
               "I don't know current prices, sorry."),
    "weather": (["what's the weather", "what is the weather like", "how is the weather", "will it rain today", "is it cold outside", "what's the weather like today", "do i need an umbrella", "how warm is it outside", "what's the temperature outside",
                 "what is the weather today", "is it sunny"], "I can't check the weather from here, sorry."),
    "people": (["who is {n}", "do you know {n}", "who was {n}", "tell me about {n}", "have you heard of {n}"], "I don't know who {n} is, sorry."),
    "music": (["play some music", "play a song", "play {w}", "can you play jazz"], "I can't play music here, sorry."),
    "health": (["i have a headache, what should i take", "which medicine should i take", "am i sick", "my stomach hurts, what should i do"], "I can't give medical advice, sorry. Please ask a doctor."),
    "law": (["can i sue my neighbour", "is it legal to park here", "i need legal advice"], "I can't give legal advice, sorry."),
    "write": (["write me an essay", "write a long story", "write a program that sorts numbers", "write some code", "write a book", "write me a python script", "compose a symphony"], "That is too much for me, sorry. I am only a small assistant."),
    "translate": (["translate this into french", "how do you say {w} in german", "translate {w} into spanish", "what is {w} in latin"], "I can't translate that, sorry."),
    "photo": (["what do you see", "look at this picture", "take a photo", "can you see me"], "I can't see anything, I only work with words."),
    "buy": (["order a pizza", "book a flight to {n}", "buy me a ticket", "book a table for two", "call me a taxi"], "I can't order or book things, sorry."),
    "where": (["where am i right now", "where is my phone", "where are my keys", "find my keys"], "I don't know where that is, sorry."),
    "future": (["will i be rich", "what will happen tomorrow", "who will win the world cup", "when will i die", "what are the lottery numbers"], "I can't see the future, sorry."),
}


NAMES = re.compile(r"(?<![\w-])(" + "|".join(re.escape(name) for name in sorted(PROPER, key=len, reverse=True)) + r")(?![\w+-])")


def asked(s, text):
    """A question of the tables as people write it: names with their capitals two times in three, seldom all in capitals."""
    if s.chance(0.02):
        return text.upper() + s.pick(["", "?"])
    return typed(s.rng, NAMES.sub(lambda m: PROPER[m[1]], text) if s.chance(0.65) else text, question=True)


def title(text):
    """Capital first letters, articles apart: "a black hole" becomes "a Black Hole"."""
    return " ".join(w if w in ("a", "an", "the") else w[:1].upper() + w[1:] for w in text.split())


NO_IDEA = ["how tall is {x}", "how old is {x}", "how big is {x}", "how heavy is {x}", "how deep is {x}", "what's the population of {x}", "what is the population of {x}", "how many people live in {x}",
           "who invented {w}", "who discovered {w}", "who wrote {x}", "who painted {x}", "who built {x}", "when was {x} built", "when was {x} born", "when did {x} start", "where is {x}", "where can i find {w}",
           "how does {w} work", "how do i make {w}", "how do i cook {w}", "how do i fix {w}", "why is {w} so important", "what rhymes with {w}", "how do you spell {w}", "spell {w}", "what do you think about {w}",
           "what is the best {w}", "what is the history of {x}", "what is the color of {w}", "do you like {w}", "is {w} healthy", "is {w} dangerous", "what is the difference between {w} and {v}", "which is better, {w} or {v}",
           "what is the flag of {x}", "who is the king of {x}", "who is the president of {x}", "what is the anthem of {x}", "how far is it to {x}", "how long does it take to get to {x}", "is {a} a prime number",
           "what year was {x} founded", "how much does {w} cost", "why do people like {w}", "what happened in {a}", "can dogs eat {w}", "what are the symptoms of {w}", "recommend a {w}", "tell me about the {w} of {v}"]


def no_idea(s):
    """Questions that nothing here answers, about invented things and known ones alike."""
    def thing():
        pick = s.rng.random()
        if pick < 0.5: return s.words.word()
        return s.pick(WORLD)
    def named(form):
        pick = s.rng.random()
        if pick < 0.4 or form.startswith("where"): return s.words.invented_name()
        if pick < 0.7 or not form.startswith("how"): return s.pick(CAPITALS)[s.rng.randrange(2)]
        return s.pick(list(PROPER.values()))
    form = s.pick(NO_IDEA)
    text = form.replace("{x}", named(form)).replace("{w}", thing()).replace("{v}", thing()).replace("{a}", str(s.rng.randint(2, 1999)))
    if s.chance(0.3): text = text.lower()
    if any(text.lower() == q for ways, _ in QUESTIONS for q in ways):
        return small_fact(s)
    return Turn(typed(s.rng, text, question=True), "I don't know that, sorry.")


WORLD = ("cat dog horse cats dogs birds music sport tea coffee bread cheese rice sugar salt milk apples bananas paper glass steel plastic cotton fire ice snow rain clouds cars trains planes boats bikes phones books "
         "movies games school work money gold silver diamonds flowers trees grass bees fish sharks whales lions soup pizza pasta chocolate shoes hats chairs tables windows doors clocks radios robots computers stars "
         "planets rivers mountains oceans islands cities doctors teachers farmers").split()


def capital(s):
    country, city = s.pick(CAPITALS)
    if s.chance(0.22) and city != "London":
        back = s.pick([f"which country has the capital {city}", f"{city} is the capital of which country", f"of which country is {city} the capital", f"what country is {city} the capital of"])
        return Turn(typed(s.rng, back.lower() if s.chance(0.12) else back, question=True), f"{city} is the capital of {country}.")
    return Turn(capital_question(s, country), f"The capital of {country} is {city}.")


def capital_question(s, country):
    shown = country.lower().replace("the ", "") if s.chance(0.12) else country.upper() if s.chance(0.02) else country
    return typed(s.rng, s.pick(CAPITAL_FORMS).replace("{c}", shown), question=True)


def define(s, term=None):
    term = term or s.pick(list(DEFINITIONS))
    names, first, second = DEFINITIONS[term]
    s.topic = term
    name = s.pick(names)
    text = asked(s, s.pick(DEFINE_FORMS).replace("{t}", title(name) if s.chance(0.1) else name))
    return Turn(text, first if s.brief else f"{first} {second}")


def small_fact(s):
    questions, answer = s.pick(QUESTIONS)
    return Turn(asked(s, s.pick(questions)), answer)


def table_fact(s):
    pick = s.rng.random()
    if pick < 0.22:
        word, opposite = s.pick(OPPOSITES)
        if s.chance(0.5): word, opposite = opposite, word
        return Turn(typed(s.rng, s.pick(["what is the opposite of {w}", "what's the opposite of {w}", "opposite of {w}", "tell me the opposite of {w}"]).replace("{w}", word), question=True), f"The opposite of {word} is {opposite}.")
    if pick < 0.36:
        animal, sound = s.pick(ANIMAL_SOUNDS)
        return Turn(typed(s.rng, s.pick(["what does {a} say", "what sound does {a} make", "which sound does {a} make"]).replace("{a}", animal), question=True), f"{animal[0].upper() + animal[1:]} says {sound}.")
    if pick < 0.50:
        thing, colour = s.pick(COLOURS_OF)
        return Turn(typed(s.rng, s.pick(["what colour is {t}", "what color is {t}", "which colour is {t}"]).replace("{t}", thing), question=True), f"{thing[0].upper() + thing[1:]} {'are' if thing.endswith('s') and not thing.endswith('ss') and thing.split()[0] != 'a' else 'is'} {colour}.")
    if pick < 0.62:
        one, many = s.pick(PLURALS)
        return Turn(typed(s.rng, s.pick(["what is the plural of {w}", "plural of {w}", "what's the plural of {w}"]).replace("{w}", one), question=True), f"The plural of {one} is {many}.")
    if pick < 0.82:
        country, continent = s.pick(CONTINENT_OF)
        return Turn(typed(s.rng, s.pick(["where is {c}", "which continent is {c} in", "on which continent is {c}", "what continent is {c} in"]).replace("{c}", country), question=True), f"{country} is in {continent}.")
    country, language = s.pick(LANGUAGE_OF)
    return Turn(typed(s.rng, s.pick(["what language do they speak in {c}", "which language is spoken in {c}", "what language do people speak in {c}", "what do they speak in {c}"]).replace("{c}", country), question=True), f"In {country} people speak {language}.")


def unknown(s):
    pick = s.rng.random()
    if pick < 0.18:
        place = s.words.invented_name()
        return Turn(typed(s.rng, s.pick(CAPITAL_FORMS).replace("{c}", place), question=True), f"I don't know the capital of {place}, sorry.")
    if pick < 0.38 and not s.tools:   # a tool may know the word
        word = s.words.word()
        shown = s.pick(["a {w}", "{w}", "the {w}"]).replace("{w}", word)
        text = s.pick(["what is {t}", "what's {t}", "explain {t}", "what does {t} mean", "do you know what {t} is"]).replace("{t}", shown)
        return Turn(typed(s.rng, text, question=True), f"I don't know what {word} is, sorry.")
    if pick < 0.72:
        return no_idea(s)
    key = s.pick(list(REFUSALS)) if pick < 0.88 else "people"
    if s.tools and key in ("weather", "music", "news", "where", "buy", "translate"):
        key = "prices"
    name, word = s.words.name() if s.chance(0.4) else s.words.invented_name() + " " + s.words.invented_name(), s.words.word()
    if s.chance(0.15): name = name.lower()
    if name.lower() in (v.lower() for v in s.known.values()):
        name = s.words.invented_name() + " " + s.words.invented_name()
    questions, answer = REFUSALS[key]
    text = s.pick(questions).replace("{n}", name).replace("{w}", word)
    return Turn(typed(s.rng, text, question=True), answer.replace("{n}", name))


def fact_turn(s):
    pick = s.rng.random()
    if pick < 0.38: return capital(s)
    if pick < 0.58: return define(s)
    if pick < 0.86: return small_fact(s)
    return table_fact(s)
