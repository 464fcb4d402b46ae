"""Sums, differences, small products and quotients; a short written thought for the hard ones."""
from chatstate import Turn
from words import spell, sum_for_evaluation, typed

PLUS = ["what is {a} plus {b}", "what's {a} plus {b}", "whats {a} plus {b}", "{a} plus {b}", "{a} + {b}", "{a}+{b}", "{a} + {b} =", "{a}+{b}=", "what is {a} + {b}", "what's {a} + {b}",
        "what is {a}+{b}", "how much is {a} plus {b}", "how much is {a} and {b}", "add {a} and {b}", "can you add {a} and {b}", "what is the sum of {a} and {b}", "calculate {a} plus {b}",
        "calculate {a} + {b}", "tell me {a} plus {b}", "please add {a} to {b}", "how much is {a} + {b}", "do you know what {a} plus {b} is", "compute {a} + {b}"]
MINUS = ["what is {a} minus {b}", "what's {a} minus {b}", "whats {a} minus {b}", "{a} minus {b}", "{a} - {b}", "{a}-{b}", "{a} - {b} =", "what is {a} - {b}", "what's {a} - {b}", "what is {a}-{b}",
         "how much is {a} minus {b}", "subtract {b} from {a}", "take {b} away from {a}", "calculate {a} minus {b}", "tell me {a} minus {b}", "what is {a} take away {b}",
         "how much is {a} - {b}", "what is the difference between {a} and {b}", "compute {a} - {b}"]
TIMES = ["what is {a} times {b}", "what's {a} times {b}", "whats {a} times {b}", "{a} times {b}", "{a} x {b}", "{a} * {b}", "{a}*{b}", "what is {a} * {b}", "what is {a} x {b}",
         "how much is {a} times {b}", "multiply {a} by {b}", "calculate {a} times {b}", "what is {a} multiplied by {b}", "tell me {a} times {b}"]
OVER = ["what is {a} divided by {b}", "what's {a} divided by {b}", "{a} divided by {b}", "{a} / {b}", "{a}/{b}", "what is {a} / {b}", "divide {a} by {b}", "how much is {a} divided by {b}", "what is {a} over {b}"]
WORDS_OF = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
FORMS = {"+": PLUS, "-": MINUS, "*": TIMES, "/": OVER}


def result(a, op, b):
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]


def question(s, a, op, b):
    text = s.pick(FORMS[op])
    spoken = s.chance(0.15) and max(a, b) < 1000 and any(c in text for c in ("plus", "minus", "times", "add", "subtract", "divided"))
    show = spell if spoken else str
    return text.replace("{a}", show(a)).replace("{b}", show(b))


def sentence(a, op, b):
    return f"{a} {WORDS_OF[op]} {b} is {result(a, op, b)}."


def add_columns(a, b):
    """Column addition as a few plain clauses, units first."""
    out, carry, place = [], 0, 1
    while a >= place or b >= place:
        x, y = a // place % 10, b // place % 10
        total = x + y + carry
        text = f"{x} + {y}" + (" + 1" if carry else "") + f" = {total}"
        carry = total // 10
        last = a < place * 10 and b < place * 10
        out.append(text + (f", write {total % 10} carry 1" if carry and not last else ""))
        place *= 10
    return out


def subtract_columns(a, b):
    """Column subtraction of b <= a, units first."""
    out, borrow, place = [], 0, 1
    while a >= place:
        x, y = a // place % 10 - borrow, b // place % 10
        borrow = 1 if x < y else 0
        if borrow:
            out.append(f"{x} - {y} borrow, {x + 10} - {y} = {x + 10 - y}")
        else:
            out.append(f"{x} - {y} = {x - y}")
        place *= 10
    return out


def thought(a, op, b):
    """What to write before answering; "" for what is known by heart."""
    r = result(a, op, b)
    if op == "+" and max(a, b) > 99:
        return f"{a} + {b}: " + "; ".join(add_columns(a, b)) + f". So {r}."
    if op == "-" and max(a, b) > 99:
        if a >= b:
            return f"{a} - {b}: " + "; ".join(subtract_columns(a, b)) + f". So {r}."
        return f"{b} is bigger. {b} - {a}: " + "; ".join(subtract_columns(b, a)) + f". So {r}."
    if op == "*" and max(a, b) > 12 and min(a, b) > 1:
        big, small = max(a, b), min(a, b)
        if small < 10:
            parts = [int(d) * 10 ** (len(str(big)) - 1 - i) for i, d in enumerate(str(big)) if d != "0"]
            if len(parts) == 1:
                return f"{parts[0]} x {small} = {r}."
            return ", ".join(f"{p} x {small} = {p * small}" for p in parts) + ". " + " + ".join(str(p * small) for p in parts) + f" = {r}."
        tens, ones = small // 10 * 10, small % 10
        if not ones:
            return f"{big} x {small // 10} = {big * (small // 10)}, so {r}."
        return f"{big} x {tens} = {big * tens}, {big} x {ones} = {big * ones}. {big * tens} + {big * ones} = {r}."
    return ""


def operands(s):
    """(a, op, b) from the curriculum, on this dialogue's side of the split."""
    rng = s.rng
    while True:
        pick = rng.random()
        if pick < 0.36: a, op, b = rng.randint(0, 99), "+", rng.randint(0, 99)
        elif pick < 0.62:
            a, op, b = rng.randint(0, 99), "-", rng.randint(0, 99)
            if a < b and rng.random() < 0.6: a, b = b, a
        elif pick < 0.68: a, op, b = rng.randint(0, 10), rng.choice("+-"), rng.randint(0, 10)
        elif pick < 0.77: a, op, b = rng.randint(0, 12), "*", rng.randint(0, 12)
        elif pick < 0.81:
            b, op = rng.randint(1, 12), "/"
            a = b * rng.randint(0, 12)
        elif pick < 0.89: a, op, b = rng.randint(100, 999), "+", rng.randint(10, 999)
        elif pick < 0.95:
            a, op, b = rng.randint(100, 999), "-", rng.randint(10, 999)
            if a < b and rng.random() < 0.8: a, b = b, a
        elif pick < 0.99: a, op, b = rng.randint(13, 99), "*", rng.randint(2, 9)
        else: a, op, b = rng.randint(13, 99), "*", rng.randint(11, 99)
        if op == "+" and rng.random() < 0.3: a, b = b, a
        if op == "*" and rng.random() < 0.3: a, b = b, a
        if op in "+-" and sum_for_evaluation(a, op, b) and not s.held_out:
            continue
        return a, op, b


def plain(s):
    a, op, b = operands(s)
    s.last_number = result(a, op, b)
    text = typed(s.rng, question(s, a, op, b), question=True)
    return Turn(text.upper() if s.chance(0.02) else text, sentence(a, op, b), thought(a, op, b))


def three(s):
    """Three numbers, added or subtracted from the left."""
    rng = s.rng
    while True:
        a, b, c, first, second = rng.randint(1, 40), rng.randint(1, 30), rng.randint(1, 30), rng.choice("++-"), rng.choice("++-")
        middle = result(a, first, b)
        if middle >= 0 and (s.held_out or not (sum_for_evaluation(a, first, b) or sum_for_evaluation(middle, second, c))):
            break
    r = result(middle, second, c)
    s.last_number = r
    signs = s.pick([{"+": " plus ", "-": " minus "}] * 2 + [{"+": " + ", "-": " - "}, {"+": "+", "-": "-"}])
    text = s.pick(["what is ", "what's ", "how much is ", "calculate ", "", ""]) + f"{a}{signs[first]}{b}{signs[second]}{c}"
    return Turn(typed(rng, text, question=True), f"{a} {WORDS_OF[first]} {b} {WORDS_OF[second]} {c} is {r}.", f"{a} {first} {b} = {middle}, {middle} {second} {c} = {r}.")


def follow_up(s):
    """"and plus 5?" goes on from the last result."""
    a = s.last_number
    if a is None or not 0 <= a <= 9999:
        return plain(s)
    for _ in range(20):
        b, op = s.rng.randint(1, 50), s.rng.choice("+-")
        if s.held_out or not sum_for_evaluation(a, op, b):
            break
    else:
        return plain(s)
    text = s.pick(["and plus {b}", "plus {b}", "add {b}", "add {b} to that", "now add {b}", "and {b} more"] if op == "+" else ["and minus {b}", "minus {b}", "subtract {b}", "take away {b}", "now minus {b}"])
    s.last_number = result(a, op, b)
    return Turn(typed(s.rng, text.replace("{b}", str(b)), question=op == "+"), sentence(a, op, b), thought(a, op, b))


def story(s):
    rng = s.rng
    things = rng.choice("apples books coins eggs cookies pencils oranges balls stamps cards flowers candles".split()) if not s.chance(0.2) else s.words.word() + "s"
    while True:
        a, b, op = rng.randint(2, 60), rng.randint(1, 40), rng.choice("+-")
        if op == "-" and b > a: a, b = b, a
        if a != b and (s.held_out or not sum_for_evaluation(a, op, b)):
            break
    if op == "+":
        text = rng.choice([f"i have {a} {things} and buy {b} more. how many do i have", f"i have {a} {things} and get {b} more. how many {things} do i have",
                           f"there are {a} {things} in a box and i add {b}. how many are there"])
    else:
        text = rng.choice([f"i have {a} {things} and give away {b}. how many are left", f"i had {a} {things} and lost {b}. how many do i have",
                           f"there are {a} {things} in a box and i take {b} out. how many are left"])
    s.last_number = result(a, op, b)
    return Turn(typed(rng, text, question=True), f"{sentence(a, op, b)[:-1]}, so there are {result(a, op, b)} {things}.")


def compare(s):
    rng = s.rng
    top = rng.choice([10, 100, 1000])
    a, b = rng.sample(range(top), 2)
    if s.chance(0.5):
        text, answer = rng.choice(["which is bigger, {a} or {b}", "what is more, {a} or {b}", "which number is larger, {a} or {b}", "is {a} bigger than {b}"]), max(a, b)
        word = "bigger"
    else:
        text, answer = rng.choice(["which is smaller, {a} or {b}", "what is less, {a} or {b}", "is {a} smaller than {b}"]), min(a, b)
        word = "smaller"
    yes_no = ("Yes, " if answer == a else "No, ") if text.startswith("is") else ""
    other = b if answer == a else a
    return Turn(typed(rng, text.replace("{a}", str(a)).replace("{b}", str(b)), question=True), f"{yes_no}{answer} is {word} than {other}.")


def parity(s):
    n = s.rng.randint(0, 999)
    kind = s.rng.choice(["even", "odd"])
    truth = "even" if n % 2 == 0 else "odd"
    text = s.pick([f"is {n} {kind}", f"is {n} an {kind} number", f"is the number {n} {kind}"])
    return Turn(typed(s.rng, text, question=True), (f"Yes, {n} is {truth}." if kind == truth else f"No, {n} is {truth}."))


def fraction(s):
    rng = s.rng
    pick = rng.random()
    if pick < 0.35:
        n = rng.randint(1, 100)
        return Turn(typed(rng, rng.choice([f"what is double {n}", f"double {n}", f"what is twice {n}", f"two times {n}"]), question=True), f"Double {n} is {2 * n}.")
    if pick < 0.7:
        n = 2 * rng.randint(1, 50)
        return Turn(typed(rng, rng.choice([f"what is half of {n}", f"half of {n}", f"what's half of {n}", f"how much is half of {n}"]), question=True), f"Half of {n} is {n // 2}.")
    p = rng.choice([10, 20, 25, 50])
    n = rng.choice([20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 300, 400, 500, 1000])
    return Turn(typed(rng, rng.choice([f"what is {p} percent of {n}", f"what's {p}% of {n}", f"{p} percent of {n}", f"how much is {p} percent of {n}"]), question=True), f"{p} percent of {n} is {p * n // 100}.")


def count(s):
    rng = s.rng
    n = rng.randint(3, 12)
    if s.chance(0.3):
        n = min(n, 10)
        return Turn(typed(rng, rng.choice([f"count down from {n}", f"count backwards from {n}"])), ", ".join(str(i) for i in range(n, 0, -1)) + ".")
    show = spell(n) if s.chance(0.4) else str(n)
    return Turn(typed(rng, rng.choice([f"count to {show}", f"can you count to {show}", f"please count to {show}", f"count from 1 to {show}"])), ", ".join(str(i) for i in range(1, n + 1)) + ".")


def sequence(s):
    n = s.rng.randint(0, 998)
    if s.chance(0.5):
        return Turn(typed(s.rng, s.pick([f"what comes after {n}", f"which number comes after {n}", f"what number is after {n}"]), question=True), f"{n + 1} comes after {n}.")
    return Turn(typed(s.rng, s.pick([f"what comes before {n + 1}", f"which number comes before {n + 1}"]), question=True), f"{n} comes before {n + 1}.")


def by_zero(s):
    n = s.rng.randint(1, 99)
    return Turn(typed(s.rng, s.pick(OVER).replace("{a}", str(n)).replace("{b}", "0"), question=True), "A number cannot be divided by zero.")


def too_hard(s):
    text = s.pick(["what is the square root of {a}", "what is {a} to the power of {b}", "what is the logarithm of {a}", "solve {a} x plus {b} equals 0", "what is the integral of {a} x"])
    return Turn(typed(s.rng, text.replace("{a}", str(s.rng.randint(2, 999))).replace("{b}", str(s.rng.randint(2, 99))), question=True), "That is too hard for me, sorry. I can add, subtract, multiply and divide small numbers.")


def arithmetic_turn(s):
    pick = s.rng.random()
    if pick < 0.71: return plain(s)
    if pick < 0.74: return three(s)
    if pick < 0.80: return follow_up(s)
    if pick < 0.84: return story(s)
    if pick < 0.88: return compare(s)
    if pick < 0.91: return fraction(s)
    if pick < 0.94: return count(s)
    if pick < 0.96: return sequence(s)
    if pick < 0.98: return parity(s)
    return by_zero(s) if pick < 0.987 else too_hard(s)
