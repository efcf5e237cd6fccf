"""Takes option lists apart with fail2ban's own functions.

usage: read_options.py < TEXTS
Prints for each text of the JSON list {"split": […], "one": [name, {…}] or null if refused}.
"""
import json
import sys

from fail2ban.helpers import extractOptions, splitWithOptions


def one(text):
    try:
        name, options = extractOptions(text)
        return [name, list(options.items())]
    except ValueError:
        return None


texts = json.load(sys.stdin)
answers = [{"split": splitWithOptions(text), "one": one(text.strip())} for text in texts]
json.dump(answers, sys.stdout)
