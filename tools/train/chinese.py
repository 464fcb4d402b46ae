"""The everyday part in Chinese: greetings, names and facts told and asked, sums, small facts, lights and timers."""
from chatstate import Turn
from words import sum_for_evaluation

SURNAMES = list("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶余潘杜戴夏钟汪田姜范方石姚")
GIVEN = list("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文国志云海燕春梅兰竹菊松柏山川江河星月光阳晨晓天宇浩然子涵雨欣怡佳琪思远安宁康乐福瑞祥和美玲珍珠金银铁木林森风雪冰清水土火炎龙虎凤鹏飞翔翰墨书琴棋画诗歌")
COMMON_CITIES = "北京 上海 广州 深圳 杭州 南京 成都 重庆 西安 武汉 天津 苏州 青岛 大连 厦门".split()
PLACE_ENDS = list("州京海山江城阳安宁川门林原岛")
COLOURS = "红色 蓝色 绿色 黄色 白色 黑色 粉色 紫色 橙色".split()
FOODS = "米饭 面条 饺子 包子 火锅 烤鸭 豆腐 苹果 西瓜 馒头 汤圆".split()
JOBS = "医生 老师 工程师 农民 律师 画家 作家 歌手 司机 厨师 护士 学生".split()
ROOMS = "厨房 卧室 客厅 浴室 书房 阳台 车库 走廊".split()
DIGITS = "零一二三四五六七八九十"


def raw_name(rng):
    return rng.choice(SURNAMES) + "".join(rng.choice(GIVEN) for _ in range(rng.choice([1, 2, 2])))


def name(s):
    if s.chance(0.08): return s.words.name()
    if s.chance(0.15): return s.words.split_choice(lambda: "小" + s.rng.choice(GIVEN) + s.rng.choice(["", s.rng.choice(GIVEN)]))
    return s.words.split_choice(lambda: raw_name(s.rng))


def town(s):
    return s.pick(COMMON_CITIES) if not s.held_out and s.chance(0.4) else s.words.split_choice(lambda: s.rng.choice(GIVEN) + s.rng.choice(PLACE_ENDS))


def spell(n):
    if n <= 10: return DIGITS[n]
    return ("" if n < 20 else DIGITS[n // 10]) + "十" + ("" if n % 10 == 0 else DIGITS[n % 10])


ATTRIBUTES = {
    "name": (name, ["我叫{v}", "我叫{v}", "我的名字是{v}", "我的名字叫{v}", "我是{v}", "你好，我叫{v}", "你好，我是{v}", "叫我{v}", "请叫我{v}"], "很高兴认识你，{v}！",
             ["我叫什么名字", "我叫什么", "我的名字是什么", "你记得我的名字吗", "我是谁", "你知道我叫什么吗", "告诉我我的名字", "还记得我叫什么吗"], "你叫{v}。", "我还不知道你的名字。你叫什么？"),
    "city": (town, ["我住在{v}", "我家在{v}", "我现在住在{v}"], "好的，你住在{v}。", ["我住在哪里", "我住哪儿", "我家在哪里", "我住在哪个城市"], "你住在{v}。", "我还不知道你住在哪里。"),
    "age": (lambda s: str(s.rng.randint(5, 99)), ["我{v}岁", "我今年{v}岁", "我的年龄是{v}岁"], "好的，你{v}岁。", ["我多大了", "我几岁", "我今年多大", "我今年几岁"], "你{v}岁。", "我还不知道你的年龄。"),
    "colour": (lambda s: s.pick(COLOURS), ["我最喜欢的颜色是{v}", "我喜欢{v}"], "好的，你最喜欢{v}。", ["我最喜欢什么颜色", "我喜欢什么颜色", "我最喜欢的颜色是什么"], "你最喜欢{v}。", "你还没有告诉我你喜欢的颜色。"),
    "food": (lambda s: s.pick(FOODS), ["我最喜欢吃{v}", "我喜欢吃{v}"], "好的，你喜欢吃{v}。", ["我最喜欢吃什么", "我喜欢吃什么"], "你喜欢吃{v}。", "你还没有告诉我你喜欢吃什么。"),
    "dog": (name, ["我的狗叫{v}", "我有一只狗，叫{v}"], "{v}是个好名字！", ["我的狗叫什么", "我的狗叫什么名字"], "你的狗叫{v}。", "我还不知道你的狗叫什么。"),
    "cat": (name, ["我的猫叫{v}", "我有一只猫，叫{v}"], "{v}是个好名字！", ["我的猫叫什么", "我的猫叫什么名字"], "你的猫叫{v}。", "我还不知道你的猫叫什么。"),
    "sister": (name, ["我姐姐叫{v}", "我的姐姐叫{v}"], "好的，我记住了。", ["我姐姐叫什么", "我姐姐叫什么名字"], "你姐姐叫{v}。", "我还不知道你姐姐的名字。"),
    "friend": (name, ["我朋友叫{v}", "我的朋友叫{v}"], "好的，我记住了。", ["我朋友叫什么", "我朋友叫什么名字"], "你朋友叫{v}。", "我还不知道你朋友的名字。"),
    "job": (lambda s: s.pick(JOBS), ["我是一名{v}", "我的工作是{v}"], "好的，你是一名{v}。", ["我是做什么的", "我的工作是什么", "我做什么工作"], "你是一名{v}。", "我还不知道你的工作。"),
}
TALK = [
    (["你好", "您好", "嗨", "早上好", "晚上好", "下午好", "你好啊"], "你好！有什么可以帮你的吗？", False), (["你好吗", "你怎么样", "最近怎么样", "你今天好吗"], "我很好，谢谢。", True),
    (["谢谢", "谢谢你", "非常感谢", "多谢", "太谢谢了"], "不客气！", False), (["再见", "拜拜", "晚安", "回头见", "明天见", "我要走了"], "再见，祝你愉快！", False),
    (["你是谁", "介绍一下你自己", "你是什么", "说说你自己"], "我是一个小小的语音助手。", True), (["你叫什么名字", "你叫什么", "你的名字是什么"], "我叫 qwen35 mini。", True),
    (["你能做什么", "你会做什么", "你可以帮我做什么", "帮帮我"], "我能记住你说的话，做算术，设定时器，回答小问题。", True), (["你是人吗", "你是机器人吗", "你是真人吗"], "我是一个电脑程序。", True),
    (["你会说中文吗", "你懂中文吗", "请说中文"], "会，我会说一点中文。", True), (["我很好", "我不错", "我挺好的"], "听到这个我很高兴。", False), (["我很难过", "我不开心", "我累了", "我很累"], "听到这个我很难过，希望你快点好起来。", False),
    (["现在几点", "几点了", "现在是什么时间"], "我没有时钟，抱歉。", True), (["今天天气怎么样", "天气怎么样", "今天会下雨吗"], "我查不到天气，抱歉。", True), (["好的", "好", "知道了", "嗯", "太好了"], "好的。还有什么可以帮你的？", False),
    (["谁做了你", "谁创造了你", "是谁训练了你"], "我是 qwen35 的作者们训练的。", True), (["我爱你", "你真棒", "你真聪明", "做得好"], "谢谢你的夸奖！", False), (["对不起", "抱歉"], "没关系。", False),
]
JOKES = ["为什么数学书很难过？因为它的问题太多了。", "小明问：什么东西越洗越脏？答案是水。", "什么门永远关不上？球门。", "什么布剪不断？瀑布。", "什么车没有轮子？风车。"]
JOKE_ASKS = ["讲个笑话", "给我讲个笑话", "说个笑话", "再讲一个笑话", "逗我笑"]
CAPITALS = [("中国", "北京"), ("法国", "巴黎"), ("日本", "东京"), ("德国", "柏林"), ("英国", "伦敦"), ("意大利", "罗马"), ("俄罗斯", "莫斯科"), ("印度", "新德里"), ("韩国", "首尔"), ("美国", "华盛顿"), ("西班牙", "马德里"), ("泰国", "曼谷"),
            ("越南", "河内"), ("埃及", "开罗")]
QUESTIONS = [(["一个星期有几天", "一周有几天", "一星期有多少天"], "一个星期有七天。"), (["一年有几个月", "一年有多少个月"], "一年有十二个月。"), (["一天有多少小时", "一天有几个小时"], "一天有二十四小时。"),
             (["天空是什么颜色", "天是什么颜色"], "天空是蓝色的。"), (["太阳是什么"], "太阳是一颗恒星。"), (["月亮是什么"], "月亮绕着地球转。"), (["什么是重力", "重力是什么", "解释一下重力"], "重力是把物体拉向地面的力。"),
             (["最大的行星是哪个", "最大的行星是什么"], "最大的行星是木星。"), (["蜘蛛有几条腿"], "蜘蛛有八条腿。"), (["最高的山是哪座", "最高的山是什么"], "最高的山是珠穆朗玛峰。"), (["水的化学式是什么"], "水的化学式是H2O。"),
             (["什么是编程语言", "编程语言是什么"], "编程语言是人告诉电脑做什么的方式。"), (["熊猫吃什么"], "熊猫吃竹子。"), (["中国的货币是什么"], "中国的货币是人民币。"), (["一分钟有多少秒"], "一分钟有六十秒。")]


def ended(s, text, question):
    if question: return text + s.pick(["？", "？", "?", ""])
    return text + s.pick(["", "", "。", "。", "！"])


def tell(s, key=None):
    key = key or s.rng.choices(list(ATTRIBUTES), [7, 2, 2, 1, 1, 1, 1, 1, 1, 1])[0]
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
        texts.append(s.pick([f for f in ATTRIBUTES[key][1] if not f.startswith("你好")]).replace("{v}", v))
    answer = f"很高兴认识你，{s.known['name']}！我记住了。" if "name" in (first, second) else "好的，我记住了。"
    return Turn(ended(s, s.pick(["，", "，", "。"]).join(texts), False), answer)


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
    word = {"+": "加", "-": "减", "*": "乘"}[op]
    sign = {"+": "+", "-": "-", "*": "x"}[op]
    show = spell if s.chance(0.25) else str
    text = s.pick(["{a}{w}{b}等于多少", "{a}{w}{b}是多少", "{a}{w}{b}等于几", "{a} {s} {b} 等于多少", "{a}{s}{b}等于多少", "{a}{w}{b}", "算一下{a}{w}{b}"])
    s.last_number = r
    return Turn(ended(s, text.replace("{a}", show(a)).replace("{b}", show(b)).replace("{w}", word).replace("{s}", sign), True), f"{a}{word}{b}等于{r}。")


def light(s):
    where = s.pick(ROOMS)
    if s.chance(0.6): return Turn(ended(s, s.pick([f"打开{where}的灯", f"把{where}的灯打开", f"开{where}的灯", f"请打开{where}的灯"]), False), f"好的，{where}的灯已经打开了。")
    return Turn(ended(s, s.pick([f"关掉{where}的灯", f"把{where}的灯关掉", f"关{where}的灯", f"请关上{where}的灯"]), False), f"好的，{where}的灯已经关了。")


def timer(s):
    n, unit = s.rng.randint(1, 60), s.pick(["分钟", "分钟", "秒"])
    said = spell(n) if s.chance(0.2) else n
    return Turn(ended(s, s.pick([f"设一个{said}{unit}的定时器", f"定时{said}{unit}", f"帮我设{said}{unit}的定时器", f"{said}{unit}后提醒我"]), False), f"好的，{n}{unit}的定时器已经开始。")


def alarm(s):
    n, half = s.rng.randint(1, 12), s.pick(["早上", "下午", "晚上"])
    return Turn(ended(s, s.pick([f"{half}{n}点叫我", f"设一个{half}{n}点的闹钟", f"{half}{n}点的闹钟"]), False), f"好的，{half}{n}点的闹钟设好了。")


def fact(s):
    if s.chance(0.5):
        country, city = s.pick(CAPITALS)
        return Turn(ended(s, s.pick(["{c}的首都是哪里", "{c}的首都是什么", "{c}首都是哪", "{c}的首都是哪个城市"]).replace("{c}", country), True), f"{country}的首都是{city}。")
    asks, answer = s.pick(QUESTIONS)
    return Turn(ended(s, s.pick(asks), True), answer)


def talk(s):
    left = [j for j in JOKES if j not in s.jokes]
    if left and s.chance(0.15):
        told = s.pick(left)
        s.jokes.add(told)
        return Turn(ended(s, s.pick(JOKE_ASKS), False), told)
    asks, answer, question = s.pick(TALK)
    return Turn(ended(s, s.pick(asks), question), answer)


def chinese_turn(s, first=False):
    known = [k for k in s.known if k in ATTRIBUTES]
    if first and s.chance(0.3): return Turn(ended(s, s.pick(TALK[0][0]), False), TALK[0][1])
    pick = s.rng.random()
    if pick < 0.18: return talk(s)
    if pick < 0.40: return sums(s)
    if pick < 0.49: return fact(s)
    if pick < 0.55: return light(s)
    if pick < 0.59: return timer(s)
    if pick < 0.61: return alarm(s)
    if not known: return tell(s) if s.chance(0.6) else tell_two(s) if s.chance(0.75) else ask(s)
    return tell(s) if s.chance(0.22) else tell_two(s) if s.chance(0.1) else ask(s)
