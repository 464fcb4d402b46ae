"""Unit conversion, weekdays, months and the clock: simple exact rules on small whole numbers."""
from chatstate import Turn
from words import typed

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
ORDINALS = ("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth").split()

# from, to, one from, factor to 4 digits as (numerator, denominator), is it exact, range of whole numbers
UNITS = [
    (["kilometers", "km", "kilometres"], ["miles"], 6214, 10000, False, 100), (["miles"], ["kilometers", "km", "kilometres"], 16093, 10000, False, 100),
    (["kilograms", "kg", "kilos"], ["pounds", "lb", "lbs"], 22046, 10000, False, 100), (["pounds", "lb", "lbs"], ["kilograms", "kg", "kilos"], 4536, 10000, False, 100),
    (["inches"], ["centimeters", "cm", "centimetres"], 254, 100, True, 60), (["centimeters", "cm", "centimetres"], ["inches"], 3937, 10000, False, 100),
    (["feet", "ft"], ["meters", "metres"], 3048, 10000, False, 60), (["meters", "metres"], ["feet", "ft"], 32808, 10000, False, 60),
    (["liters", "litres"], ["gallons"], 2642, 10000, False, 60), (["gallons"], ["liters", "litres"], 37854, 10000, False, 40),
    (["hours"], ["minutes"], 60, 1, True, 24), (["minutes"], ["seconds"], 60, 1, True, 60), (["days"], ["hours"], 24, 1, True, 14), (["weeks"], ["days"], 7, 1, True, 52),
    (["years"], ["months"], 12, 1, True, 30), (["meters", "metres"], ["centimeters", "cm", "centimetres"], 100, 1, True, 100), (["kilometers", "km"], ["meters", "metres"], 1000, 1, True, 100),
    (["kilograms", "kg", "kilos"], ["grams"], 1000, 1, True, 100), (["liters", "litres"], ["milliliters", "ml"], 1000, 1, True, 50), (["feet"], ["inches"], 12, 1, True, 30),
    (["dozen"], ["pieces"], 12, 1, True, 20),
]
ONE_OF = {"feet": "foot", "inches": "inch", "dozen": "dozen"}
CONVERT = ["how many {t} are {n} {f}", "what is {n} {f} in {t}", "convert {n} {f} to {t}", "how much is {n} {f} in {t}", "{n} {f} in {t}", "how many {t} is {n} {f}", "what's {n} {f} in {t}", "{n} {f} to {t}",
           "can you convert {n} {f} to {t}", "how many {t} are in {n} {f}"]


def tenths(value, scale):
    """value/scale rounded half up to one decimal, without a needless ".0"."""
    t = (value * 10 * 2 + scale) // (2 * scale)
    return str(t // 10) if t % 10 == 0 else f"{t // 10}.{t % 10}"


def convert(s):
    rng = s.rng
    if rng.random() < 0.25:
        return temperature(s)
    source, target, num, den, exact, top = rng.choice(UNITS)
    n = rng.randint(1, top) if rng.random() < 0.7 else rng.choice([1, 2, 3, 5, 10, 20])
    f, t = rng.choice(source), rng.choice(target)
    one = ONE_OF.get(f, f[:-1] if f.endswith("s") and len(f) > 3 else f)
    text = rng.choice(CONVERT).replace("{n}", str(n)).replace("{f}", one if n == 1 else f).replace("{t}", t)
    if n == 1:
        text = text.replace(" are 1 ", " is 1 ")
    value = tenths(n * num, den)
    shown_from, shown_to = source[0], target[0]
    shown_from = ONE_OF.get(shown_from, shown_from[:-1]) if n == 1 else shown_from
    return Turn(typed(rng, text, question=True), f"{n} {shown_from} is {'' if exact else 'about '}{value} {shown_to}.")


def temperature(s):
    rng = s.rng
    if rng.random() < 0.5:
        n = rng.randint(-20, 45) if rng.random() < 0.8 else rng.randrange(50, 251, 10)
        value = tenths(n * 18 + 320, 10) if n * 18 + 320 >= 0 else "-" + tenths(-(n * 18 + 320), 10)
        f, t, shown_f, shown_t = rng.choice(["celsius", "degrees celsius", "C"]), rng.choice(["fahrenheit", "F"]), "Celsius", "Fahrenheit"
    else:
        n = rng.randint(0, 110) if rng.random() < 0.8 else rng.randrange(120, 451, 10)
        d = (n - 32) * 50
        value = tenths(d, 90) if d >= 0 else "-" + tenths(-d, 90)
        f, t, shown_f, shown_t = rng.choice(["fahrenheit", "degrees fahrenheit", "F"]), rng.choice(["celsius", "C"]), "Fahrenheit", "Celsius"
    value = "0" if value == "-0" else value
    text = rng.choice(["what is {n} {f} in {t}", "convert {n} {f} to {t}", "how much is {n} {f} in {t}", "{n} {f} in {t}", "what's {n} {f} in {t}", "{n} {f} to {t}"])
    return Turn(typed(rng, text.replace("{n}", str(n)).replace("{f}", f).replace("{t}", t), question=True), f"{n} degrees {shown_f} is {value} degrees {shown_t}.")


def dated(s, text):
    """A question about days or months; some people write their names in lower case."""
    return typed(s.rng, text.lower() if s.chance(0.3) else text, question=True)


def weekday_rule(s):
    rng = s.rng
    d = rng.randrange(7)
    pick = rng.random()
    day = DAYS[d]
    if pick < 0.35:
        text = rng.choice(["what day comes after {d}", "which day comes after {d}", "what day is after {d}", "what is the day after {d}", "what comes after {d}"])
        return Turn(dated(s, text.replace("{d}", day)), f"{DAYS[(d + 1) % 7]} comes after {day}.")
    if pick < 0.6:
        text = rng.choice(["what day comes before {d}", "which day comes before {d}", "what day is before {d}", "what is the day before {d}"])
        return Turn(dated(s, text.replace("{d}", day)), f"{DAYS[(d - 1) % 7]} comes before {day}.")
    n = rng.randint(2, 10)
    text = rng.choice(["today is {d}. what day is it in {n} days", "if today is {d}, what day is it in {n} days", "what day is {n} days after {d}", "it's {d} today, which day is it in {n} days"])
    return Turn(dated(s, text.replace("{d}", day).replace("{n}", str(n))), f"{n} days after {day} is {DAYS[(d + n) % 7]}.")


def month_rule(s):
    rng = s.rng
    m = rng.randrange(12)
    month = MONTHS[m]
    pick = rng.random()
    if pick < 0.35:
        text = rng.choice([f"how many days are in {month}", f"how many days does {month} have", f"days in {month}", f"how long is {month}"])
        days = f"{month} has {MONTH_DAYS[m]} days" + (", or 29 in a leap year." if m == 1 else ".")
        return Turn(dated(s, text), days)
    if pick < 0.6:
        return Turn(dated(s, rng.choice([f"what month comes after {month}", f"which month comes after {month}", f"which month is after {month}", f"what comes after {month}"])), f"{MONTHS[(m + 1) % 12]} comes after {month}.")
    if pick < 0.8:
        return Turn(dated(s, rng.choice([f"what month comes before {month}", f"which month comes before {month}", f"which month is before {month}"])), f"{MONTHS[(m - 1) % 12]} comes before {month}.")
    return Turn(dated(s, rng.choice([f"what is the {ORDINALS[m]} month", f"which month is the {ORDINALS[m]} month of the year", f"what is month number {m + 1}"])), f"The {ORDINALS[m]} month is {month}.")


def today(s):
    """Date and time, known only when the system prompt told them."""
    rng = s.rng
    pick = rng.random()
    if pick < 0.3:
        text = rng.choice(["what time is it", "what's the time", "tell me the time", "do you know what time it is", "whats the time", "can you tell me the time", "how late is it"])
        return Turn(typed(rng, text, question=True), f"It is {s.clock}." if s.clock else "I don't have a clock here, sorry.")
    if s.today is None:
        text = rng.choice(["what day is it", "what day is today", "what's the date", "what is today's date", "which year is it", "what day is tomorrow", "what is the date today", "what month is it"])
        return Turn(typed(rng, text, question=True), "I don't have a calendar here, sorry.")
    weekday, day, month, year = s.today
    if pick < 0.5:
        return Turn(typed(rng, rng.choice(["what day is it", "what day is today", "which day is it today", "what day of the week is it"]), question=True), f"Today is {DAYS[weekday]}.")
    if pick < 0.65:
        return Turn(typed(rng, rng.choice(["what's the date", "what is today's date", "what is the date today", "tell me the date"]), question=True), f"Today is {DAYS[weekday]}, {MONTHS[month]} {day}.")
    if pick < 0.78:
        return Turn(typed(rng, rng.choice(["what day is tomorrow", "what day is it tomorrow", "which day is tomorrow"]), question=True), f"Tomorrow is {DAYS[(weekday + 1) % 7]}.")
    if pick < 0.86:
        return Turn(typed(rng, rng.choice(["what day was yesterday", "which day was yesterday"]), question=True), f"Yesterday was {DAYS[(weekday - 1) % 7]}.")
    if pick < 0.93:
        return Turn(typed(rng, rng.choice(["what month is it", "which month is it", "what month are we in"]), question=True), f"It is {MONTHS[month]}.")
    return Turn(typed(rng, rng.choice(["what year is it", "which year is it", "what year are we in"]), question=True), f"It is {year}.")


def measure_turn(s):
    pick = s.rng.random()
    if pick < 0.5: return convert(s)
    if pick < 0.65: return weekday_rule(s)
    if pick < 0.82: return month_rule(s)
    return today(s)
