"""Texts compared by their words: normal forms, hedges, echoes of the query, and a value inside a short sentence."""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

DOUBT = re.compile(
    r"\b(or|either|maybe|guess|perhaps|possibly|probably|likely|might|may be|could be|unsure|uncertain|unknown"
    r"|vs|versus|as well as|along with|together with|and also|candidates?|formerly|\w*error|\w*exception|traceback)\b"
)
DENIAL = re.compile(
    r"\b(not|neither|nor|never|cannot|unable|failed|without|except|instead of|rather than|other than"
    r"|(?:is|was|are|were|do|does|did|has|have|had|ca|could|would|wo)n t"
    r"|no (?:\w+ ){0,2}(?:found|available|match(?:es|ing)?|results?|information|data))\b"
)
BOUND = re.compile(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|other) than|approximately|roughly|nearly|almost|up to)\b"
    r"|\b(?:over|under|above|below|about|around|circa|after|before|since|until)\s+(?:[a-z]{3,9}\.?\s+)?\$?\d"
    r"|[~≈≥≤]\s*\$?\d|(?<![-=])[<>]=?\s*\$?\d|\d\+(?!\s*\d)"
)
TITLED = re.compile(
    r"(?<=[A-Z])(\w*+\s++)(?:Or|Not|Never|No|Might|Maybe|Perhaps|Unknown|Likely|Without|Except|Error)\b"
    r"|\b(?:Don|Can|Didn|Doesn|Won|Isn)['’]t(?=\s+[A-Z])"
)
"""A word of doubt or denial inside the capitals of a title (`Truth or Dare` is none, `Don't Look Up` is)."""
ARTICLES = ("the ", "a ", "an ")
JOINING = frozenset(
    "and after before besides alongside plus unlike with than over beat beats replaced replacing succeeded".split()
)
"""Words that join a value to another one."""
LEADING = frozenset("is are was were by named called titled entitled".split())
SLIGHT = frozenset("it us up her you them he she we i this that one who what no yes not here there".split())
"""Names that are also words: in a sentence only quotes or a verb before show that the name is meant."""
SENTENCE_END = re.compile(r"\s[^:]+?[.,;|]\s")
PREFACE = re.compile(r"(?:based on|according to|in|from|for|sure|okay|so|thus|therefore)\b[^,;:]*[,!]", re.I)
"""What opens a sentence before the name that is its subject."""
OPPOSITES = frozenset("lower less fewer worse shorter smaller".split())
YEAR = r"\d{4}(?:-\d\d-\d\d)?"
DAY = r"\d{4}-\d\d-\d\d"
DECIMAL = r"\d{1,2}\.\d+"
OPENING = "\"'“”‘’«([{"
ASIDE = string.whitespace + "\"'”’)]}"
"""What may stand after a question mark."""
OPENERS = r"[\"'“”‘’«(\[{]"
LETTERS = str.maketrans({"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ß": "ss", "æ": "ae", "œ": "oe", "&": " and "})
ECHOED = 3
"""A value with so many more words of the query around it is the query's, not an answer."""


def plain(text: str) -> str:
    """The text without Markdown marks and surrounding blanks, a label line joined to the line that follows it."""
    bare = re.sub(r"\*\*|__|`", "", text).strip()
    bare = re.sub(r"^#+\s*", "", bare)
    return re.sub(r":[ \t]*\n\s*(?=[^\n]+\Z)", ": ", bare)


@lru_cache(maxsize=2048)
def norm(text: str) -> str:
    """Lower-case words with single blanks between them: no accents, no punctuation, `&` as `and`."""
    return " ".join(re.findall(r"\w+", fold(text).casefold()))


@lru_cache(maxsize=512)
def fold(text: str) -> str:
    """The text without accents but with its case and punctuation, so that capitals can be seen."""
    bare = unicodedata.normalize("NFKD", text)
    if not bare.isascii():
        bare = "".join(c for c in bare if not unicodedata.combining(c))
    return bare.translate(LETTERS)


def may_hold(text: str, expected: str) -> bool:
    """Whether the letters of a value stand in a text, without which `pattern` finds nothing there."""
    return _letters(key(expected)) in _letters(norm(text))


@lru_cache(maxsize=4096)
def _letters(form: str) -> str:
    """The words of a normal form written together."""
    return re.sub(r"[\W_]+", "", form)


@lru_cache(maxsize=4096)
def key(text: str) -> str:
    """The normal form without a leading article: equal keys are equal names."""
    form = norm(text)
    for article in ARTICLES:
        if form.startswith(article) and len(form) > len(article):
            return form.removeprefix(article)
    return form


def equal(expected: str, text: str) -> bool:
    """Whether two texts are the same name; a question is none."""
    return key(expected) == key(text) != "" and ("?" in expected or not asks(text))


def asks(text: str) -> bool:
    """Whether the text ends as a question."""
    return text.rstrip(ASIDE).endswith("?")


def length(text: str) -> int:
    """How many words the text has; what punctuation alone divides counts apart, as in JSON without blanks."""
    return len(norm(text).split())


def within(part: str, text: str) -> bool:
    """Whether the words of `part` stand together in `text`."""
    return f" {norm(part)} " in f" {norm(text)} "


def hedges(text: str, denial: bool = True) -> bool:
    """Whether the text leaves its answer open: alternatives, doubt, a question, an error and, if it counts, denial."""
    words = norm(TITLED.sub(r"\1", text))
    doubts = text.rstrip().endswith("?") or DOUBT.search(words) is not None
    return doubts or (denial and denies(text))


def denies(text: str) -> bool:
    """Whether the text says what is not so, or that something is not there."""
    return DENIAL.search(norm(TITLED.sub(r"\1", text))) is not None


def bounds(text: str) -> bool:
    """Whether the text gives a bound or an estimate for its number or date instead of the value."""
    return BOUND.search(text.lower()) is not None


@lru_cache(maxsize=4096)
def pattern(expected: str) -> re.Pattern[str]:
    """A regular expression for the value inside a text folded by `fold`, with the signs it begins and ends with."""
    first, last = re.match(r"[^\w\s]*", expected), re.search(r"[^\w\s]*$", expected)
    before, after = (f"(?:{re.escape(signs.group())})?" if signs and signs.group() else "" for signs in (first, last))
    words = r"[\W_]*".join(map(re.escape, key(expected).split()))
    return re.compile(rf"(?<!\w){before}{words}(?!\w){after}", re.I)


def without_echo(text: str, query: str) -> str:
    """The text without the query, where it repeats it whole."""
    words = norm(query).split()
    if len(words) < ECHOED or not within(query, text):
        return text
    echo = r"[\W_]*".join(map(re.escape, words))
    return re.sub(
        rf"(?:\b(?:query|question|task|q)\s*:\s*)?(?:(?<!{OPENERS}){OPENERS}++)?(?<!\w){echo}(?!\w)[\"'”’?.!]*",
        "",
        fold(text),
        flags=re.I,
    )


def echoes(before: str, value: str, after: str, query: str) -> bool:
    """Whether the value stands in a run of at least `ECHOED` further words of the query; a colon ends a run."""
    if not within(value, query) or _begins_a_field(before):
        return False
    nearby = 2 * len(query)
    run, left, right = norm(value).split(), norm(before[-nearby:]).split(), norm(after[:nearby]).split()
    size = len(run) + ECHOED
    while left and len(run) < size and within(" ".join([left[-1], *run]), query):
        run.insert(0, left.pop())
    while right and len(run) < size and within(" ".join([*run, right[0]]), query):
        run.append(right.pop(0))
    return len(run) >= size


def sentence_holds(expected: str, text: str, words: int, query: str = "") -> bool:
    """Whether a sentence of at most `words` other words names the value as its answer and as the only one."""
    if len(text.splitlines()) > 1 or not may_hold(text, expected):
        return False
    folded = fold(text)
    if length(pattern(expected).sub(" ", folded)) > words:
        return False
    for hit in pattern(expected).finditer(folded):
        before, after = folded[: hit.start()], folded[hit.end() :]
        if _meant(expected, hit.group(), folded, before, after) and not echoes(before, hit.group(), after, query):
            rest = f"{before} … {pattern(expected).sub('…', after)}"
            fits = length(rest) <= words and not hedges(rest)
            return fits and leads_up(before) and _closes(after, query)
    return False


def _meant(expected: str, found: str, text: str, before: str, after: str) -> bool:
    """Whether these letters are the name and not a word of the sentence (`It`, `Her`, `Friends`)."""
    if len(key(expected).split()) > 1:
        return True
    if found.islower() and not expected.islower() and not text.islower():
        return False
    quoted = re.fullmatch(OPENERS, before[-1:]) and re.match(r"[\"'”’»)\]]", after)
    last = before.rsplit(maxsplit=1)[-1:]
    verb = last and (last[0].strip().lower() in LEADING or last[0].rstrip()[-1] in ":=")
    alone = not before.strip() and re.fullmatch(r"\s*(?:\([^()]*\))?[\s.!]*", after)
    return key(expected) not in SLIGHT or (len(found) > 1 and found.isupper()) or bool(quoted or verb or alone)


def leads_up(before: str) -> bool:
    """Whether what stands before a value leads up to it, rather than naming another one."""
    lead = _without_opening(before).rstrip()
    if re.fullmatch(r"[-–—•*\s]*(?:\d{1,2}[.)])?", lead):  # nothing, or the mark of a list's item
        return True
    if ";" in lead or _ends_a_later_field(lead):
        return False
    if PREFACE.fullmatch(lead):
        return True
    last = lead.rsplit(maxsplit=1)[-1]
    if last[-1] in ":=>" or last.lower() in LEADING:
        return True
    return last[-1].isalnum() and last[0].islower() and last not in JOINING


def _without_opening(before: str) -> str:
    """The text without the quotes, the brackets and the article at its end."""
    bare = before.rstrip(OPENING)
    article = re.search(r"\b(?:the|a|an)\s+$", bare[-16:], re.I)
    if article is None or (article.start() == 0 and bare[-17:-16].isalnum()):
        return bare
    return bare[: len(bare) - len(article.group())].rstrip(OPENING)


def _begins_a_field(before: str) -> bool:
    """Whether a colon, an equals sign or a new line stands before the value and its quotes and article."""
    bare = _without_opening(before)
    lead = bare.rstrip()
    return lead[-1:] in (":", "=") or "\n" in bare[len(lead) :]


def _ends_a_later_field(lead: str) -> bool:
    """Whether the label at the text's end follows another label with its value: `Title: X, Director:`."""
    if lead[-1:] not in (":", "="):
        return False
    _, earlier, value = lead[:-1].rpartition(":")
    return bool(earlier) and SENTENCE_END.match(value) is not None


def _closes(after: str, query: str) -> bool:
    """Whether what follows the value ends or goes on with a verb, rather than with more of a name or another value."""
    tail = re.sub(r"^[\"'“”‘’»)\]}]+", "", after)
    tail = re.sub(r"^\s*\([^()]*\)", "", tail)
    if re.fullmatch(r"[\s.!]*", tail):
        return True
    tail = re.sub(r"[.!]\s+(?:He|She|It|They|This|His|Her|Its)\s[^;]*$", "", tail) or "."
    opposites = OPPOSITES & set(norm(tail).split()) - set(norm(query).split())
    if re.search(r"[.!;]\s+\w", tail) or (opposites and "than" in tail.split()):
        return False
    other = rf"\s+and\b|,?\s+(?:{'|'.join(JOINING)})\s+[A-Z]"
    figure = rf"(?:\s*[-–—,;|:]\s*(?:[\w ]+:\s*)?(?:{YEAR}|{DECIMAL}(?:/10)?)|\s+(?:{DECIMAL}|{DAY}))[\s.!]*$"
    goes_on = rf"\s+[a-z]|\s*,\s+(?:who|which|born|the|a|an|with|released|rated)\s|{figure}|[\s.!]*$"
    return re.match(other, tail) is None and re.match(goes_on, tail) is not None
