"""Kinds of tools: each draws a definition whose names and wording vary, and requests that call it.

A fifth of the parameter names, and whole tools, are invented words, so that the call can only be made by reading the
definition that is in the prompt.
"""
import json
from dataclasses import dataclass, field
from devices import ROOMS, clock_time, task
from memory import COMMON_CITIES
from words import spell


@dataclass
class Request:
    """One way to use a tool: the words, the call's arguments, what the tool says back, and the reply then."""
    text: str
    arguments: dict
    result: str
    answer: str
    question: bool = False


@dataclass
class Tool:
    kind: str
    name: str
    description: str
    parameters: dict = field(default_factory=dict)   # name -> JSON schema
    required: list = field(default_factory=list)
    make: object = None                              # state -> Request
    vague: tuple = ()                                # requests that lack the argument, and the question back

    def spec(self):
        schema = {"type": "object", "properties": self.parameters, "required": self.required}
        return {"type": "function", "function": {"name": self.name, "description": self.description, "parameters": schema}}


def param(s, *names):
    """A parameter name: one of the usual ones, or an invented word."""
    return s.words.word() if s.chance(0.15) else s.pick(names)


def schema(s, kind, description, enum=None):
    out = {"type": kind}
    if description and s.chance(0.75): out["description"] = description
    if enum: out["enum"] = enum
    return out


def done(s):
    return s.pick(['{"ok": true}', '{"status": "ok"}', '{"success": true}', "ok", "done", '{"result": "done"}', '{"status": "success"}', "OK"])


def place_word(s): return s.words.word() if s.chance(0.35) else s.pick(ROOMS)
def city(s): return s.pick(COMMON_CITIES) if not s.held_out and s.chance(0.3) else s.words.invented_name()
def title(s): return s.words.word() if s.chance(0.5) else f"{s.words.word()} {s.words.word()}"


def light(s):
    room, state = param(s, "room", "location", "place", "area", "zone"), param(s, "state", "action", "value", "mode", "power")
    thing = s.pick(["light", "light", "light", "lamp", "fan", "heater", "speaker", "tv"])
    name = s.pick([f"set_{thing}", f"control_{thing}", f"switch_{thing}", f"{thing}_control", f"toggle_{thing}", f"turn_{thing}", f"{thing}.set", f"{s.words.word()}_{thing}"])
    as_bool = s.chance(0.2)
    if as_bool and s.chance(0.7): state = "on"
    def make(s):
        where, on = place_word(s), s.pick(["on", "on", "off"])
        text = s.pick([f"turn {on} the {where} {thing}", f"turn the {where} {thing} {on}", f"switch {on} the {where} {thing}", f"turn {on} the {thing} in the {where}", f"{where} {thing} {on}", f"{thing} {on} in the {where}"])
        value = ("true" if on == "on" else "false") if as_bool else on
        return Request(text, {room: where, state: value}, done(s), f"Okay, I turned {on} the {where} {thing}.")
    state_schema = schema(s, "boolean", f"Whether the {thing} is on") if as_bool else schema(s, "string", "On or off", ["on", "off"])
    return Tool("light", name, s.pick([f"Turn a {thing} on or off.", f"Switches the {thing} of a room.", f"Control the {thing} in a room"]),
                {room: schema(s, "string", "The room"), state: state_schema}, [room, state], make,
                ((f"turn on the {thing}", f"switch on a {thing}", f"turn off the {thing}"), "In which room?"))


def timer(s):
    minutes = s.chance(0.5)
    amount, unit, label = param(s, "minutes") if minutes else param(s, "duration", "amount", "time", "length"), param(s, "unit", "units"), param(s, "label", "name", "title")
    with_label = s.chance(0.3)
    name = s.pick(["set_timer", "start_timer", "create_timer", "timer", "timer.start", "add_timer", f"{s.words.word()}_timer"])
    def make(s):
        u = "minutes" if minutes else s.pick(["minutes", "seconds", "hours"])
        n = s.rng.randint(2, 60)
        said = spell(n) if s.chance(0.15) else n
        arguments = {amount: n} if minutes else {amount: n, unit: u}
        if with_label and s.chance(0.5):
            w = s.words.word()
            arguments[label] = w
            return Request(s.pick([f"set a {w} timer for {said} {u}", f"set a timer for {said} {u} called {w}"]), arguments, done(s), f"Okay, your {w} timer is set for {n} {u}.")
        return Request(s.pick([f"set a timer for {said} {u}", f"start a timer for {said} {u}", f"timer for {said} {u}", f"set timer for {said} {u}", f"timer {said} {u}"]), arguments, done(s), f"Okay, your timer is set for {n} {u}.")
    parameters = {amount: schema(s, "integer", "How many minutes" if minutes else "How long")}
    if not minutes: parameters[unit] = schema(s, "string", "The unit of time", ["seconds", "minutes", "hours"])
    required = list(parameters)
    if with_label: parameters[label] = schema(s, "string", "A name for the timer")
    return Tool("timer", name, s.pick(["Start a timer.", "Sets a timer.", "Start a countdown timer"]), parameters, required, make, (("set a timer", "start a timer", "i need a timer"), "For how long?"))


def alarm(s):
    when = param(s, "time", "when", "at")
    def make(s):
        t = clock_time(s)
        return Request(s.pick([f"set an alarm for {t}", f"wake me up at {t}", f"wake me at {t}", f"alarm at {t}", f"set alarm for {t}"]), {when: t}, done(s), f"Okay, your alarm is set for {t}.")
    return Tool("alarm", s.pick(["set_alarm", "create_alarm", "alarm.set", "wake_up", "add_alarm"]), s.pick(["Set an alarm.", "Wakes the user at a time.", "Create an alarm"]),
                {when: schema(s, "string", "Time of the alarm")}, [when], make, (("set an alarm", "wake me up"), "At what time?"))


def reminder(s):
    text, when = param(s, "text", "task", "title", "message", "what"), param(s, "time", "when", "at")
    def make(s):
        what, t = task(s), clock_time(s)
        if s.chance(0.4):
            return Request(s.pick([f"remind me to {what}", f"set a reminder to {what}"]), {text: what}, done(s), f"Okay, I will remind you to {what.replace(' my ', ' your ')}.")
        return Request(s.pick([f"remind me to {what} at {t}", f"set a reminder to {what} at {t}"]), {text: what, when: t}, done(s), f"Okay, I will remind you to {what.replace(' my ', ' your ')} at {t}.")
    return Tool("reminder", s.pick(["create_reminder", "set_reminder", "add_reminder", "remind", "remind_me"]), s.pick(["Create a reminder.", "Remind the user of something.", "Adds a reminder"]),
                {text: schema(s, "string", "What to remind of"), when: schema(s, "string", "When to remind")}, [text], make, (("set a reminder", "remind me of something"), "What should I remind you of?"))


def weather(s):
    where = param(s, "city", "location", "place", "town")
    temperature, sky = s.pick(["temperature", "temp", "degrees"]), s.pick(["condition", "weather", "sky"])
    def make(s):
        c = s.known["city"] if "city" in s.known and s.chance(0.5) else city(s)
        said = "my city" if s.known.get("city") == c and s.chance(0.6) else c
        t, w = s.rng.randint(-15, 40), s.pick("sunny cloudy rainy windy snowy clear foggy stormy".split())
        text = s.pick([f"what's the weather in {said}", f"how is the weather in {said}", f"what is the weather like in {said}", f"weather in {said}", f"how warm is it in {said}", f"tell me the weather in {said}"])
        result = json.dumps({temperature: t, sky: w}) if s.chance(0.7) else f"{t} degrees, {w}"
        return Request(text, {where: c}, result, f"It is {t} degrees and {w} in {c}.", True)
    return Tool("weather", s.pick(["get_weather", "weather", "current_weather", "weather.get", "lookup_weather", "get_current_weather"]), s.pick(["Get the current weather.", "Weather of a city.", "Returns the weather in a place"]),
                {where: schema(s, "string", "The city")}, [where], make, (("what's the weather", "how is the weather"), "In which city?"))


def music(s):
    what = param(s, "song", "query", "title", "track", "name")
    def make(s):
        song = title(s)
        return Request(s.pick([f"play {song}", f"play the song {song}", f"i want to hear {song}", f"put on {song}"]), {what: song}, done(s), f"Okay, playing {song}.")
    return Tool("music", s.pick(["play_music", "play_song", "music.play", "play", "start_music"]), s.pick(["Play music.", "Play a song.", "Starts a song by name"]), {what: schema(s, "string", "Song to play")}, [what], make,
                (("play some music", "play a song"), "Which song?"))


def message(s):
    to, body = param(s, "to", "recipient", "contact", "person"), param(s, "text", "message", "body", "content")
    def make(s):
        who = s.words.name()
        words = s.pick(["i am late", "see you soon", "i will call you", "happy birthday", "dinner is ready", f"i bought {s.words.word()}", f"meet me in {city(s)}", f"the {s.words.word()} is here", "i am on my way", f"bring the {s.words.word()}"])
        text = s.pick([f"tell {who} {words}", f"send a message to {who} saying {words}", f"text {who} {words}", f"send {who} the message {words}", f"message {who}: {words}"])
        return Request(text, {to: who, body: words}, done(s), f"Okay, I sent the message to {who}.")
    return Tool("message", s.pick(["send_message", "text_message", "message.send", "send_text", "sms"]), s.pick(["Send a text message.", "Sends a message to a contact.", "Send a message"]),
                {to: schema(s, "string", "Who gets the message"), body: schema(s, "string", "The message")}, [to, body], make)


def call(s):
    who = param(s, "name", "contact", "person", "who")
    def make(s):
        n = s.words.name()
        return Request(s.pick([f"call {n}", f"phone {n}", f"please call {n}", f"ring {n}"]), {who: n}, done(s), f"Okay, calling {n}.")
    return Tool("call", s.pick(["call_contact", "make_call", "phone_call", "call", "dial"]), s.pick(["Call a contact.", "Makes a phone call.", "Phone someone"]), {who: schema(s, "string", "Whom to call")}, [who], make, (("make a call", "call someone"), "Whom should I call?"))


def thermostat(s):
    degrees, where = param(s, "degrees", "temperature", "value", "celsius", "target"), param(s, "room", "location", "zone")
    with_room = s.chance(0.5)
    def make(s):
        n = s.rng.randint(12, 30)
        if with_room:
            r = place_word(s)
            return Request(s.pick([f"set the {r} to {n} degrees", f"heat the {r} to {n} degrees", f"make the {r} {n} degrees"]), {where: r, degrees: n}, done(s), f"Okay, the {r} is set to {n} degrees.")
        return Request(s.pick([f"set the temperature to {n} degrees", f"set the thermostat to {n}", f"make it {n} degrees"]), {degrees: n}, done(s), f"Okay, the temperature is set to {n} degrees.")
    parameters = {where: schema(s, "string", "The room")} if with_room else {}
    parameters[degrees] = schema(s, "integer", "Degrees Celsius")
    return Tool("thermostat", s.pick(["set_temperature", "set_thermostat", "thermostat", "heating.set", "set_heating"]), s.pick(["Set the temperature.", "Sets the thermostat.", "Control the heating"]), parameters, list(parameters), make)


def volume(s):
    level = param(s, "level", "volume", "percent", "value")
    def make(s):
        n = s.rng.randint(0, 100)
        return Request(s.pick([f"set the volume to {n}", f"volume {n}", f"set volume to {n} percent", f"make the volume {n}"]), {level: n}, done(s), f"Okay, the volume is now {n} percent.")
    return Tool("volume", s.pick(["set_volume", "volume", "volume.set", "change_volume"]), s.pick(["Set the volume.", "Changes the volume.", "Volume in percent"]), {level: schema(s, "integer", "Percent")}, [level], make)


def lookup(s):
    """A tool whose result must be read out."""
    what, ask, say = s.pick([("phone number", ["what is the phone number of {v}", "find the phone number of {v}", "what's {v}'s phone number"], "The phone number of {v} is {r}."),
                             ("price", ["what is the price of {v}", "how much is {v}", "what does {v} cost"], "The price of {v} is {r}."),
                             ("address", ["what is the address of {v}", "where does {v} live", "find the address of {v}"], "The address of {v} is {r}."),
                             ("status", ["what is the status of {v}", "check the status of {v}", "status of {v}"], "The status of {v} is {r}."),
                             ("distance", ["how far is {v}", "what is the distance to {v}", "distance to {v}"], "The distance to {v} is {r}."),
                             ("meaning", ["what is the meaning of {v}", "what does {v} mean", "look up {v}"], "The meaning of {v} is {r}.")])
    key = {"phone number": "phone", "price": "price", "address": "address", "status": "status", "distance": "distance", "meaning": "meaning"}[what]
    argument = param(s, "name", "query", "item", "key", "subject")
    def make(s):
        v = s.words.invented_name() if key in ("phone", "address") else s.words.word()
        r = {"phone": lambda: "".join(s.rng.choice("0123456789") for _ in range(s.rng.randint(5, 8))), "price": lambda: f"{s.rng.randint(1, 999)} {s.pick(['euros', 'dollars', 'rupees'])}",
             "address": lambda: f"{s.rng.randint(1, 99)} {s.words.invented_name()} Street", "status": lambda: s.pick(["ready", "broken", "waiting", "open", "closed", s.words.word()]),
             "distance": lambda: f"{s.rng.randint(2, 900)} kilometers", "meaning": s.words.word}[key]()
        result = json.dumps({key: r}) if s.chance(0.7) else r
        return Request(s.pick(ask).replace("{v}", v), {argument: v}, result, say.replace("{v}", v).replace("{r}", r), True)
    return Tool("lookup_" + key, s.pick([f"get_{key}", f"find_{key}", f"lookup_{key}", f"{key}.get", f"{s.words.word()}_{key}"]), s.pick([f"Get the {what} of something.", f"Looks up the {what}.", f"Find the {what}"]),
                {argument: schema(s, "string", "What to look up")}, [argument], make)


def clock(s):
    def make(s):
        t = f"{s.rng.randint(0, 23)}:{s.rng.randint(0, 59):02d}"
        return Request(s.pick(["what time is it", "what's the time", "tell me the time", "whats the time"]), {}, json.dumps({"time": t}) if s.chance(0.6) else t, f"It is {t}.", True)
    return Tool("clock", s.pick(["now", "get_time", "current_time", "clock", "time.now"]), s.pick(["Get the current time.", "The time now.", "Returns the time"]), {}, [], make)


def shopping(s):
    item, count = param(s, "item", "name", "product", "thing"), param(s, "quantity", "count", "amount")
    with_count = s.chance(0.4)
    def make(s):
        thing = s.words.word() if s.chance(0.6) else s.pick("milk bread eggs butter apples rice coffee tea cheese sugar salt soap".split())
        if with_count:
            n = s.rng.randint(2, 30)
            return Request(s.pick([f"add {n} {thing} to the shopping list", f"put {n} {thing} on my list", f"i need {n} {thing} on the list"]), {item: thing, count: n}, done(s), f"Okay, I added {n} {thing} to the list.")
        return Request(s.pick([f"add {thing} to the shopping list", f"put {thing} on my list", f"add {thing} to my list"]), {item: thing}, done(s), f"Okay, I added {thing} to the list.")
    parameters = {item: schema(s, "string", "What to buy")}
    if with_count: parameters[count] = schema(s, "integer", "How many")
    return Tool("shopping", s.pick(["add_item", "add_to_list", "shopping_list.add", "add_shopping_item", "list_add"]), s.pick(["Add an item to the shopping list.", "Puts something on the shopping list.", "Shopping list"]), parameters, list(parameters), make)


def lock(s):
    thing = s.pick(["door", "gate", "window", "blinds", "curtains", "garage"])
    verbs = s.pick([("open", "close"), ("lock", "unlock")])
    where, action = param(s, "name", "which", "location", "room"), param(s, "action", "state", "command")
    past = {"open": "opened", "close": "closed", "lock": "locked", "unlock": "unlocked"}
    def make(s):
        w, v = place_word(s), s.pick(verbs)
        return Request(s.pick([f"{v} the {w} {thing}", f"please {v} the {w} {thing}", f"{v} the {thing} in the {w}"]), {where: w, action: v}, done(s), f"Okay, I {past[v]} the {w} {thing}.")
    return Tool("lock_" + thing, s.pick([f"{thing}_control", f"control_{thing}", f"set_{thing}", f"move_{thing}"]), s.pick([f"{verbs[0].capitalize()} or {verbs[1]} the {thing}.", f"Moves the {thing}."]),
                {where: schema(s, "string", "Where it is"), action: schema(s, "string", "What to do", list(verbs))}, [where, action], make)


def invented(s):
    """A tool about nothing known: verb, noun and parameter names are invented; the definition says how to call it."""
    verb, noun = s.words.word(), s.words.word()
    first, second = param(s, "target", "name", "what", "object", "item"), param(s, "level", "amount", "count", "number")
    two = s.chance(0.4)
    name = s.pick([f"{verb}_{noun}", f"{noun}_{verb}", f"{verb}", f"do_{verb}", f"{noun}.{verb}"])
    def make(s):
        v = s.words.word() if s.chance(0.7) else s.words.invented_name()
        if two:
            n = s.rng.randint(1, 100)
            return Request(s.pick([f"{verb} the {noun} {v} to {n}", f"{verb} {v} to {n}", f"please {verb} the {noun} {v} with {n}"]), {first: v, second: n}, done(s), f"Okay, I did {verb} {v}.")
        return Request(s.pick([f"{verb} the {noun} {v}", f"{verb} {v}", f"please {verb} {v}", f"can you {verb} {v}", f"do a {verb} on {v}"]), {first: v}, done(s), f"Okay, I did {verb} {v}.")
    parameters = {first: schema(s, "string", f"The {noun}")}
    if two: parameters[second] = schema(s, "integer", "How much")
    return Tool("invented_" + verb, name, s.pick([f"{verb.capitalize()} a {noun}.", f"Use this to {verb} a {noun}.", f"{verb} something"]), parameters, list(parameters), make)


KINDS = [light, light, light, timer, timer, alarm, reminder, weather, weather, music, message, call, thermostat, volume, lookup, lookup, clock, shopping, lock, invented, invented, invented]
