"""What a scripted dialogue has said so far, and the turn type the skills return."""
from dataclasses import dataclass
from words import Words


@dataclass
class Turn:
    """One user message and the reply. `thought` is "" when the reply needs none. With `calls`, the assistant first calls
    tools, `results` come back in the same order, and `answer` is said after them."""
    user: str
    answer: str = ""
    thought: str = ""
    calls: tuple = ()
    results: tuple = ()


class ChatState:
    def __init__(self, rng, held_out=False):
        self.rng = rng
        self.held_out = held_out
        self.words = Words(rng, held_out)
        self.known = {}          # attribute key -> value the user told
        self.devices = {}        # device phrase -> "on" or "off"
        self.last_device = None  # what "it" means
        self.timer = None        # phrase of the running timer
        self.last_number = None  # result of the last sum
        self.jokes = set()       # jokes already told
        self.assistant_name = None
        self.today = None        # (weekday index, day, month index, year)
        self.clock = None        # "14:35"
        self.brief = False       # the system prompt asks for short answers
        self.tools = None        # list of tool objects of toolcalls.py
        self.topic = None        # last definition given

    def pick(self, options):
        return self.rng.choice(options)

    def chance(self, p):
        return self.rng.random() < p
