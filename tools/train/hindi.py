"""The everyday part in Hindi: greetings, names and facts told and asked, sums, small facts, lights and timers."""
from chatstate import Turn
from words import sum_for_evaluation

CONSONANTS = "क ख ग घ च छ ज झ ट ड त थ द ध न प फ ब भ म य र ल व श स ह".split()
MATRAS = ["", "", "ा", "ा", "ि", "ी", "ु", "ू", "े", "ो", "ै", "ं"]
COMMON = "राहुल अमित प्रिया सुनीता रवि अंजलि अर्जुन नेहा विकास पूजा मोहन गीता सीता राम श्याम मीरा कविता संजय राजेश दीपा अनिल किरण सुरेश रानी".split()
CITIES = "दिल्ली मुंबई कोलकाता चेन्नई जयपुर लखनऊ पुणे भोपाल पटना आगरा इंदौर सूरत".split()
COLOURS = "लाल नीला हरा पीला सफेद काला गुलाबी नारंगी".split()
FOODS = "चावल रोटी दाल समोसा पनीर डोसा इडली खीर हलवा पूरी".split()
JOBS = "डॉक्टर शिक्षक इंजीनियर किसान वकील चित्रकार लेखक गायक दर्जी".split()
ROOMS = "रसोई कमरे बैठक बरामदे बाथरूम गैराज".split()
NUMBERS = "शून्य एक दो तीन चार पांच छह सात आठ नौ दस".split()


def raw_name(rng):
    out = ""
    for i in range(rng.choice([2, 2, 3, 3, 4])):
        out += rng.choice(CONSONANTS) + rng.choice(MATRAS)
        if rng.random() < 0.08: out += "्" + rng.choice(CONSONANTS) if out[-1] in CONSONANTS else ""
    return out


def name(s):
    if not s.held_out and s.chance(0.2): return s.pick(COMMON)
    if s.chance(0.08): return s.words.name()
    return s.words.split_choice(lambda: raw_name(s.rng))


def town(s): return s.pick(CITIES) if not s.held_out and s.chance(0.4) else s.words.split_choice(lambda: raw_name(s.rng))


# value, ways to tell, acknowledgement, ways to ask, answer, when not known, after a change
ATTRIBUTES = {
    "name": (name, ["मेरा नाम {v} है"] * 3 + ["मैं {v} हूँ", "मुझे {v} कहते हैं", "मुझे {v} बुलाओ", "नमस्ते, मेरा नाम {v} है", "नमस्ते, मैं {v} हूँ"], "आपसे मिलकर खुशी हुई, {v}!",
             ["मेरा नाम क्या है"] * 3 + ["क्या आपको मेरा नाम याद है", "मैं कौन हूँ", "मेरा नाम बताओ", "मेरा नाम बताइए", "क्या तुम मेरा नाम जानते हो"], "आपका नाम {v} है।", "मुझे आपका नाम नहीं पता। आपका नाम क्या है?"),
    "city": (town, ["मैं {v} में रहता हूँ", "मैं {v} में रहती हूँ", "मेरा घर {v} में है", "मेरा शहर {v} है"], "अच्छा, आप {v} में रहते हैं।",
             ["मैं कहाँ रहता हूँ", "मैं कहाँ रहती हूँ", "मेरा घर कहाँ है", "मेरा शहर कौन सा है"], "आप {v} में रहते हैं।", "मुझे नहीं पता कि आप कहाँ रहते हैं।"),
    "age": (lambda s: str(s.rng.randint(5, 99)), ["मेरी उम्र {v} साल है", "मैं {v} साल का हूँ", "मैं {v} साल की हूँ"], "अच्छा, आपकी उम्र {v} साल है।",
            ["मेरी उम्र क्या है", "मैं कितने साल का हूँ", "मैं कितने साल की हूँ", "मेरी उम्र कितनी है"], "आपकी उम्र {v} साल है।", "मुझे आपकी उम्र नहीं पता।"),
    "colour": (lambda s: s.pick(COLOURS), ["मेरा पसंदीदा रंग {v} है", "मुझे {v} रंग पसंद है"], "अच्छा, आपका पसंदीदा रंग {v} है।",
               ["मेरा पसंदीदा रंग क्या है", "मुझे कौन सा रंग पसंद है", "मेरा पसंदीदा रंग कौन सा है"], "आपका पसंदीदा रंग {v} है।", "आपने अपना पसंदीदा रंग नहीं बताया।"),
    "food": (lambda s: s.pick(FOODS), ["मेरा पसंदीदा खाना {v} है", "मुझे {v} खाना पसंद है"], "अच्छा, आपका पसंदीदा खाना {v} है।",
             ["मेरा पसंदीदा खाना क्या है", "मुझे क्या खाना पसंद है"], "आपका पसंदीदा खाना {v} है।", "आपने अपना पसंदीदा खाना नहीं बताया।"),
    "dog": (name, ["मेरे कुत्ते का नाम {v} है"], "{v} बहुत अच्छा नाम है!", ["मेरे कुत्ते का नाम क्या है", "मेरे कुत्ते का नाम बताओ"], "आपके कुत्ते का नाम {v} है।", "मुझे आपके कुत्ते का नाम नहीं पता।"),
    "sister": (name, ["मेरी बहन का नाम {v} है"], "अच्छा, मैं याद रखूंगा।", ["मेरी बहन का नाम क्या है", "मेरी बहन का नाम बताओ"], "आपकी बहन का नाम {v} है।", "मुझे आपकी बहन का नाम नहीं पता।"),
    "brother": (name, ["मेरे भाई का नाम {v} है"], "अच्छा, मैं याद रखूंगा।", ["मेरे भाई का नाम क्या है", "मेरे भाई का नाम बताओ"], "आपके भाई का नाम {v} है।", "मुझे आपके भाई का नाम नहीं पता।"),
    "job": (lambda s: s.pick(JOBS), ["मेरा काम {v} का है", "मैं {v} का काम करता हूँ"], "अच्छा, आप {v} का काम करते हैं।", ["मैं क्या काम करता हूँ", "मेरा काम क्या है"], "आप {v} का काम करते हैं।", "मुझे आपका काम नहीं पता।"),
}
TALK = [
    (["नमस्ते", "नमस्कार", "हैलो", "सुप्रभात", "शुभ संध्या", "नमस्ते जी", "हाय"], "नमस्ते! मैं आपकी क्या मदद करूँ?"),
    (["आप कैसे हैं", "तुम कैसे हो", "क्या हाल है", "कैसे हो", "आप कैसी हैं"], "मैं ठीक हूँ, धन्यवाद।"),
    (["धन्यवाद", "शुक्रिया", "बहुत धन्यवाद", "बहुत शुक्रिया", "थैंक यू"], "आपका स्वागत है!"),
    (["अलविदा", "फिर मिलेंगे", "शुभ रात्रि", "बाय", "मैं जा रहा हूँ"], "फिर मिलेंगे, आपका दिन शुभ हो!"),
    (["आप कौन हैं", "तुम कौन हो", "अपने बारे में बताओ", "अपना परिचय दो"], "मैं एक छोटा आवाज़ सहायक हूँ।"),
    (["आपका नाम क्या है", "तुम्हारा नाम क्या है"], "मेरा नाम qwen35 mini है।"),
    (["आप क्या कर सकते हैं", "तुम क्या कर सकते हो", "मदद करो", "मेरी मदद करो"], "मैं बातें याद रख सकता हूँ, जोड़ कर सकता हूँ और छोटे सवालों के जवाब दे सकता हूँ।"),
    (["क्या आप इंसान हैं", "क्या तुम रोबोट हो", "क्या तुम इंसान हो"], "मैं एक कंप्यूटर प्रोग्राम हूँ।"),
    (["क्या आप हिंदी बोलते हैं", "क्या तुम्हें हिंदी आती है", "हिंदी में बात करो"], "हाँ, मैं थोड़ी हिंदी बोलता हूँ।"),
    (["मैं ठीक हूँ", "मैं अच्छा हूँ", "सब ठीक है"], "यह सुनकर अच्छा लगा।"),
    (["मैं दुखी हूँ", "मैं उदास हूँ", "मैं थक गया हूँ"], "मुझे यह सुनकर दुख हुआ।"),
    (["समय क्या हुआ है", "कितने बजे हैं", "अभी क्या समय है"], "मेरे पास घड़ी नहीं है, माफ़ कीजिए।"),
    (["मौसम कैसा है", "आज मौसम कैसा है", "क्या आज बारिश होगी"], "मैं मौसम नहीं देख सकता, माफ़ कीजिए।"),
    (["ठीक है", "अच्छा", "हाँ", "बहुत अच्छा"], "ठीक है। और क्या मदद करूँ?"),
    (["आपको किसने बनाया", "तुम्हें किसने बनाया"], "मुझे qwen35 बनाने वालों ने बनाया है।"),
]
JOKES = ["अध्यापक ने पूछा, देर क्यों हुई? बच्चा बोला, बोर्ड पर लिखा था, धीरे चलें।", "डॉक्टर ने कहा, रोज़ सेब खाओ। मरीज़ बोला, पर मैं तो आम बेचता हूँ।",
         "एक मच्छर बोला, लोग मुझे देखकर ताली बजाते हैं।", "बच्चे ने कहा, मुझे गणित से डर लगता है, उसमें बहुत सवाल हैं।"]
JOKE_ASKS = ["एक चुटकुला सुनाओ", "चुटकुला सुनाओ", "कोई चुटकुला सुनाइए", "मुझे हँसाओ", "एक और चुटकुला सुनाओ"]
FACTS = [(["{c} की राजधानी क्या है", "{c} की राजधानी बताओ", "{c} की राजधानी कौन सी है"], "{c} की राजधानी {v} है।", c, v) for c, v in
         [("भारत", "नई दिल्ली"), ("फ्रांस", "पेरिस"), ("जापान", "टोक्यो"), ("चीन", "बीजिंग"), ("जर्मनी", "बर्लिन"), ("इटली", "रोम"), ("रूस", "मॉस्को"), ("नेपाल", "काठमांडू"), ("मिस्र", "काहिरा"), ("स्पेन", "मैड्रिड"),
          ("इंग्लैंड", "लंदन"), ("अमेरिका", "वाशिंगटन")]]
QUESTIONS = [(["एक हफ्ते में कितने दिन होते हैं", "हफ्ते में कितने दिन होते हैं"], "एक हफ्ते में सात दिन होते हैं।"), (["एक साल में कितने महीने होते हैं", "साल में कितने महीने होते हैं"], "एक साल में बारह महीने होते हैं।"),
             (["एक दिन में कितने घंटे होते हैं", "दिन में कितने घंटे होते हैं"], "एक दिन में चौबीस घंटे होते हैं।"), (["आसमान का रंग क्या है", "आसमान किस रंग का है"], "आसमान नीला है।"), (["सूरज क्या है"], "सूरज एक तारा है।"),
             (["चाँद क्या है", "चांद क्या है"], "चाँद पृथ्वी के चारों ओर घूमता है।"), (["पानी क्या है"], "पानी एक तरल है, जो जीवन के लिए ज़रूरी है।"), (["गुरुत्वाकर्षण क्या है"], "गुरुत्वाकर्षण वह बल है जो चीज़ों को नीचे खींचता है।"),
             (["सबसे बड़ा ग्रह कौन सा है"], "बृहस्पति सबसे बड़ा ग्रह है।"), (["मकड़ी के कितने पैर होते हैं"], "मकड़ी के आठ पैर होते हैं।"), (["सबसे ऊँचा पर्वत कौन सा है"], "माउंट एवरेस्ट सबसे ऊँचा पर्वत है।"),
             (["भारत की मुद्रा क्या है"], "भारत की मुद्रा रुपया है।")]


def ended(s, text, question):
    """Questions end with a question mark, statements with a danda, a stop, or nothing."""
    if question: return text + s.pick(["?", "?", ""])
    return text + s.pick(["", "", "।", "।", "."])


def tell(s, key=None):
    key = key or s.rng.choices(list(ATTRIBUTES), [6, 2, 2, 1, 1, 1, 1, 1, 1])[0]
    value, forms, ack, *_ = ATTRIBUTES[key]
    v = value(s)
    s.known[key] = v
    return Turn(ended(s, s.pick(forms).replace("{v}", v), False), ack.replace("{v}", v))


def tell_two(s):
    first, second = s.rng.sample(list(ATTRIBUTES), 2)
    if "name" not in (first, second) and s.chance(0.6): first = "name"
    texts = []
    for key in (first, second):
        v = ATTRIBUTES[key][0](s)
        s.known[key] = v
        texts.append(s.pick([f for f in ATTRIBUTES[key][1] if not f.startswith("नमस्ते")]).replace("{v}", v))
    answer = f"आपसे मिलकर खुशी हुई, {s.known['name']}! मैं याद रखूंगा।" if "name" in (first, second) else "अच्छा, मैं याद रखूंगा।"
    return Turn(ended(s, s.pick([" और ", ", ", "। "]).join(texts), False), answer)


def ask(s, key=None):
    known = [k for k in s.known if k in ATTRIBUTES]
    if key is None:
        key = s.pick(known) if known and not s.chance(0.1) else s.pick(list(ATTRIBUTES))
        if "name" in known and s.chance(0.4): key = "name"
    _, _, _, asks, has, unknown = ATTRIBUTES[key]
    return Turn(ended(s, s.pick(asks), True), has.replace("{v}", s.known[key]) if key in s.known else unknown)


def sums(s):
    rng = s.rng
    while True:
        a, b, op = rng.randint(0, 99), rng.randint(0, 99), rng.choice("++-*")
        if op == "-" and b > a: a, b = b, a
        if op == "*": a, b = rng.randint(0, 10), rng.randint(0, 10)
        if op == "*" or s.held_out or not sum_for_evaluation(a, op, b): break
    r = {"+": a + b, "-": a - b, "*": a * b}[op]
    said = {"+": ["{a} और {b} कितने होते हैं", "{a} जमा {b} कितना है", "{a} + {b} कितना है", "{a} और {b} का जोड़ क्या है", "{a} + {b}", "{a} में {b} जोड़ो"],
            "-": ["{a} घटा {b} कितना है", "{a} में से {b} घटाओ", "{a} - {b} कितना है", "{a} - {b}"], "*": ["{a} गुणा {b} कितना है", "{a} गुना {b} कितना होता है", "{a} x {b} कितना है"]}[op]
    word = {"+": "और", "-": "घटा", "*": "गुणा"}[op]
    show = (lambda n: NUMBERS[n]) if max(a, b) <= 10 and s.chance(0.3) else str
    s.last_number = r
    return Turn(ended(s, s.pick(said).replace("{a}", show(a)).replace("{b}", show(b)), True), f"{a} {word} {b} बराबर {r} है।")


def light(s):
    where, state = s.pick(ROOMS), s.pick(["चालू", "चालू", "बंद"])
    thing = s.pick(["बत्ती", "लाइट"])
    text = s.pick([f"{where} की {thing} {state} करो", f"{where} की {thing} {state} कर दो", f"{where} की {thing} {state} कीजिए"]) if state == "बंद" else s.pick([f"{where} की {thing} {state} करो", f"{where} की {thing} जलाओ", f"{where} की {thing} {state} कर दो", f"{where} की {thing} जला दो"])
    return Turn(ended(s, text, False), f"ठीक है, मैंने {where} की बत्ती {state} कर दी।")


def timer(s):
    n, unit = s.rng.randint(1, 60), s.pick(["मिनट", "मिनट", "सेकंड"])
    return Turn(ended(s, s.pick([f"{n} {unit} का टाइमर लगाओ", f"{n} {unit} का टाइमर सेट करो", f"{n} {unit} का टाइमर शुरू करो"]), False), f"ठीक है, {n} {unit} का टाइमर लगा दिया।")


def alarm(s):
    n = s.rng.randint(1, 12)
    return Turn(ended(s, s.pick([f"मुझे {n} बजे जगाना", f"{n} बजे का अलार्म लगाओ", f"{n} बजे का अलार्म सेट करो"]), False), f"ठीक है, {n} बजे का अलार्म लगा दिया।")


def fact(s):
    if s.chance(0.5):
        asks, answer, country, city = s.pick(FACTS)
        return Turn(ended(s, s.pick(asks).replace("{c}", country), True), answer.replace("{c}", country).replace("{v}", city))
    asks, answer = s.pick(QUESTIONS)
    return Turn(ended(s, s.pick(asks), True), answer)


def talk(s):
    if s.chance(0.15):
        left = [j for j in JOKES if j not in s.jokes]
        if left:
            told = s.pick(left)
            s.jokes.add(told)
            return Turn(ended(s, s.pick(JOKE_ASKS), False), told)
    asks, answer = s.pick(TALK)
    text = s.pick(asks)
    return Turn(ended(s, text, any(w in text for w in ("क्या", "कौन", "कैसे", "किसने", "कितने"))), answer)


def hindi_turn(s, first=False):
    known = [k for k in s.known if k in ATTRIBUTES]
    pick = s.rng.random()
    if first and pick < 0.3: return Turn(ended(s, s.pick(TALK[0][0]), False), TALK[0][1])
    pick = s.rng.random()
    if pick < 0.18: return talk(s)
    if pick < 0.40: return sums(s)
    if pick < 0.49: return fact(s)
    if pick < 0.55: return light(s)
    if pick < 0.59: return timer(s)
    if pick < 0.61: return alarm(s)
    if not known: return tell(s) if s.chance(0.6) else tell_two(s) if s.chance(0.75) else ask(s)
    return tell(s) if s.chance(0.22) else tell_two(s) if s.chance(0.1) else ask(s)
