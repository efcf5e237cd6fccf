"""Searches texts with Python's re.

Reads a JSON array of [PATTERN, [TEXT, …]] from standard input and prints, for each text, one JSON
array: the spans of all groups (characters; [-1, -1] where a group took no part), or null. For a
pattern that does not compile it prints one line: "error".
"""

import json
import re
import sys
import warnings

warnings.simplefilter("ignore")
for pattern, texts in json.load(sys.stdin):
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError):
        print('"error"')
        continue
    for text in texts:
        match = compiled.search(text)
        spans = match and [match.span(i) for i in range(compiled.groups + 1)]
        print(json.dumps(spans))
