"""Asks the installed fail2ban where the dates of lines are.

Reads one JSON object from standard input:
    {"compact": PATTERN, "cases": [{"patterns": TEXT|null, "zone": TEXT|null,
                                    "lines": [[NOW, LINE], …]}, …]}
and prints, for each line, one JSON array: cut begin and end (bytes), time or null, name of the
template, and the record of all templates with hits as [position, name, hits]. A line without a
date prints null. "compact" takes the place of the one default pattern that fail2ban 1.1 changed.
"""

import json
import re
import sys
import types

from fail2ban.server import datedetector
from fail2ban.server.mytime import MyTime
from fail2ban.server.utils import Utils

now = 0
datedetector.time = types.SimpleNamespace(time=lambda: now)
DEFAULTS = list(datedetector.DateDetectorCache.DEFAULT_TEMPLATES)


def fresh(patterns, zone):
    """A detector that shares nothing with those before it."""
    datedetector.DD_patternCache = Utils.Cache(maxCount=1000, maxTime=3600)
    datedetector.DateDetectorCache.DEFAULT_TEMPLATES = list(DEFAULTS)
    datedetector.DateDetector._defCache = datedetector.DateDetectorCache()
    detector = datedetector.DateDetector()
    detector.default_tz = zone
    lines = re.split("\n+", patterns or "")
    for pattern in filter(bool, map(str.strip, lines)):
        detector.appendTemplate(pattern)
    return detector


def name(template):
    """Two directives are called one way or the other as the hash seed falls."""
    return template.name.replace("Ex%k", "%Exk").replace("Ex%l", "%Exl")


def answer(detector, line):
    match, template = detector.matchTime(line)
    if match is None:
        return None
    start, end = match.span(1)
    if start < 0:
        start = end = 0
    at = None
    if start < end:
        try:
            at = detector.getTime(line[start:end], (match, template))
        except Exception:  # an unknown zone, a day without a month: no date either
            at = None
        at = at and at[0]
    ranks = [[i, name(t), t.hits] for i, t in enumerate(detector.templates) if t.hits]
    size = lambda text: len(text.encode())
    return [size(line[:start]), size(line[:end]), at, name(template), ranks]


def main():
    global now
    asked = json.load(sys.stdin)
    DEFAULTS[13] = asked["compact"]
    for case in asked["cases"]:
        detector = fresh(case["patterns"], case["zone"])
        for now, line in case["lines"]:
            MyTime.setTime(now)
            print(json.dumps(answer(detector, line)))


main()
