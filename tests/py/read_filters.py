"""Reads filters with fail2ban's own reader and prints what it makes of them, as JSON.

usage: read_filters.py CONFDIR < REQUESTS
REQUESTS is a JSON list of {"name": …, "file": path or null, "options": {…}, "backend": …}.
Prints a JSON list, one object (or {"error": …}) for each request.
"""
import json
import logging
import resource
import signal
import sys

logging.disable(logging.CRITICAL)
from fail2ban.client.filterreader import FilterReader


def read(request, confdir):
    options = dict(request["options"])
    if request.get("file"):
        reader = FilterReader(request["file"], "jail", options, share_config={}, basedir=None)
        reader.setBaseDir(None)
        done = reader.readexplicit()
    else:
        reader = FilterReader(request["name"], "jail", options, share_config={}, basedir=confdir)
        done = reader.read()
    if not done:
        return {"error": "not read"}
    reader.applyAutoOptions(request["backend"])
    reader.getOptions(None)
    combined = reader.getCombined()
    answer = {}
    for key in ("usedns", "prefregex", "datepattern", "maxlines"):
        value = combined.get(key)
        answer[key] = None if value is None else str(value)
    for key in ("failregex", "ignoreregex", "journalmatch"):
        value = combined.get(key) or ""
        answer[key] = [line for line in value.split("\n") if line != ""]
    return answer


def expired(number, frame):
    raise TimeoutError("takes for ever")


def main():
    # Options that double each other grow without bound there.
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    signal.signal(signal.SIGALRM, expired)
    answers = []
    for request in json.load(sys.stdin):
        try:
            signal.setitimer(signal.ITIMER_REAL, 2)
            answer = read(request, sys.argv[1])
            signal.setitimer(signal.ITIMER_REAL, 0)
            if len(str(answer)) > 1 << 20:
                answer = {"error": "too large"}
            answers.append(answer)
        except (Exception, MemoryError) as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            answers.append({"error": "%s: %s" % (type(error).__name__, error)})
    json.dump(answers, sys.stdout)


main()
