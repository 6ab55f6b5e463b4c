"""The part of a model's raw output that is meant to be read: no thoughts, no other channels, no end-of-text tokens.

Servers differ in what they leave in an answer. Some return the tokens that end a turn as text, some the whole Harmony
message with its channels, some a thought with or without its opening tag.

Limits: a tag or token that stands in quotes on its own line is taken for a part of a program and left alone. A stop
string that a model writes inside a thought ends its answer there, before any of this is read.
"""

from __future__ import annotations

import re

QUOTE_WINDOW = 2000
"""Characters of a line, on either side of a tag, in which the quotes that enclose it are looked for."""

_CHANNEL = re.compile(
    r"(?<![\"'`])<\|channel\|>[ \t]*(?P<name>[a-z]+)(?:[^\n]{0,200}?<\|message\|>|[ \t]*)", re.IGNORECASE
)
_MESSAGE_ENDS = re.compile(r"<\|(?:end|return|call|start)\|>")
_BARE_CHANNEL = re.compile(r"\A\s*(?:assistant)?(?:analysis|commentary)(?:(?=[A-Z])|(?=.*?assistantfinal))", re.DOTALL)
"""Harmony whose special tokens a server has left out: `analysisWe need …assistantfinal##Step 1`."""
_OLLAMA = re.compile(r"\A\s*Thinking\.\.\.\n.*?^\.\.\.done thinking\.[ \t]*$", re.DOTALL | re.MULTILINE)

_NAMES = (
    r"(?:think|thinking|thought|thoughts|reasoning|reason|reflection|analysis|scratchpad|inner_monologue|"
    r"seed:think|ant_?thinking)"
)
_TAG = re.compile(
    rf"(?i:<(?P<tag>/)?{_NAMES}(?:\s[^<>\n]{{0,100}})?>)"
    r"|\[(?P<bracket>/)?THINK\]"
    r"|◁(?P<kimi>/)?think▷"
    r"|(?i:<\|(?:(?:begin_of|start)_(?:thought|thinking)|(?P<pipe>/|end_of_|end_)(?:thought|thinking|think)|think)\|>)"
    r"|<\|channel>thought\b|(?P<gemma><channel\|>)"
    r"|<unused94>(?:thought\b)?|(?P<unused><unused95>)"
)
"""The tags around a thought; a group matches in those that close one."""

_TURN_BEGINS = re.compile(
    r"\A(?:\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|START_RESPONSE\|>|<\|START_OF_TURN_TOKEN\|>|<\|CHATBOT_TOKEN\|>"
    r"|<\|assistant\|>|<\|im_start\|>[ \t]*assistant|<\|start\|>[ \t]*assistant|<start_of_turn>[ \t]*model"
    r"|<\|start_header_id\|>[ \t]*assistant[ \t]*<\|end_header_id\|>|<｜begin▁of▁sentence｜>|<｜Assistant｜>))+\s*"
)
_CONTROL = re.compile(
    r"<\|[A-Za-z][\w▁./-]{0,40}\|>|<｜[^｜<>\n]{1,40}｜>"
    r"|<(?:end|start)_of_turn>|<end_of_utterance>|<turn\|>|<\|turn>|<end_of_text>"
)
_AMBIGUOUS = r"(?:</?s>|</?eos>|<eos_token>|<EO[TDS]>|<eot>|<bos>|<pad>|\[/?INST\]|\[EOS\]|\[end of text\])"
_AMBIGUOUS_END = re.compile(rf"(?:(?<=[\]`\n])[ \t]*{_AMBIGUOUS}(?=\s|[<\[]|\Z))|{_AMBIGUOUS}(?=\s*\Z)")
"""Tokens that code and HTML spell too: they end a text where they stand after a marker, a fence or nothing, or last."""


def extract_visible_text(raw: str) -> str:
    """What a model wrote for others to read. Takes time in proportion to the length."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    text = _OLLAMA.sub("", _TURN_BEGINS.sub("", extract_final_channel(text)))
    text = _TURN_BEGINS.sub("", strip_reasoning(text))
    return text[: _find_end(text)]


def extract_final_channel(text: str) -> str:
    """The messages of Harmony's `final` channel, one below the other; a text without channels as it is.

    What stands before the first channel counts where no message is final, and the channels themselves do not.
    """
    channels = list(_CHANNEL.finditer(text))
    if not channels:
        return _extract_bare_final_channel(text)
    parts = []
    for place, channel in enumerate(channels):
        following = channels[place + 1].start() if place + 1 < len(channels) else len(text)
        body = text[channel.end() : following]
        ended = next((each for each in _MESSAGE_ENDS.finditer(body) if not _is_quoted(body, each)), None)
        if channel["name"].lower() == "final":
            parts.append(body[: ended.start()] if ended else body)
    if parts:
        return "\n".join(parts)
    return _MESSAGE_ENDS.split(text[: channels[0].start()], maxsplit=1)[0]


def _extract_bare_final_channel(text: str) -> str:
    if not _BARE_CHANNEL.match(text):
        return text
    return text.rpartition("assistantfinal")[2] if "assistantfinal" in text else ""


def strip_reasoning(text: str) -> str:
    """The text without thoughts in tags.

    Everything before a closing tag that nothing opened is a thought: the chat template had opened it. A tag that nobody
    closed opens a thought up to the end if it stands at a line's start.
    """
    kept: list[str] = []
    done, opened = 0, -1
    for tag in _TAG.finditer(text):
        if _is_quoted(text, tag):
            continue
        if any(tag.groupdict().values()):
            if opened < 0:
                kept.clear()
            done, opened = tag.end(), -1
        elif opened < 0:
            kept.append(text[done : tag.start()])
            opened = tag.start()
    before = "".join(kept)
    if opened < 0:
        return before + text[done:]
    return before + text[opened:] if before.rpartition("\n")[2].strip() else before


def _find_end(text: str) -> int:
    """Where the first token that ends a text stands, the text's length if there is none."""
    ends = [next((each.start() for each in _CONTROL.finditer(text) if not _is_quoted(text, each)), len(text))]
    ends += [each.start() for each in [_AMBIGUOUS_END.search(text)] if each]
    return min(ends)


def _is_quoted(text: str, found: re.Match[str]) -> bool:
    """Whether quotes on the same line enclose what was found."""
    before = text[max(0, found.start() - QUOTE_WINDOW) : found.start()].rpartition("\n")[2]
    after = text[found.end() : found.end() + QUOTE_WINDOW].partition("\n")[0]
    return any(before.count(quote) % 2 and quote in after for quote in "\"'`")
