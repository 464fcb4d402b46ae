"""The Qwen3.5 chat template, as weighted pieces of text.

Two histories exist and the model must know both. `template` is the fixed template over a list of messages: thinking of
turns before the last user message is dropped. `as_fed` is what a running chat really holds: each turn as it was prompted
and decoded, thinking blocks included. Both return `[(text, generated)]`; the pieces marked `generated` are what
the model writes. Each piece is tokenised alone, which is what a chat engine does with prompt and reply.
"""
import json

TOOL_HEAD = "# Tools\n\nYou have access to the following functions:\n\n<tools>"
TOOL_TAIL = (
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n<tool_call>\n"
    "<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n</parameter>\n"
    "</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified format: an inner "
    "<function=...></function> block must be nested within <tool_call></tool_call> XML tags\n- Required parameters MUST be "
    "specified\n- You may provide optional reasoning for your function call in natural language BEFORE the function call, but "
    "NOT after\n- If there is no function call available, answer the question like normal with your current knowledge and do "
    "not tell the user about function calls\n</IMPORTANT>")


def scalar(value):
    """An argument as the template prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def calls_text(calls, after_content):
    out = ""
    for i, call in enumerate(calls):
        call = call.get("function", call)
        out += ("\n\n" if after_content else "") if i == 0 else "\n"
        out += f"<tool_call>\n<function={call['name']}>\n"
        for key, value in call.get("arguments", {}).items():
            out += f"<parameter={key}>\n{scalar(value)}\n</parameter>\n"
        out += "</function>\n</tool_call>"
    return out


def reply_text(message):
    content = message.get("content") or ""
    return content + calls_text(message.get("tool_calls") or [], bool(content))


def system_text(messages, tools):
    system = messages[0]["content"].strip() if messages[0]["role"] == "system" else None
    if tools:
        out = "<|im_start|>system\n" + TOOL_HEAD
        out += "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in tools) + TOOL_TAIL
        return out + ("\n\n" + system if system else "") + "<|im_end|>\n"
    return "" if system is None else f"<|im_start|>system\n{system}<|im_end|>\n"


def tool_results(messages, i):
    """The text of the run of tool messages that starts at i, and the index after it."""
    out = "<|im_start|>user"
    while i < len(messages) and messages[i]["role"] == "tool":
        out += f"\n<tool_response>\n{messages[i]['content'].strip()}\n</tool_response>"
        i += 1
    return out + "<|im_end|>\n", i


def template(messages, tools=None, prompt=None):
    """The fixed template. `prompt` adds the generation prompt: True with thinking, False without, None adds none."""
    last_query = max(i for i, m in enumerate(messages) if m["role"] == "user")
    pieces = [(system_text(messages, tools), False)]
    i = 1 if messages[0]["role"] == "system" else 0
    while i < len(messages):
        m = messages[i]
        if m["role"] == "tool":
            text, i = tool_results(messages, i)
            pieces.append((text, False))
            continue
        if m["role"] == "user":
            pieces.append((f"<|im_start|>user\n{m['content'].strip()}<|im_end|>\n", False))
        else:
            pieces.append(("<|im_start|>assistant\n", False))
            if i > last_query:
                thought = (m.get("reasoning_content") or "").strip()
                pieces.append((f"<think>\n{thought}\n</think>\n\n", bool(thought)))
            pieces.append((reply_text(m) + "<|im_end|>", True))
            pieces.append(("\n", False))
        i += 1
    if prompt is not None:
        pieces.append(("<|im_start|>assistant\n" + ("<think>\n" if prompt else "<think>\n\n</think>\n\n"), False))
    return pieces


def as_fed(messages, tools=None):
    """What a running chat holds after these messages. An assistant message may say `thinking` (bool), `reasoning_content`
    and `cut` (the thought was stopped by its budget and closed by the engine)."""
    pieces = [(system_text(messages, tools), False)]
    i = 1 if messages[0]["role"] == "system" else 0
    while i < len(messages):
        m = messages[i]
        if m["role"] == "tool":
            text, i = tool_results(messages, i)
            pieces.append((text, False))
            continue
        if m["role"] == "user":
            pieces.append((f"<|im_start|>user\n{m['content'].strip()}<|im_end|>\n", False))
        else:
            if not m.get("thinking"):
                pieces.append(("<|im_start|>assistant\n<think>\n\n</think>\n\n", False))
            else:
                pieces.append(("<|im_start|>assistant\n<think>\n", False))
                thought = m.get("reasoning_content") or ""
                if m.get("cut"):
                    pieces.append((thought, True))
                    pieces.append((m["cut"], False))
                else:
                    pieces.append((thought + "\n</think>\n\n", True))
            pieces.append((reply_text(m) + "<|im_end|>", True))
            pieces.append(("\n", False))
        i += 1
    return pieces
