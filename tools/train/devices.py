"""Lights, timers, alarms, reminders and other devices when no tools are given: plain replies that remember the state."""
from chatstate import Turn
from words import spell, typed

ROOMS = ["kitchen", "bedroom", "bathroom", "living room", "hallway", "garage", "garden", "office", "basement", "attic", "dining room", "guest room", "kids room", "balcony", "porch", "study"]
SWITCHED = ["light", "light", "light", "lights", "lamp", "fan", "heater", "speaker", "tv", "radio", "air conditioner", "coffee machine", "humidifier", "camera", "printer", "router", "sprinkler", "oven"]
OPENED = ["door", "window", "blinds", "curtains", "gate", "shutters"]


def room(s): return s.words.word() if s.chance(0.25) else s.pick(ROOMS)


def device(s):
    """A device as said after "the": "kitchen light", "lamp", "zorbi fan"."""
    kind = s.pick(SWITCHED)
    pick = s.rng.random()
    if pick < 0.7: return f"{room(s)} {kind}"
    if pick < 0.9: return kind
    return s.words.word()


def polite(s, text):
    pick = s.rng.random()
    if pick < 0.7: return text
    if pick < 0.82: return "please " + text
    if pick < 0.9: return text + " please"
    return s.pick(["can you ", "could you ", "would you ", "i want you to ", "hey, "]) + text


def be(thing): return "are" if thing.endswith("s") and not thing.endswith("ss") else "is"


def switch(s):
    pick = s.rng.random()
    known = [d for d in s.devices if s.devices[d] in ("on", "off")]
    thing = s.pick(known) if known and s.chance(0.3) else device(s)
    state = s.pick(["on", "on", "off"])
    where, _, kind = thing.rpartition(" ")
    if pick < 0.35: text = f"turn {state} the {thing}"
    elif pick < 0.55: text = f"turn the {thing} {state}"
    elif pick < 0.65: text = f"switch {state} the {thing}"
    elif pick < 0.72: text = f"switch the {thing} {state}"
    elif pick < 0.80 and where: text = f"turn {state} the {kind} in the {where}"
    elif pick < 0.85 and where: text = f"turn the {kind} in the {where} {state}"
    elif pick < 0.9: text = f"{thing} {state}"
    else: text = f"turn {state} my {thing}"
    s.devices[thing], s.last_device = state, thing
    return Turn(typed(s.rng, polite(s, text), question=text.startswith(("can", "could", "would"))), f"Okay, I turned {state} the {thing}.")


def switch_it(s):
    """"Now turn it off": the last device that was named."""
    thing = s.last_device
    if s.devices.get(thing) not in ("on", "off"):
        return switch(s)
    state = ("off" if s.devices[thing] == "on" else "on") if s.chance(0.9) else s.devices[thing]
    s.devices[thing] = state
    it = "them" if be(thing) == "are" else "it"
    text = s.pick([f"turn {it} {state}", f"turn {it} {state} again", f"now turn {it} {state}", f"switch {it} {state}", f"and turn {it} {state}", f"ok turn {it} {state}", f"turn {it} back {state}"])
    return Turn(typed(s.rng, polite(s, text) if s.chance(0.3) else text), f"Okay, I turned {state} the {thing}.")


def device_state(s):
    known = list(s.devices)
    if not known or s.chance(0.1):
        thing = device(s)
        if thing not in s.devices:
            return Turn(typed(s.rng, f"is the {thing} on" if be(thing) == "is" else f"are the {thing} on", question=True), f"I don't know if the {thing} {be(thing)} on.")
    thing = s.pick(known)
    state = s.devices[thing]
    if state in ("on", "off"):
        asked = s.pick(["on", "on", "off"])
    else:
        asked = s.pick(["open", "closed"])
    text = s.pick([f"{be(thing)} the {thing} {asked}", f"{be(thing)} the {thing} {asked} now"])
    return Turn(typed(s.rng, text, question=True), f"{'Yes' if asked == state else 'No'}, the {thing} {be(thing)} {state}.")


def open_close(s):
    thing = s.pick(OPENED)
    if s.chance(0.6): thing = f"{room(s)} {thing}"
    verb, done, state = s.pick([("open", "opened", "open"), ("close", "closed", "closed"), ("open", "opened", "open"), ("shut", "closed", "closed")])
    s.devices[thing], s.last_device = state, thing
    return Turn(typed(s.rng, polite(s, f"{verb} the {thing}")), f"Okay, I {done} the {thing}.")


def everything(s):
    state = s.pick(["on", "off"])
    what = s.pick(["all the lights", "all lights", "every light"])
    for d in s.devices:
        if d.endswith(("light", "lights")): s.devices[d] = state
    return Turn(typed(s.rng, polite(s, f"turn {state} {what}")), f"Okay, I turned {state} all the lights.")


def duration(s):
    """(as said, as repeated)."""
    unit, top = s.pick([("minute", 90), ("minute", 60), ("second", 60), ("hour", 12)])
    n = s.rng.randint(1, top) if s.chance(0.6) else s.pick([1, 2, 3, 5, 10, 15, 20, 30])
    unit += "" if n == 1 else "s"
    return f"{spell(n) if s.chance(0.2) else n} {unit}", f"{n} {unit}"


def timer(s):
    if s.timer and s.chance(0.45):
        pick = s.rng.random()
        if pick < 0.5:
            s_timer, s.timer = s.timer, None
            return Turn(typed(s.rng, polite(s, s.pick(["cancel the timer", "stop the timer", "cancel my timer", "delete the timer", "stop my timer"]))), f"Okay, I cancelled the timer for {s_timer}.")
        return Turn(typed(s.rng, s.pick(["how long is my timer", "how long is the timer", "what is the timer set for", "what timer did i set", "how much time is left", "how long is left on the timer"]), question=True), f"Your timer is set for {s.timer}.")
    if s.timer is None and s.chance(0.12):
        return Turn(typed(s.rng, s.pick(["cancel the timer", "stop the timer", "how long is the timer"])), "There is no timer running.")
    said, shown = duration(s)
    s.timer = shown
    if s.chance(0.15):
        label = s.words.word() if s.chance(0.5) else s.pick("pasta tea eggs pizza laundry workout homework cake".split())
        return Turn(typed(s.rng, polite(s, s.pick([f"set a {label} timer for {said}", f"start a {label} timer for {said}"]))), f"Okay, your {label} timer is set for {shown}.")
    text = s.pick(["set a timer for {d}", "set a timer for {d}", "set timer for {d}", "start a timer for {d}", "timer for {d}", "set a {d} timer", "start a {d} timer", "{d} timer", "count down {d}", "timer {d}"])
    if "a {d}" in text or text.startswith("{d}"):
        said = said.rstrip("s")
    return Turn(typed(s.rng, polite(s, text.replace("{d}", said))), f"Okay, your timer is set for {shown}.")


def clock_time(s):
    pick = s.rng.random()
    h = s.rng.randint(1, 12)
    if pick < 0.35:
        half = s.pick(["am", "pm"])
        return f"{h} {half}"
    if pick < 0.7: return f"{s.rng.randint(0, 23)}:{s.rng.choice(['00', '15', '30', '45', f'{s.rng.randint(0, 59):02d}'])}"
    if pick < 0.85: return f"{h}:{s.rng.choice(['00', '15', '30', '45'])} {s.pick(['am', 'pm'])}"
    return f"{h} o'clock"


def alarm(s):
    when = clock_time(s)
    if s.chance(0.12):
        return Turn(typed(s.rng, polite(s, s.pick(["cancel the alarm", "turn off the alarm", "delete my alarm"]))), "Okay, I cancelled the alarm.")
    text = s.pick(["set an alarm for {t}", "wake me up at {t}", "wake me at {t}", "alarm at {t}", "set the alarm to {t}", "set alarm for {t}", "i need to wake up at {t}"])
    text = polite(s, text.replace("{t}", when))
    return Turn(text[0].upper() + text[1:] if s.chance(0.5) else text, f"Okay, your alarm is set for {when}.")


TASKS = ["call {n}", "buy milk", "buy {w}", "feed the cat", "water the plants", "take my medicine", "call mom", "pay the bill", "email {n}", "meet {n}", "take out the trash", "clean the {w}", "walk the dog", "go to the gym",
         "do my homework", "send the letter", "check the oven", "pick up {n}", "charge the phone", "read the {w} report"]


def task(s): return s.pick(TASKS).replace("{n}", s.words.name()).replace("{w}", s.words.word())


def reminder(s):
    what = task(s)
    when = s.pick(["", "", " at " + clock_time(s), " tomorrow", " in " + duration(s)[1]])
    text = polite(s, s.pick([f"remind me to {what}{when}", f"set a reminder to {what}{when}", f"don't let me forget to {what}{when}"]))
    return Turn(text[0].upper() + text[1:] if s.chance(0.5) else text, f"Okay, I will remind you to {what.replace(' my ', ' your ')}{when}.")


def level(s):
    rng = s.rng
    pick = rng.random()
    n = rng.randint(0, 100) if s.chance(0.5) else rng.randrange(10, 101, 10)
    if pick < 0.06:
        thing = s.pick(["lights", "light", f"{room(s)} light", f"{room(s)} lights"])
        text, answer = s.pick([("dim", "dimmed"), ("brighten", "brightened")])
        text, answer = f"{text} the {thing}", f"Okay, I {answer} the {thing}."
    elif pick < 0.3:
        text, answer = s.pick([f"set the volume to {n}", f"volume {n}", f"set volume to {n} percent"]), f"Okay, the volume is now {n} percent."
    elif pick < 0.65:
        where = room(s)
        text, answer = s.pick([f"dim the {where} light to {n} percent", f"set the {where} light to {n} percent", f"set the brightness of the {where} light to {n}"]), f"Okay, the {where} light is now at {n} percent."
    elif pick < 0.85:
        n = rng.randint(15, 28)
        text, answer = s.pick([f"set the temperature to {n} degrees", f"set the thermostat to {n}", f"make it {n} degrees", f"heat the house to {n} degrees"]), f"Okay, the temperature is set to {n} degrees."
    else:
        way = s.pick(["up", "down"])
        text, answer = s.pick([f"turn the volume {way}", f"turn {way} the volume", f"volume {way}"]), f"Okay, I turned the volume {way}."
    return Turn(typed(rng, polite(s, text)), answer)


def shopping(s):
    thing = s.words.word() if s.chance(0.4) else s.pick("milk bread eggs butter apples rice coffee tea cheese sugar salt soap".split())
    return Turn(typed(s.rng, polite(s, s.pick([f"add {thing} to my shopping list", f"put {thing} on the shopping list", f"add {thing} to the list", f"i need {thing} on my shopping list"]))), f"Okay, I added {thing} to your shopping list.")


def device_turn(s):
    pick = s.rng.random()
    if pick < 0.30: return switch(s)
    if pick < 0.38: return switch_it(s) if s.last_device else switch(s)
    if pick < 0.50: return device_state(s)
    if pick < 0.57: return open_close(s)
    if pick < 0.60: return everything(s)
    if pick < 0.76: return timer(s)
    if pick < 0.84: return alarm(s)
    if pick < 0.91: return reminder(s)
    if pick < 0.97: return level(s)
    return shopping(s)
