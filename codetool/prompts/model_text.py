"""Extract the visible text of a raw model output: without reasoning, other Harmony channels and end-of-text tokens.

Servers differ in what they leave in an answer. Some return end-of-turn tokens as text, some return the whole Harmony
message with its channels, and some return reasoning with or without its opening tag.

Limits: a tag or token in quotes on one line is treated as part of a program and left unchanged. If a model writes the
stop string inside its reasoning, generation has already ended there and the answer is lost.
"""

from __future__ import annotations

import re

QUOTE_WINDOW = 2000
"""Number of characters before and after a tag, on its line, that are searched for enclosing quotes."""

_CHANNEL = re.compile(
    r"(?<![\"'`])<\|channel\|>[ \t]*(?P<name>[a-z]+)(?:[^\n]{0,200}?<\|message\|>|[ \t]*)", re.IGNORECASE
)
_MESSAGE_ENDS = re.compile(r"<\|(?:end|return|call|start)\|>")
_BARE_CHANNEL = re.compile(r"\A\s*(?:assistant)?(?:analysis|commentary)(?:(?=[A-Z])|(?=.*?assistantfinal))", re.DOTALL)
"""A Harmony message whose special tokens the server has removed: `analysisWe need …assistantfinal##Step 1`."""
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
"""Opening and closing tags of reasoning. A named group matches only in closing tags."""

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
"""Tokens that also occur in code and HTML. They end a text only after a marker, after a fence or at its end."""


def extract_visible_text(raw: str) -> str:
    """Return the part of a model's output that is meant for the reader. Runs in linear time."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    text = _OLLAMA.sub("", _TURN_BEGINS.sub("", extract_final_channel(text)))
    text = _TURN_BEGINS.sub("", strip_reasoning(text))
    return text[: _find_end(text)]


def extract_final_channel(text: str) -> str:
    """Return the messages of Harmony's `final` channel, joined by newlines; a text without channels unchanged.

    If no message is final, return the text before the first channel.
    """
    channels = list(_CHANNEL.finditer(text))
    if not channels:
        return _extract_bare_final_channel(text)
    parts = []
    for i, channel in enumerate(channels):
        following = channels[i + 1].start() if i + 1 < len(channels) else len(text)
        body = text[channel.end() : following]
        end = next((match for match in _MESSAGE_ENDS.finditer(body) if not _is_quoted(body, match)), None)
        if channel["name"].lower() == "final":
            parts.append(body[: end.start()] if end else body)
    if parts:
        return "\n".join(parts)
    return _MESSAGE_ENDS.split(text[: channels[0].start()], maxsplit=1)[0]


def _extract_bare_final_channel(text: str) -> str:
    if not _BARE_CHANNEL.match(text):
        return text
    return text.rpartition("assistantfinal")[2] if "assistantfinal" in text else ""


def strip_reasoning(text: str) -> str:
    """Return the text without reasoning in tags.

    All text before a closing tag without an opening tag is reasoning, because the chat template has written the opening
    tag. An opening tag without a closing tag starts reasoning up to the end of the text if it begins a line.
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
    """Return the index of the first end-of-text token, or the text's length if there is none."""
    ends = [next((match.start() for match in _CONTROL.finditer(text) if not _is_quoted(text, match)), len(text))]
    ends += [match.start() for match in [_AMBIGUOUS_END.search(text)] if match]
    return min(ends)


def _is_quoted(text: str, match: re.Match[str]) -> bool:
    """Return whether quotes on the same line enclose the match."""
    before = text[max(0, match.start() - QUOTE_WINDOW) : match.start()].rpartition("\n")[2]
    after = text[match.end() : match.end() + QUOTE_WINDOW].partition("\n")[0]
    return any(before.count(quote) % 2 and quote in after for quote in "\"'`")
