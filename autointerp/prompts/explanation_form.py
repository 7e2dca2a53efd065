"""Tells an explanation from other text in its place by its form: an explanation names a thing, the other text speaks to its reader.

The same words occur in both: "wait," is an explanation's subject in `"wait," and similar words`, and reasoning in `Wait, the last text is
different`. So words alone decide nothing. A clause counts against a text if it opens a sentence and goes on as a clause does, with an
object or a task verb; a phrase that is quoted, or followed by a comma, "and", "or" or a preposition, is mentioned and not said.
"""

from __future__ import annotations

import json
import re

_OPENERS = r"(?:sure|sure thing|got it|understood|ok|okay|certainly|of course|alright|absolutely|great|yes)"
_PAUSES = rf"(?:{_OPENERS}|h+m+|wait|well|so|now|first|next|actually|but|hold on)"
_VERBS = (
    r"(?:look|see|think|analy[sz]e|examine|start|consider|check|find|break|try|review|identify|figure|re-?read|take|explain|describe|work"
    r"|note|notice|compare|begin|determine|list|understand|guess|believe|suspect|observe|conclude|infer|assist|help|comply|provide|answer"
    r"|respond|fulfill|engage|summari[sz]e|go|need|say|tell|want)"
)
_MATERIAL = r"(?:examples?|texts|tokens|windows|data|evidence|information|contexts?|snippets?|sentences|excerpts?|explanations?|patterns?)"
_DEICTIC = r"(?:the|these|this|those|that|it|they|all|each|every|most|some|i|we|maybe|perhaps|what|there|here)"
_SAID = r"(?!(?:and|or|in|at|as|before|after|followed|nor|plus)\b)\w"
"""The beginning of a word that goes on with a clause, and not with a description of the words before it."""
_LEAD = rf"(?:{_PAUSES}\s*[,!.:…-]*\s+)*"
_CLAUSES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Sure! Rivers.   Sure, here it is.   Okay, so the tokens are rivers.
        rf"^{_OPENERS}\s*[!.:]\s+{_SAID}",
        rf"^{_PAUSES}\s*[,!.…-]*\s+{_LEAD}here(?:'s| is| are| it is| you go)\b",
        rf"^{_PAUSES}\s*(?:[,!.…—\u2013-]|\.\.\.)\s+{_LEAD}{_DEICTIC}\s+{_SAID}",
        rf"^{_PAUSES}\s*[,.!…—\u2013-]+\s+(?:no|right|maybe|tricky)\s*[,.!]\s+{_DEICTIC}\s+{_SAID}",
        r"^h+m+\b[^\"]*[.?]\s+\w",
        rf"[.?!…,:-]\s+(?:the|these|all|both|each) (?:\w+ )?{_MATERIAL} (?:are|is|have|has|seems?|appears?|names?|refers?|relates?|shares?)\b",
        rf"^it (?:seems|looks|appears) (?:that|like|to be|to)\s+{_SAID}",
        rf"^{_PAUSES},? the (?:marked|common|feature|pattern|{_MATERIAL})\b",
        # Here is the explanation: rivers.
        r"^here(?:'s| is| are) (?:the|my|your|an?|one) (?:\w+ ){0,2}(?:explanation|answer|analysis|phrase|summary|description|response)\s*"
        r"(?:[:.!]|of the\b|for the\b|that\b|describing\b|$)",
        r"^here (?:you go|it is)\s*(?:[:.!]|$)",
        rf"^(?:the |my |final )*(?:answer|explanation|reasoning|analysis)(?: is)?\s*:\s+{_SAID}",
        r"^my (?:answer|explanation|reasoning|analysis|conclusion|guess) (?:is|would be)\b",
        # Let me look at the examples.   Let's see what they share.
        rf"^{_LEAD}(?:let me|let us|let's)(?: \w+ly| first| now| also| just)? {_VERBS}(?:\s+(?:at {_DEICTIC}\b|{_SAID})|\s*(?:\.\.\.|…|[.:]\s+\w))",
        # I think these are rivers.   We need to find what they share.   I cannot help with that.   As an AI, I do not.
        rf"^{_LEAD}(?:i|we)(?:'m|'ll|'ve|'d)?(?: \w+(?:n't)?){{0,2}}? (?:to )?{_VERBS}(?:ing)? (?:to {_VERBS}\b|(?:that |at |into )?{_DEICTIC}\b(?!,)|with\b|you\b)",
        r"^(?:i'd|i would) say\b(?!,| and\b| or\b)",
        r"^(?:i|we) (?:must|have to) (?:decline|refuse)\b|^i (?:don't|do not) (?:know\.?$|have (?:enough|sufficient)\b)",
        rf"^{_LEAD}(?:i|we)(?:'m| am|'re| are) (?:asked|given|looking|unable|not able|going to)\b",
        rf"^{_LEAD}(?:i|we) (?:can'?t|cannot|can not|won't|will not|could not|couldn't|do not|don't) {_VERBS}\b",
        r"^(?:i'm |i am |we are )?(?:very |so )?(?:sorry|apologies|i apologi[sz]e|afraid|unfortunately)\b[,.;]? (?:but )?(?:i|we|that|this|there|the)\b",
        r"^as an? (?:ai|large|language)\b[\w ]*,? (?:i|we)\b",
        rf"^(?:unable|not able|impossible|not possible) to {_VERBS}\b",
        r"^no (?:explanation|answer|noun phrase)\b(?: (?:is|was|can|could|available|possible|provided|given)\b|\.?$)",
        r"^(?:this|the|your) (?:request|content|prompt|question)s? (?:is|are|violates?|cannot|can't|seems?|asks?)\b",
        # The user wants a noun phrase.   Looking at the examples, rivers.   To find the pattern, compare them.
        r"^the user (?:wants|asks|asked|is asking|requests|requested|needs|provided|gave|has given|has provided) (?:me|us|for|an?|the|to|that)\b",
        # "in texts about rivers, lakes" says which texts, and not that the given ones were read.
        rf"^{_LEAD}(?!(?:across|from|in) (?!{_DEICTIC} )(?:\w+ )?{_MATERIAL} (?:about|by|on|with|where)\b)"
        rf"(?:based on|looking at|after \w+ing|given|judging by|considering|from|across|in) (?:\w+ ){{0,3}}{_MATERIAL}\b[^,]{{0,30}},",
        rf"^to (?:find|determine|explain|understand|identify)\b[^,]*\b(?:{_MATERIAL}|feature|neuron|marked)\b",
        r"^(?:step|thought)\s*\d*\s*:\s+(?!and\b|or\b)\w",
        # ... rivers. Wait, the third is a city.   Rivers? No, cities.
        rf"[.?!…]\s+(?:but )?(?:wait|h+m+|actually|no|maybe)\s*(?:[,.…-]|\.\.\.)+\s*{_SAID}",
        rf"[.?!…]\s+(?:so |now |but )?(?:i|we)(?: \w+)? {_VERBS}\b",
        rf"[.?!…]\s+(?:let me|let us|let's) {_VERBS}\b",
    )
)
_CONJUNCTION = r"\s*(?:and|or|to|,|/|&|\.\.\.|…)?\s*"
_WRAPPED = re.compile(
    rf"<(think|thinking|reasoning|thought|answer|explanation|response|final|output)>(?!{_CONJUNCTION}</\1>).+</\1>"
    r"|^</?(?:think|thinking|reasoning|thought)>(?!\s*(?:and|or|,)\b)(?!.*\b(?:tags?|tokens?|markers?|delimiters?|elements?|blocks?|sections?)\b)"
    r"|^<\|\w+\|>(?!\s*(?:and|or|,|/)).*<\|\w+\|>\s*\w+(?: \w+)*$|[\w.]<\|\w+\|>$|^```\w*\s*\{|^```.*```$",
    re.IGNORECASE | re.DOTALL,
)
_DEBRIS = re.compile(
    r"^[{[]?\s*[\"']?explanation[\"']\s*:\s*[\"']|^[^{]*\"\s*}$|^[{}[\],:;\"'`\s]*$|^\{\s*\"\w+\"\s*:\s*\"[^\"]*$"
)
_PLACEHOLDERS = frozenset(
    [
        "null",
        "none",
        "n/a",
        "na",
        "undefined",
        "string",
        "todo",
        "tbd",
        "to be determined",
        "object object",
        "explanation",
        "/explanation",
        "the explanation",
        "your explanation here",
        "noun phrase",
        "one noun phrase",
    ]
)
_PARROTED = re.compile(
    r"one noun phrase, at most|what are the marked tokens|have in common that the silent|strength 0-10|</?(?:activating|silent)>"
    r"|\w<<(?!\s*(?:and|or|,|/)?\s*>>)[^<>]+>>|an earlier answer was refused",
    re.IGNORECASE,
)
_TASK_TERMS = re.compile(
    r"\bactivating (?:token|text|window|example|word)s?\b"
    r"|\b(?:the|these|those|all|most|both) (?:(?:marked|silent|active|activated) (?:tokens|texts|examples)|(?:marked|silent) windows)\b(?! of\b)",
    re.IGNORECASE,
)


def speaks_of_the_task(text: str) -> bool:
    """Whether the text names the windows of the experiment instead of their content."""
    return _TASK_TERMS.search(text) is not None


def is_no_explanation(text: str) -> bool:
    """Whether the text is reasoning, a preamble, a refusal, a part of the prompt or a piece of JSON, and no explanation."""
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    bare = text.strip(" .\"'`*<>[]{}()").casefold()
    if bare in _PLACEHOLDERS or (not any(map(str.isalnum, bare)) and not _names_symbols(text)):
        return True
    if _is_json(text) or any(pattern.search(text) for pattern in (_WRAPPED, _DEBRIS, _PARROTED)):
        return True
    return any(pattern.search(text) for pattern in _CLAUSES)


def unquoted(text: str) -> str:
    """A text of three words or more without the quotation marks that enclose the whole of it; any other text unchanged."""
    for mark in "\"'`":
        if text.count(mark) == 2 and text[0] == text[-1] == mark and len(text.split()) >= 3:
            return text[1:-1].strip()
    return text


def _names_symbols(text: str) -> bool:
    """Whether the text is a symbol, such as an emoji, and not only quotation marks, brackets and dots."""
    return bool(text.strip("{}[]()\"'`.,:;-_ …*")) and not text.isspace()


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
