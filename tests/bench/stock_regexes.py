#!/usr/bin/python3
"""Prints failregexes of the installed fail2ban, spelled out, as a JSON list.

  /usr/bin/python3 stock_regexes.py 50 [/etc/fail2ban]

Run by `run.py` with the interpreter that has fail2ban's package. The choice is the same each time
and spread over the filters: the first failregex of every filter in the order of names, then the
second of every filter, and so on; of each round as many as are still wanted, evenly spaced. Left out
is what cannot stand in one plain list: several lines at once, text that an ini file would
cut, and what fail2ban's own compiler refuses. The list is for a temporary file, never for this tree.
"""

import configparser
import glob
import json
import logging
import os
import sys

from fail2ban.client.filterreader import FilterReader
from fail2ban.server.failregex import FailRegex


def failregexes(base, name):
    reader = FilterReader(name, "bench", {}, basedir=base)
    try:
        if not reader.read():
            return []
        reader.getOptions({})
    except configparser.Error:  # half a filter, made to be included by others
        return []
    found = []
    for command in reader.convert():
        if command[2] == "addfailregex":
            found.extend(command[3] if isinstance(command[3], list) else [command[3]])
    return found


def stands_in_a_list(regex):
    if not regex or any(part in regex for part in ("\n", r"\n", " ;", "SKIPLINES")):
        return False
    try:
        FailRegex(regex)
    except Exception:  # whatever its compiler does not like
        return False
    return True


def evenly(items, count):
    return [items[i * len(items) // count] for i in range(count)]


def main():
    logging.disable(logging.CRITICAL)
    count = int(sys.argv[1])
    base = sys.argv[2] if len(sys.argv) > 2 else "/etc/fail2ban"
    filters = sorted(glob.glob(os.path.join(base, "filter.d", "*.conf")))
    names = [os.path.splitext(os.path.basename(path))[0] for path in filters]
    by_filter = [[r for r in failregexes(base, name) if stands_in_a_list(r)] for name in names]
    chosen = []
    for depth in range(max(map(len, by_filter), default=0)):
        rank = [regexes[depth] for regexes in by_filter if len(regexes) > depth]
        rank = [r for r in dict.fromkeys(rank) if r not in chosen]
        chosen.extend(evenly(rank, min(len(rank), count - len(chosen))))
        if len(chosen) == count:
            break
    if len(chosen) < count:
        sys.exit("only %d failregexes below %s" % (len(chosen), base))
    json.dump(chosen, sys.stdout)


if __name__ == "__main__":
    main()
