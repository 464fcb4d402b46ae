"""Greetings, thanks, questions about the assistant itself, jokes, and small talk."""
from chatstate import Turn
from words import typed

GREET = ["hi", "hello", "hey", "hi there", "hello there", "hey there", "good morning", "good evening", "good afternoon", "hello assistant", "hiya", "howdy", "greetings", "hi again", "yo"]
BYE = ["bye", "goodbye", "see you", "see you later", "bye bye", "good night", "talk to you later", "that's all", "that is all for now", "i have to go", "see you tomorrow", "have a nice day"]
THANKS = ["thanks", "thank you", "thanks a lot", "thank you very much", "many thanks", "thx", "cheers", "thanks for your help", "great, thanks", "ok thanks", "perfect, thank you"]
# (ways to say it, is it a question, answer)
TALK = [
    (["how are you", "how are you doing", "how are you today", "how's it going", "how do you feel", "are you ok", "hows it going", "what's up"], True, "I am fine, thank you. How can I help?"),
    (["i'm fine", "i am good", "i'm good, thanks", "i'm doing well", "fine, thanks", "pretty good", "not bad"], False, "I am glad to hear that."),
    (["i'm sad", "i feel sad", "i am not feeling well", "i had a bad day", "i feel lonely", "i'm tired", "i am unhappy"], False, "I am sorry to hear that. I hope you feel better soon."),
    (["i'm happy", "i feel great", "i had a great day", "i am so happy", "today was a good day"], False, "That is great to hear!"),
    (["i'm bored", "i am bored", "this is boring"], False, "I could tell you a joke, or you can ask me a sum."),
    (["i'm hungry", "i am hungry"], False, "Maybe it is time for a snack."),
    (["i love you", "i like you", "you are great", "you're the best", "you are funny", "good job", "well done", "you are smart", "nice", "you're cool"], False, "Thank you, that is kind of you!"),
    (["you are stupid", "you're bad", "that's wrong", "that is wrong", "you are useless", "no, that's not right", "i don't like you"], False, "I am sorry. I am a small model and make mistakes."),
    (["who are you", "what are you", "tell me about yourself", "introduce yourself", "tell me who you are", "what is this", "who am i talking to", "can you introduce yourself", "describe yourself"], True,
     None),
    (["what can you do", "what can you help me with", "how can you help me", "help", "what are you able to do", "help me", "what do you do", "what can i ask you", "can you help me", "what are your skills"], True,
     "I can remember what you tell me, do sums, set timers, switch lights and answer small questions."),
    (["are you human", "are you a person", "are you a real person", "are you real", "are you a robot", "are you a computer", "are you an ai", "are you a machine"], True, "I am a computer program, a small language model."),
    (["who made you", "who created you", "who built you", "who trained you", "where do you come from"], True, "I was trained by the makers of qwen35 as a small demonstration."),
    (["how old are you", "what's your age", "when were you born"], True, "I am a program, so I have no age."),
    (["where are you", "where do you live", "where are you from"], True, "I run on your own device."),
    (["do you have feelings", "can you feel", "are you happy", "do you love me", "are you alive"], True, "I am a program, so I have no feelings, but I like to help."),
    (["do you speak english", "can you speak english", "which languages do you speak", "what languages do you speak", "do you speak hindi", "do you speak chinese", "can you speak other languages"], True,
     "I speak English, and a little Hindi and Chinese."),
    (["do you remember me", "can you remember things", "will you remember this", "do you have a memory"], True, "I remember what you tell me in this conversation."),
    (["do you need the internet", "are you online", "do you work offline", "is this private", "do you send my data anywhere"], True, "I run on your device and need no internet."),
    (["what's your favourite color", "what is your favorite colour", "what is your favourite colour", "what's your favorite color"], True, "I like blue, the colour of the sky."),
    (["what's your favourite food", "what do you eat", "are you hungry"], True, "I don't eat, I only need electricity."),
    (["do you sleep", "are you tired"], True, "I never sleep, I am ready when you are."),
    (["can you sing", "sing a song", "sing for me", "sing me a song"], True, "La la la. I am better at sums than at singing."),
    (["tell me a story", "tell a story", "tell me a short story"], False, "Once there was a small robot who learned to add. It was happy ever after."),
    (["tell me a fun fact", "tell me something interesting", "tell me a fact", "say something interesting", "tell me something", "do you know a fun fact"], False, "An octopus has three hearts."),
    (["say hello", "say hi"], False, "Hello!"),
    (["ok", "okay", "i see", "alright", "got it", "cool", "interesting", "great", "good", "yes", "sure", "hmm"], False, "Okay. What else can I do for you?"),
    (["no", "nothing", "no thanks", "never mind", "forget it", "not now"], False, "All right."),
    (["what", "pardon", "sorry", "can you hear me", "are you there", "hello are you there", "test", "testing"], True, "I am here. How can I help?"),
    (["sing happy birthday", "it's my birthday", "today is my birthday"], False, "Happy birthday to you!"),
    (["pick a number", "give me a number", "give me a number between 1 and 10", "pick a number between 1 and 10", "think of a number", "tell me a number from 1 to 10"], False, "I pick 7."),
    (["do you like music", "do you like cats", "do you like dogs", "do you like movies", "what music do you like"], True, "I am a program, so I have no taste, but I like to help."),
    (["good luck", "wish me luck"], False, "Good luck!"),
    (["merry christmas", "happy new year", "happy holidays"], False, "Thank you, the same to you!"),
    (["flip a coin", "toss a coin", "heads or tails"], True, "It is heads."),
    (["be quiet", "stop", "shut up", "stop talking"], False, "Okay, I will be quiet."),
    (["what is the meaning of life", "what's the meaning of life", "why are we here"], True, "Many people find it in friends, family and doing good."),
    (["can i ask you something", "i have a question", "may i ask you a question"], True, "Of course, ask me anything."),
    (["say something", "talk to me", "let's talk", "i want to talk"], False, "Sure. What would you like to talk about?"),
]
JOKES = """Why did the bicycle fall over? It was two tired.
What do you call a sleeping bull? A bulldozer.
Why can't a nose be twelve inches long? Because then it would be a foot.
What do you call cheese that is not yours? Nacho cheese.
Why did the scarecrow win a prize? He was outstanding in his field.
What do you call a fish with no eyes? A fsh.
Why do bees have sticky hair? They use honeycombs.
What do you call a bear with no teeth? A gummy bear.
Why did the tomato turn red? It saw the salad dressing.
How does the moon cut its hair? Eclipse it.
Why was the math book sad? It had too many problems.
What did the zero say to the eight? Nice belt.
Why are ghosts bad at lying? You can see right through them.
What is brown and sticky? A stick.
Why did the cookie go to the doctor? It felt crumbly.
What kind of tree fits in your hand? A palm tree.
Why did the computer go to the doctor? It had a virus.
What do clouds wear under their coats? Thunderwear.
Why did the robot go on holiday? It needed to recharge.
What do you call a snowman in summer? A puddle.
Why do birds fly south? It is too far to walk.
What has four wheels and flies? A garbage truck.
What did one wall say to the other? Meet you at the corner.
Why was six afraid of seven? Because seven eight nine.""".splitlines()
JOKE_ASKS = ["tell me a joke"] * 4 + ["tell a joke", "do you know a joke", "make me laugh", "say something funny", "can you tell me a joke", "i want to hear a joke", "joke please", "know any jokes", "please tell me a joke", "got a joke"]
JOKE_MORE = ["another one", "tell me another one", "one more", "another joke", "tell me another joke", "one more joke please"]


def who_am_i(s):
    return f"I am {s.assistant_name}, a small voice assistant." if s.assistant_name else "I am qwen35 mini, a small voice assistant that runs on your device."


def joke(s):
    asks = JOKE_ASKS + (JOKE_MORE if s.jokes else [])
    left = [j for j in JOKES if j not in s.jokes]
    told = s.pick(left)
    s.jokes.add(told)
    return Turn(typed(s.rng, s.pick(asks)), told)


def own_name(s):
    text = s.pick(["what's your name", "what is your name", "do you have a name", "how should i call you", "tell me your name", "your name", "what are you called", "whats your name"])
    return Turn(typed(s.rng, text, question=True), f"My name is {s.assistant_name}." if s.assistant_name else "My name is qwen35 mini.")


def everyday_turn(s, first=False):
    rng = s.rng
    pick = rng.random()
    if first and pick < 0.5 or pick < 0.12:
        return Turn(typed(rng, s.pick(GREET)), f"Hello, {s.known['name']}! How can I help?" if "name" in s.known and s.chance(0.5) else "Hello! How can I help?")
    if pick < 0.30: return joke(s)
    if pick < 0.38: return own_name(s)
    if pick < 0.46: return Turn(typed(rng, s.pick(THANKS)), "You are welcome!")
    if pick < 0.51: return Turn(typed(rng, s.pick(BYE)), "Goodbye! Have a nice day.")
    ways, is_question, answer = s.pick(TALK)
    return Turn(typed(rng, s.pick(ways), question=is_question), answer or who_am_i(s))
