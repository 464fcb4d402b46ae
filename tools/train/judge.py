"""How an answer is judged; shared by the training script and evaluate.py."""
import re

CALL = re.compile(r"<tool_call>\s*<function=([^>\n]+)>\n(.*?)</function>\s*</tool_call>", re.S)
PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n(.*?)\n</parameter>", re.S)


def parse_reply(reply):
    """(text, tool calls) of a reply without its thinking; calls as [{"name", "arguments": {key: text}}]."""
    calls = [{"name": name, "arguments": dict(PARAMETER.findall(body))} for name, body in CALL.findall(reply)]
    return reply.split("<tool_call>")[0].strip(), calls


def plain(value):
    """An argument as lower-case text, so that 5 and "5", True and "true" are the same."""
    return str(value).strip().lower()


def same_calls(want, got):
    def flat(calls): return [(c["name"], sorted((k, plain(v)) for k, v in c["arguments"].items())) for c in calls]
    return flat(want) == flat(got)


def judge(expect, text, calls):
    """True when the reply is what the case expects: `tool_calls` (exact, in order), `exact` text, every string of `contains` (case
    ignored), or `number` standing alone and last."""
    if "tool_calls" in expect:
        return same_calls(expect["tool_calls"], calls)
    if calls:
        return False
    if "exact" in expect:
        return text.strip() == expect["exact"]
    if "number" in expect:
        numbers = re.findall(r"(?<![\d.])-?\d+(?:\.\d+)?", text)
        return bool(numbers) and numbers[-1] == expect["number"]
    return all(part.lower() in text.lower() for part in expect["contains"])
