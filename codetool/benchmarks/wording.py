"""Texts compared by their words: normal forms, hedges, and a value inside a short sentence."""

from __future__ import annotations

import re
import unicodedata

DOUBT = re.compile(
    r"\b(or|either|maybe|perhaps|possibly|probably|likely|might|may be|could be|unsure|uncertain|unknown|don t know"
    r"|vs|versus|as well as|along with|together with|and also|candidates?|formerly|\w*error|\w*exception|traceback)\b"
)
DENIAL = re.compile(r"\b(not|neither|nor|cannot|can t|isn t|wasn t|didn t)\b")
BOUND = re.compile(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|other) than|approximately|roughly|nearly|almost|up to)\b"
    r"|\b(?:over|under|above|below|about|around|circa|after|before|since|until)\s+(?:[a-z]{3,9}\.?\s+)?\$?\d"
)
ARTICLES = ("the ", "a ", "an ")
JOINING = ("and", "after", "before", "besides", "alongside", "plus", "unlike", "with")
"""Words that join a value to another one."""
YEAR = r"\d{4}(?:-\d\d-\d\d)?"
DECIMAL = r"\d{1,2}\.\d+"
OPENERS = r"[\"'“”‘’«(\[]"


def plain(text: str) -> str:
    """The text without Markdown marks and surrounding blanks, a label line joined to the line that follows it."""
    bare = re.sub(r"\*\*|__|`", "", text).strip()
    bare = re.sub(r"^#+\s*", "", bare)
    return re.sub(r":[ \t]*\n\s*(?=[^\n]+\Z)", ": ", bare)


def norm(text: str) -> str:
    """Lower-case words with single blanks between them: no accents, no punctuation, `&` as `and`."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    bare = bare.replace("&", " and ").replace("ø", "o").replace("ł", "l").replace("ß", "ss")
    return " ".join(re.findall(r"\w+", bare))


def key(text: str) -> str:
    """The normal form without a leading article: equal keys are equal names."""
    form = norm(text)
    for article in ARTICLES:
        if form.startswith(article) and len(form) > len(article):
            return form.removeprefix(article)
    return form


def equal(expected: str, text: str) -> bool:
    """Whether two texts are the same name."""
    return key(expected) == key(text) != ""


def hedges(text: str, denial: bool = True) -> bool:
    """Whether the text leaves its answer open: alternatives, doubt, a question, an error and, if it counts, denial."""
    words = norm(text)
    doubts = text.rstrip().endswith("?") or DOUBT.search(words) is not None
    return doubts or (denial and DENIAL.search(words) is not None)


def bounds(text: str) -> bool:
    """Whether the text gives a bound or an estimate for its number or date instead of the value."""
    return BOUND.search(text.lower()) is not None


def pattern(expected: str) -> str:
    """A regular expression for the value inside a text folded by `fold`."""
    return r"(?<!\w)" + r"[\W_]*".join(re.escape(word) for word in key(expected).split()) + r"(?!\w)"


def fold(text: str) -> str:
    """The text without accents but with its case and punctuation, so that capitals can be seen."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return bare.replace("&", "and").replace("ø", "o").replace("ł", "l")


def sentence_holds(expected: str, text: str, words: int) -> bool:
    """Whether a sentence of at most `words` other words names the value once, as its answer and as the only one."""
    folded = fold(text)
    found = list(re.finditer(pattern(expected), folded, re.I))
    if len(found) != 1 or len(text.splitlines()) > 1:
        return False
    before, after = folded[: found[0].start()], folded[found[0].end() :]
    rest = f"{before} … {after}"
    if len(rest.split()) - 1 > words or hedges(rest):
        return False
    return leads_up(before) and _closes(after)


def leads_up(before: str) -> bool:
    """Whether what stands before a value leads up to it, rather than naming another one."""
    lead = re.sub(rf"{OPENERS}*(\b(?:the|a|an)\s+)?{OPENERS}*$", "", before, flags=re.I).rstrip()
    if re.fullmatch(r"[-–—•*\s]*(?:\d{1,2}[.)])?", lead):  # nothing, or the mark of a list's item
        return True
    if ";" in lead:
        return False
    last = lead.split()[-1]
    return last[-1] in ":=>" or (last[-1].isalnum() and last[0].islower() and last not in JOINING)


def _closes(after: str) -> bool:
    """Whether what follows the value ends or goes on with a verb, rather than with more of a name or another value."""
    tail = re.sub(r"^[\"'“”‘’»)\]]+", "", after)
    if re.fullmatch(r"[\s.!]*", tail):
        return True
    if re.search(r"[.!;]\s+\w", tail):
        return False
    verb, aside, parenthesis = r"\s+[a-z]", r"\s*,\s+(?:who|which|born|the|a|an)\s", r"\s*\([^()]*\)[\s.!]*$"
    other = rf"\s+(?:and\b|(?:{'|'.join(JOINING)})\s+[A-Z])"
    figure = rf"(?:\s*[-–—,;|:]\s*(?:[\w ]+:\s*)?(?:{YEAR}|{DECIMAL})|\s+{DECIMAL})[\s.!]*$"
    return re.match(other, tail) is None and re.match(f"{verb}|{aside}|{parenthesis}|{figure}", tail) is not None
