"""Compare texts by their words: normal forms, hedges, repetitions of the query, and a value in a short sentence."""

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
DOUBT_IN_TITLE = re.compile(
    r"(?<=[A-Z])(\w*+\s++)(?:Or|Not|Never|No|Might|Maybe|Perhaps|Unknown|Likely|Without|Except|Error)\b"
    r"|\b(?:Don|Can|Didn|Doesn|Won|Isn)['’]t(?=\s+[A-Z])"
)
"""Matches a word of doubt or denial inside a capitalized title, such as `Don't Look Up`."""
ARTICLES = ("the ", "a ", "an ")
JOINING_WORDS = frozenset(
    "and after before besides alongside plus unlike with than over beat beats replaced replacing succeeded".split()
)
"""Words that connect a value with another one."""
LEADING_WORDS = frozenset("is are was were by named called titled entitled".split())
AMBIGUOUS_NAMES = frozenset("it us up her you them he she we i this that one who what no yes not here there".split())
"""Names that are also common words: in a sentence they count as a name only in quotes or after a verb."""
SENTENCE_END = re.compile(r"\s[^:]+?[.,;|]\s")
PREFACE = re.compile(r"(?:based on|according to|in|from|for|sure|okay|so|thus|therefore)\b[^,;:]*[,!]", re.I)
"""Matches the beginning of a sentence before the name that is its subject."""
COMPARATIVES = frozenset("lower less fewer worse shorter smaller".split())
YEAR = r"\d{4}(?:-\d\d-\d\d)?"
DAY = r"\d{4}-\d\d-\d\d"
DECIMAL = r"\d{1,2}\.\d+"
OPENING_CHARS = "\"'“”‘’«([{"
TRAILING_CHARS = string.whitespace + "\"'”’)]}"
"""Characters that may follow a question mark."""
OPENING_CHAR = r"[\"'“”‘’«(\[{]"
LETTER_REPLACEMENTS = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ß": "ss", "æ": "ae", "œ": "oe", "&": " and "}
)
MIN_REPEATED_WORDS = 3
"""Number of further query words around a value from which the value counts as a repetition of the query."""


def strip_markup(text: str) -> str:
    """Remove Markdown markup and surrounding blanks, and join a label line to the single line after it."""
    bare = re.sub(r"\*\*|__|`", "", text).strip()
    bare = re.sub(r"^#+\s*", "", bare)
    return re.sub(r":[ \t]*\n\s*(?=[^\n]+\Z)", ": ", bare)


@lru_cache(maxsize=2048)
def normalize(text: str) -> str:
    """Return the words in lower case with single blanks: no accents, no punctuation, `&` as `and`."""
    return " ".join(re.findall(r"\w+", strip_accents(text).casefold()))


@lru_cache(maxsize=512)
def strip_accents(text: str) -> str:
    """Remove accents, but keep case and punctuation, so that capitals still mark names."""
    bare = unicodedata.normalize("NFKD", text)
    if not bare.isascii():
        bare = "".join(c for c in bare if not unicodedata.combining(c))
    return bare.translate(LETTER_REPLACEMENTS)


def may_contain(text: str, expected: str) -> bool:
    """Return whether a text contains the letters of a value: a fast test before `value_pattern` is searched."""
    return _join_words(comparison_key(expected)) in _join_words(normalize(text))


@lru_cache(maxsize=4096)
def _join_words(form: str) -> str:
    """Return the normal form without blanks and underscores."""
    return re.sub(r"[\W_]+", "", form)


@lru_cache(maxsize=4096)
def comparison_key(text: str) -> str:
    """Return the normal form without a leading article: names are equal if their keys are."""
    form = normalize(text)
    for article in ARTICLES:
        if form.startswith(article) and len(form) > len(article):
            return form.removeprefix(article)
    return form


def names_equal(expected: str, text: str) -> bool:
    """Return whether two texts are the same name; a question equals only a name with a question mark."""
    return comparison_key(expected) == comparison_key(text) != "" and ("?" in expected or not is_question(text))


def is_question(text: str) -> bool:
    """Return whether the text ends with a question mark."""
    return text.rstrip(TRAILING_CHARS).endswith("?")


def count_words(text: str) -> int:
    """Count the words of a text; words separated by punctuation alone, as in compact JSON, count separately."""
    return len(normalize(text).split())


def contains_words(part: str, text: str) -> bool:
    """Return whether `text` contains the words of `part` in sequence."""
    return f" {normalize(part)} " in f" {normalize(text)} "


def hedges(text: str, denial: bool = True) -> bool:
    """Return whether the text is not definite: alternatives, doubt, a question, an error and, by default, denial."""
    words = normalize(DOUBT_IN_TITLE.sub(r"\1", text))
    doubts = text.rstrip().endswith("?") or DOUBT.search(words) is not None
    return doubts or (denial and denies(text))


def denies(text: str) -> bool:
    """Return whether the text negates something or reports that nothing was found."""
    return DENIAL.search(normalize(DOUBT_IN_TITLE.sub(r"\1", text))) is not None


def gives_bound(text: str) -> bool:
    """Return whether the text states a bound or an estimate in place of a number or date."""
    return BOUND.search(text.lower()) is not None


@lru_cache(maxsize=4096)
def value_pattern(expected: str) -> re.Pattern[str]:
    """Compile a pattern for a value in a text without accents, with the punctuation at the value's ends optional."""
    first, last = re.match(r"[^\w\s]*", expected), re.search(r"[^\w\s]*$", expected)
    before, after = (f"(?:{re.escape(signs.group())})?" if signs and signs.group() else "" for signs in (first, last))
    words = r"[\W_]*".join(map(re.escape, comparison_key(expected).split()))
    return re.compile(rf"(?<!\w){before}{words}(?!\w){after}", re.I)


def strip_query(text: str, query: str) -> str:
    """Remove the query from a text that contains all of it."""
    words = normalize(query).split()
    if len(words) < MIN_REPEATED_WORDS or not contains_words(query, text):
        return text
    echo = r"[\W_]*".join(map(re.escape, words))
    return re.sub(
        rf"(?:\b(?:query|question|task|q)\s*:\s*)?(?:(?<!{OPENING_CHAR}){OPENING_CHAR}++)?(?<!\w){echo}(?!\w)[\"'”’?.!]*",
        "",
        strip_accents(text),
        flags=re.I,
    )


def repeats_query(before: str, value: str, after: str, query: str) -> bool:
    """Return whether the value is part of a repetition: at least `MIN_REPEATED_WORDS` more query words around it."""
    if not contains_words(value, query) or _starts_field(before):
        return False
    nearby = 2 * len(query)
    run, left, right = normalize(value).split(), normalize(before[-nearby:]).split(), normalize(after[:nearby]).split()
    size = len(run) + MIN_REPEATED_WORDS
    while left and len(run) < size and contains_words(" ".join([left[-1], *run]), query):
        run.insert(0, left.pop())
    while right and len(run) < size and contains_words(" ".join([*run, right[0]]), query):
        run.append(right.pop(0))
    return len(run) >= size


def sentence_states(expected: str, text: str, words: int, query: str = "") -> bool:
    """Return whether a sentence with at most `words` other words states the value as its only answer."""
    if len(text.splitlines()) > 1 or not may_contain(text, expected):
        return False
    folded = strip_accents(text)
    if count_words(value_pattern(expected).sub(" ", folded)) > words:
        return False
    for match in value_pattern(expected).finditer(folded):
        before, after = folded[: match.start()], folded[match.end() :]
        if _is_used_as_name(expected, match.group(), folded, before, after) and not repeats_query(
            before, match.group(), after, query
        ):
            rest = f"{before} … {value_pattern(expected).sub('…', after)}"
            fits = count_words(rest) <= words and not hedges(rest)
            return fits and introduces_value(before) and _ends_after_value(after, query)
    return False


def _is_used_as_name(expected: str, matched: str, text: str, before: str, after: str) -> bool:
    """Return whether the match is used as a name and not as a word of the sentence (`It`, `Her`, `Friends`)."""
    if len(comparison_key(expected).split()) > 1:
        return True
    if matched.islower() and not expected.islower() and not text.islower():
        return False
    quoted = re.fullmatch(OPENING_CHAR, before[-1:]) and re.match(r"[\"'”’»)\]]", after)
    last = before.rsplit(maxsplit=1)[-1:]
    verb = last and (last[0].strip().lower() in LEADING_WORDS or last[0].rstrip()[-1] in ":=")
    alone = not before.strip() and re.fullmatch(r"\s*(?:\([^()]*\))?[\s.!]*", after)
    return (
        comparison_key(expected) not in AMBIGUOUS_NAMES
        or (len(matched) > 1 and matched.isupper())
        or bool(quoted or verb or alone)
    )


def introduces_value(before: str) -> bool:
    """Return whether the text before a value introduces it, rather than naming another value."""
    lead = _strip_opening(before).rstrip()
    if re.fullmatch(r"[-–—•*\s]*(?:\d{1,2}[.)])?", lead):  # empty, or the bullet of a list item
        return True
    if ";" in lead or _ends_with_second_label(lead):
        return False
    if PREFACE.fullmatch(lead):
        return True
    last = lead.rsplit(maxsplit=1)[-1]
    if last[-1] in ":=>" or last.lower() in LEADING_WORDS:
        return True
    return last[-1].isalnum() and last[0].islower() and last not in JOINING_WORDS


def _strip_opening(before: str) -> str:
    """Remove the quotes, brackets and article at the end of the text."""
    bare = before.rstrip(OPENING_CHARS)
    article = re.search(r"\b(?:the|a|an)\s+$", bare[-16:], re.I)
    if article is None or (article.start() == 0 and bare[-17:-16].isalnum()):
        return bare
    return bare[: len(bare) - len(article.group())].rstrip(OPENING_CHARS)


def _starts_field(before: str) -> bool:
    """Return whether a colon, an equals sign or a new line precedes the value and its quotes and article."""
    bare = _strip_opening(before)
    lead = bare.rstrip()
    return lead[-1:] in (":", "=") or "\n" in bare[len(lead) :]


def _ends_with_second_label(lead: str) -> bool:
    """Return whether the label at the end of the text follows another labelled value: `Title: X, Director:`."""
    if lead[-1:] not in (":", "="):
        return False
    _, earlier, value = lead[:-1].rpartition(":")
    return bool(earlier) and SENTENCE_END.match(value) is not None


def _ends_after_value(after: str, query: str) -> bool:
    """Return whether the text after a value ends or continues with a verb, not with more of a name or another value."""
    tail = re.sub(r"^[\"'“”‘’»)\]}]+", "", after)
    tail = re.sub(r"^\s*\([^()]*\)", "", tail)
    if re.fullmatch(r"[\s.!]*", tail):
        return True
    tail = re.sub(r"[.!]\s+(?:He|She|It|They|This|His|Her|Its)\s[^;]*$", "", tail) or "."
    opposites = COMPARATIVES & set(normalize(tail).split()) - set(normalize(query).split())
    if re.search(r"[.!;]\s+\w", tail) or (opposites and "than" in tail.split()):
        return False
    other = rf"\s+and\b|,?\s+(?:{'|'.join(JOINING_WORDS)})\s+[A-Z]"
    figure = rf"(?:\s*[-–—,;|:]\s*(?:[\w ]+:\s*)?(?:{YEAR}|{DECIMAL}(?:/10)?)|\s+(?:{DECIMAL}|{DAY}))[\s.!]*$"
    goes_on = rf"\s+[a-z]|\s*,\s+(?:who|which|born|the|a|an|with|released|rated)\s|{figure}|[\s.!]*$"
    return re.match(other, tail) is None and re.match(goes_on, tail) is not None
