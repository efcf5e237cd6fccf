"""Reads filters with fail2ban's own reader and prints what it makes of them, as JSON.

usage: read_filters.py CONFDIR < REQUESTS
REQUESTS is a JSON list of {"name": …, "file": path or null, "jail": true or false,
"options": {…}, "backend": …}.
Prints a JSON list, one object (or {"error": …}) for each request.
"""
import inspect
import json
import logging
import resource
import signal
import sys

logging.disable(logging.CRITICAL)
from fail2ban.client.filterreader import FilterReader
from fail2ban.client.jailreader import JailReader


def read_jail(request, confdir):
    jail = JailReader(request["name"], force_enable=True, share_config={}, basedir=confdir)
    jail.read()
    if "addOpts" in inspect.signature(jail.getOptions).parameters:
        jail.getOptions(addOpts=dict(request["options"], backend=request["backend"]))
    else:
        jail.getOptions()
    answer = {key: None for key in ("usedns", "prefregex", "datepattern", "maxlines")}
    answer.update({"failregex": [], "ignoreregex": [], "journalmatch": []})
    for command in jail.convert(allow_no_files=True):
        if command[0] == "config-error":
            return {"error": command[1]}
        name, values = command[2] if len(command) > 2 else "", command[3:]
        if name in ("addfailregex", "addignoreregex"):
            answer[name[3:]] += values[0] if command[0] == "multi-set" else values
        elif name == "addjournalmatch":
            answer["journalmatch"].append(" ".join(values))
        elif name in answer:
            answer[name] = str(values[0])
    return answer


def read(request, confdir):
    if request.get("jail"):
        return read_jail(request, confdir)
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


def answer_to(request):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 2)
            answer = read(request, sys.argv[1])
            return {"error": "too large"} if len(str(answer)) > 1 << 20 else answer
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    # The alarm may come while another error is on its way, too.
    except (Exception, MemoryError) as error:
        return {"error": "%s: %s" % (type(error).__name__, error)}


def main():
    # Options that double each other grow without bound there.
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    signal.signal(signal.SIGALRM, expired)
    answers = []
    for request in json.load(sys.stdin):
        answers.append(answer_to(request))
    json.dump(answers, sys.stdout)


main()
