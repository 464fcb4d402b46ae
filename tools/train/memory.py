"""Names and facts the user tells, several at once, changed later, asked for afterwards, or never told."""
from chatstate import Turn
from words import COMMON_NAMES, typed

COLOURS = "red blue green yellow purple orange pink black white brown grey turquoise gold silver violet teal".split()
FOODS = ("pizza pasta sushi rice soup salad curry chocolate bread cheese ramen tacos pancakes noodles dumplings apples "
         "mangoes strawberries falafel lasagna").split()
JOBS = ("teacher doctor nurse baker driver farmer painter lawyer student engineer chef pilot writer singer carpenter "
        "programmer gardener plumber dentist waiter designer librarian").split()
HOBBIES = ("chess swimming hiking reading painting cycling running cooking dancing fishing photography gardening "
           "knitting climbing skating singing").split()
PETS = "dog cat horse parrot rabbit hamster turtle goldfish pony".split()
SPORTS = "football tennis basketball hockey cricket golf volleyball baseball rugby badminton".split()
MONTHS = "January February March April May June July August September October November December".split()
COMMON_CITIES = ("Paris London Berlin Madrid Rome Tokyo Delhi Mumbai Beijing Shanghai Oslo Vienna Prague Dublin Boston "
                 "Chicago Toronto Sydney Lisbon Athens Cairo Nairobi Lima Seoul Munich Hamburg Zurich Geneva").split()
INSTRUMENTS = "guitar piano violin drums flute cello trumpet harp".split()


def name(s): return s.words.name()
def place(s): return s.rng.choice(COMMON_CITIES) if not s.held_out and s.chance(0.3) else s.words.invented_name()
def one_of(values): return lambda s: s.rng.choice(values)
def often_invented(values, p): return lambda s: s.words.word() if s.chance(p) else s.rng.choice(values)
def number(lo, hi): return lambda s: str(s.rng.randint(lo, hi))
def article(word): return ("an " if word[0] in "aeiou" else "a ") + word


class Attribute:
    """`tell` clauses fit behind a capital letter or an "and"; `has` is the answer; `ack` repeats what was told."""

    def __init__(self, value, tell, ask, has, ack, unknown, change=()):
        self.value, self.tell, self.ask, self.has = value, tell, ask, has
        self.ack, self.unknown, self.change = ack, unknown, change


def relation(who):
    return Attribute(name, [f"my {who}'s name is {{v}}", f"my {who} is called {{v}}", f"i have {article(who)} named {{v}}", f"my {who} is {{v}}"],
                     [f"what's my {who}'s name", f"what is my {who}'s name", f"what is my {who} called", f"who is my {who}",
                      f"do you remember my {who}'s name", f"tell me my {who}'s name"],
                     f"Your {who}'s name is {{v}}.", [f"Nice, I will remember that your {who} is called {{v}}."],
                     f"I don't know your {who}'s name yet. What is it?")


def pet(kind):
    return Attribute(lambda s: s.words.name(), [f"my {kind}'s name is {{v}}", f"my {kind} is called {{v}}", f"i have a {kind} named {{v}}",
                      f"i have a {kind} called {{v}}", f"i've got a {kind}, {{v}}"],
                     [f"what's my {kind}'s name", f"what is my {kind} called", f"what is my {kind}'s name", f"what's the name of my {kind}",
                      f"do you remember the name of my {kind}", f"how is my {kind} called"],
                     f"Your {kind}'s name is {{v}}.", [f"{{v}} is a lovely name for a {kind}!"], f"I don't know your {kind}'s name yet. What is it?")


def favourite(thing, value):
    spellings = [thing] if "favourite" not in thing else [thing, thing.replace("favourite", "favorite")]
    return Attribute(value, [f"my {t} is {{v}}" for t in spellings],
                     [q for t in spellings for q in (f"what's my {t}", f"what is my {t}", f"do you remember my {t}", f"tell me my {t}", f"which is my {t}")],
                     f"Your {thing} is {{v}}.", [f"Got it, your {thing} is {{v}}."], f"You haven't told me your {thing} yet.",
                     [f"i changed my mind, my {t} is {{v}} now" for t in spellings] + [f"actually, my {t} is {{v}}" for t in spellings])


ATTRIBUTES = {
    "name": Attribute(name,
        ["my name is {v}"] * 4 + ["i'm {v}", "i am {v}", "my name's {v}", "call me {v}", "you can call me {v}", "people call me {v}", "the name is {v}",
         "please call me {v}", "this is {v}", "it's {v}"],
        ["what's my name"] * 4 + ["what is my name"] * 3 + ["do you know my name", "do you remember my name", "who am i", "what am i called", "tell me my name",
         "can you tell me my name", "say my name", "what did i say my name was", "what was my name", "remember my name"],
        "Your name is {v}.", ["Nice to meet you, {v}!"], "I don't know your name yet. What is it?",
        ["actually, my name is {v}", "sorry, my name is {v}", "no, my name is {v}", "call me {v} from now on", "i changed my name to {v}", "i meant {v}, that's my name",
         "my name is not that, it's {v}"]),
    "age": Attribute(number(5, 99), ["i am {v} years old", "i'm {v} years old", "my age is {v}", "i'm {v}", "i am {v}"],
        ["how old am i", "what's my age", "what is my age", "do you remember my age", "do you know how old i am", "tell me my age"],
        "You are {v} years old.", ["Got it, you are {v} years old."], "I don't know your age yet. How old are you?",
        ["actually i'm {v} years old", "it was my birthday, i'm {v} now", "sorry, i am {v} years old"]),
    "city": Attribute(place, ["i live in {v}", "i'm living in {v}", "my home is in {v}", "my city is {v}", "i live in a town called {v}"],
        ["where do i live", "which city do i live in", "what city do i live in", "do you remember where i live", "where is my home", "what's my city", "in which city do i live"],
        "You live in {v}.", ["Got it, you live in {v}."], "I don't know where you live yet. Where is it?",
        ["i moved to {v}", "i just moved to {v}", "actually, i live in {v}", "now i live in {v}"]),
    "origin": Attribute(place, ["i come from {v}", "i was born in {v}", "i'm from {v}", "i am from {v}"],
        ["where am i from", "where do i come from", "where was i born", "do you remember where i'm from"],
        "You are from {v}.", ["Got it, you are from {v}."], "I don't know where you are from yet."),
    "job": Attribute(lambda s: article(s.words.word() if s.chance(0.3) else s.rng.choice(JOBS)), ["i work as {v}", "i'm {v}", "i am {v}", "my job is being {v}"],
        ["what's my job", "what is my job", "what do i do", "what do i work as", "what do i do for a living", "do you remember my job"],
        "You are {v}.", ["Got it, you are {v}."], "I don't know your job yet. What do you do?",
        ["i got a new job, i'm {v} now", "actually, i work as {v}"]),
    "hobby": Attribute(often_invented(HOBBIES, 0.3), ["my hobby is {v}", "i like {v}", "i love {v}", "in my free time i do {v}"],
        ["what's my hobby", "what is my hobby", "what do i like", "what do i like to do", "what do i love", "do you remember my hobby"],
        "You like {v}.", ["Nice, you like {v}."], "I don't know your hobby yet. What do you like?"),
    "colour": favourite("favourite colour", often_invented(COLOURS, 0.25)),
    "color": Attribute(often_invented(COLOURS, 0.25), ["my favorite color is {v}"] * 3 + ["the color i like best is {v}"],
        ["what's my favorite color", "what is my favorite color", "which color do i like", "do you remember my favorite color", "tell me my favorite color"],
        "Your favorite color is {v}.", ["Got it, your favorite color is {v}."], "You haven't told me your favorite color yet.",
        ["actually, my favorite color is {v}", "i changed my mind, my favorite color is {v} now"]),
    "food": favourite("favourite food", often_invented(FOODS, 0.35)),
    "sport": favourite("favourite sport", one_of(SPORTS)),
    "lucky": favourite("lucky number", number(1, 99)),
    "password": favourite("code word", lambda s: s.words.word()),
    "car": Attribute(lambda s: s.words.invented_name(), ["i drive a {v}", "my car is a {v}", "i have a car, a {v}"],
        ["what car do i drive", "what's my car", "which car do i have", "what is my car"], "You drive a {v}.", ["Nice, a {v}!"], "I don't know your car yet."),
    "birthday": Attribute(lambda s: f"{s.rng.choice(MONTHS)} {s.rng.randint(1, 28)}", ["my birthday is on {v}", "my birthday is {v}", "i was born on {v}"],
        ["when is my birthday", "what's my birthday", "when was i born", "do you remember my birthday"],
        "Your birthday is on {v}.", ["Got it, your birthday is on {v}."], "I don't know your birthday yet. When is it?"),
    "instrument": Attribute(lambda s: "the " + (s.words.word() if s.chance(0.3) else s.rng.choice(INSTRUMENTS)), ["i play {v}", "i'm learning {v}"],
        ["what instrument do i play", "which instrument do i play", "what do i play"], "You play {v}.", ["Nice, you play {v}."], "I don't know your instrument yet."),
    "room": Attribute(lambda s: str(s.rng.randint(1, 999)), ["my room number is {v}", "i'm in room {v}", "my room is {v}"],
        ["what's my room number", "what is my room number", "which room am i in"], "Your room number is {v}.", ["Got it, your room number is {v}."],
        "You haven't told me your room number yet."),
}
RELATIONS = "sister brother mother father mom dad mum grandmother grandfather wife husband son daughter friend boss neighbour teacher cousin aunt uncle".split()
for who in RELATIONS:
    ATTRIBUTES[who] = relation(who)
for kind in PETS:
    ATTRIBUTES[kind] = pet(kind)

KEYS = list(ATTRIBUTES)
WEIGHTS = [{"name": 12, "age": 3, "city": 4, "dog": 2, "cat": 2, "colour": 3, "color": 2, "food": 2, "job": 2, "sister": 2, "brother": 2}.get(k, 0.8) for k in KEYS]
CONFLICTS = [{"colour", "color"}]


def other_keys(s, count):
    """Distinct attributes, weighted, that do not clash with each other or with what is known."""
    out = []
    while len(out) < count:
        key = s.rng.choices(KEYS, WEIGHTS)[0]
        taken = set(out) | set(s.known)
        if key in out or any(key in c and (taken & c) - {key} for c in CONFLICTS):
            continue
        out.append(key)
    return out


def clause(s, key, value, changed=False):
    a = ATTRIBUTES[key]
    forms = a.change if changed and a.change else a.tell
    return s.pick(forms).replace("{v}", value)


OPENERS = ["hi, ", "hello, ", "hey, ", "hi there, ", "hello there, ", "good morning, ", "by the way, ", "remember that ", "please remember, ", "just so you know, ", "ok, "]


def tell(s, key=None):
    """The user tells one thing."""
    rng = s.rng
    key = key or other_keys(s, 1)[0]
    a = ATTRIBUTES[key]
    value = a.value(s)
    changed = key in s.known
    text = clause(s, key, value, changed)
    if key == "name" and s.chance(0.08):
        # Typed without a capital: a common name is still answered with one, an unknown word as it was written.
        text = text.replace(value, value.lower())
        value = value if value in COMMON_NAMES else value.lower()
    if not changed and s.chance(0.25):
        text = rng.choice(OPENERS) + text
    if key == "name" and not changed and s.chance(0.03):
        text = value
        s.known[key] = value
        return Turn(rng.choice(["My name: ", "name: ", "I'm called "]) + value, f"Nice to meet you, {value}!")
    s.known[key] = value
    if changed:
        return Turn(typed(rng, text), {"name": f"Okay, I will call you {value}.", "city": f"Got it, you live in {value} now."}.get(key, a.ack[0].replace("{v}", value)))
    if s.chance(0.08):
        text += rng.choice([". remember that", ", remember it", ", don't forget", ". please remember it", ", ok"])
    return Turn(typed(rng, text), rng.choice(a.ack).replace("{v}", value))


def tell_several(s, keys=None):
    """Two to four things in one message."""
    rng = s.rng
    keys = keys or other_keys(s, rng.choice([2, 2, 2, 3, 3, 4]))
    if rng.random() < 0.5 and "name" not in keys and "name" not in s.known:
        keys[0] = "name"
    clauses = []
    for key in keys:
        value = ATTRIBUTES[key].value(s)
        clauses.append(clause(s, key, value, key in s.known))
        s.known[key] = value
    style = rng.random()
    if style < 0.5:
        text = ", ".join(clauses[:-1]) + rng.choice([" and ", ", and ", " and "]) + clauses[-1]
    elif style < 0.8:
        text = ". ".join(c[0].upper() + c[1:] for c in clauses)
    else:
        text = " and ".join(clauses)
    if s.chance(0.2):
        text = rng.choice(OPENERS) + text
    answer = f"Nice to meet you, {s.known['name']}! I will remember that." if "name" in keys else "Got it, I will remember that."
    return Turn(typed(rng, text), answer)


THINGS = ("locker code, door code, pin, phone number, seat number, bus number, flight number, order number, ticket number, student number, shoe size, favourite book, favourite song, favourite movie, "
          "favourite animal, favourite drink, favourite game, favorite book, favorite song, favorite movie, favorite animal, favorite drink, favorite teacher, team, school, street, company, doctor, nickname, "
          "middle name, last name, surname, user name, wifi name, wifi password, hotel, bank, language, secret, secret word, star sign, cat's food, first pet, train, gate, floor, car colour, project").split(", ")


def tell_thing(s):
    """Any "my X is Y": X from a list or invented, Y a number, a word or a name. Known under the key "my X"."""
    thing = s.pick(THINGS) if s.chance(0.7) else f"{s.words.word()}{s.pick([' number', ' code', ' name', '', ''])}"
    if s.chance(0.4) or "number" in thing or "code" in thing or "pin" == thing:
        value = str(s.rng.randint(1, 10 ** s.rng.randint(1, 5)))
    else:
        value = s.words.word() if s.chance(0.6) else s.words.name()
    s.known["my " + thing] = value
    text = s.pick(["", "", "", "remember that ", "please remember that ", "remember, ", "note that ", "hey, "]) + s.pick([f"my {thing} is {value}"] * 3 + [f"my {thing} is called {value}"] * (not value.isdigit()))
    return Turn(typed(s.rng, text), f"Got it, your {thing} is {value}.")


def ask_thing(s, key):
    thing = key[3:]
    text = s.pick([f"what's my {thing}", f"what is my {thing}", f"whats my {thing}", f"do you remember my {thing}", f"tell me my {thing}", f"what was my {thing}", f"do you know my {thing}", f"what did i say my {thing} was"])
    return Turn(typed(s.rng, text, question=True), f"Your {thing} is {s.known[key]}." if key in s.known else f"You haven't told me your {thing} yet.")


def ask_who(s):
    """"Who is X?" for a relative, friend or pet whose name was told."""
    able = [k for k in s.known if k in PETS or k in RELATIONS]
    key = s.pick(able)
    name = s.known[key]
    kind = f"your {key}"
    return Turn(typed(s.rng, s.pick([f"who is {name}", f"who's {name}", f"do you know who {name} is"]), question=True), f"{name} is {kind}.")


def answer_for(s, key):
    if key.startswith("my "):
        return f"Your {key[3:]} is {s.known[key]}."
    a = ATTRIBUTES[key]
    return a.has.replace("{v}", s.known[key]) if key in s.known else a.unknown


def question(s, key):
    text = s.pick(ATTRIBUTES[key].ask) if key in ATTRIBUTES else f"what's {key}"
    if s.chance(0.12):
        text = s.pick(["hey, ", "so, ", "ok, ", "and ", "now, ", "please tell me, ", "can you tell me, ", "hm, "]) + text
    return text


def ask(s, key=None):
    """The user asks for something told, or (rarely) never told."""
    rng = s.rng
    if key is None:
        if s.known and not s.chance(0.08):
            key = rng.choice(list(s.known))
            if "name" in s.known and s.chance(0.3):
                key = "name"
        else:
            key = other_keys(s, 1)[0]
    if key.startswith("my "):
        return ask_thing(s, key)
    return Turn(typed(rng, question(s, key), question=True), answer_for(s, key))


def ask_two(s):
    keys = s.rng.sample(list(s.known), 2)
    text = question(s, keys[0]) + s.pick([" and ", ", and ", "? and "]) + question(s, keys[1])
    return Turn(typed(s.rng, text, question=True), answer_for(s, keys[0]) + " " + answer_for(s, keys[1]))


def tell_and_ask(s):
    """"My name is X. What's my name?" in one message."""
    key = other_keys(s, 1)[0]
    value = ATTRIBUTES[key].value(s)
    text = clause(s, key, value) + s.pick([". ", ", ", ". so "]) + s.pick(ATTRIBUTES[key].ask)
    s.known[key] = value
    return Turn(typed(s.rng, text, question=True), answer_for(s, key))


def about_me(s):
    """Everything known, in the order it was told, at most four things."""
    q = s.pick(["what do you know about me", "tell me what you know about me", "what have i told you", "what do you remember about me", "what did i tell you"])
    if not s.known:
        return Turn(typed(s.rng, q, question=True), "I don't know anything about you yet. Tell me something!")
    return Turn(typed(s.rng, q, question=True), " ".join(answer_for(s, k) for k in list(s.known)[:4]))


def check(s):
    """Yes-or-no about the name."""
    if "name" not in s.known:
        return ask(s)
    right = s.chance(0.5)
    guess = s.known["name"] if right else s.words.name()
    right = guess == s.known["name"]
    q = s.pick(["is my name {v}", "am i {v}", "my name is {v}, right", "is it true that my name is {v}"]).replace("{v}", guess)
    return Turn(typed(s.rng, q, question=True), f"Yes, your name is {guess}." if right else f"No, your name is {s.known['name']}.")


def memory_turn(s):
    if s.chance(0.12): return tell_thing(s)
    if s.chance(0.02): return ask_thing(s, "my " + (s.pick(THINGS) if s.chance(0.6) else s.words.word()))
    if s.chance(0.06) and any(k in PETS or k in RELATIONS for k in s.known): return ask_who(s)
    pick = s.rng.random()
    if not s.known:
        if pick < 0.62: return tell(s)
        if pick < 0.85: return tell_several(s)
        if pick < 0.90: return tell_and_ask(s)
        if pick < 0.92: return about_me(s)
        return ask(s)
    if pick < 0.17: return tell(s)
    if pick < 0.25: return tell_several(s)
    if pick < 0.30: return tell(s, s.pick([k for k in s.known if k in ATTRIBUTES] or ["name"]))
    if pick < 0.33: return tell_and_ask(s)
    if pick < 0.37: return check(s)
    if pick < 0.42 and len(s.known) > 1: return ask_two(s)
    if pick < 0.45: return about_me(s)
    return ask(s)
