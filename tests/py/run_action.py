"""Runs one action of a fail2ban tree through fail2ban's own classes, for comparison.

Usage: run_action.py TREE JAIL FILE OPTIONS-AS-JSON ORDERS-AS-JSON
An order is [verb, ip, time, bantime, failures, count, restored, matches, fields].
"""
import json
import logging
import sys

from fail2ban.client.actionreader import ActionReader
from fail2ban.server.jail import Jail
from fail2ban.server.ticket import BanTicket

logging.disable(logging.CRITICAL)
tree, jail_name, file, options, orders = sys.argv[1:6]
options = json.loads(options)
reader = ActionReader(file, jail_name, options, basedir=tree)
reader.setBaseDir(tree)
reader.read()
reader.getOptions({})
jail = Jail(jail_name, backend="polling")
action = None
for command in reader.convert():
    if command[2] == "addaction":
        jail.actions.add(command[3])
        action = list(jail.actions.values())[-1]
    else:
        for name, value in command[4]:
            setattr(action, name, value)
jail.actions.setBanTime(600)


def info(ip, time, bantime, failures, count, restored, matches, fields):
    ticket = BanTicket(ip, time, matches)
    ticket.setAttempt(failures)
    ticket.setBanTime(bantime)
    ticket.setBanCount(count)
    ticket.restored = restored
    for name, value in fields:
        ticket.setData(name, value)
    return ticket, jail.actions._getActionInfo(ticket)


held = {}
action.start()
for verb, *rest in json.loads(orders):
    if verb == "stop":
        if action.actionflush:
            action.flush()
        else:
            for about in list(held.values()):
                try:
                    action.unban(about)
                except RuntimeError:
                    pass
        action.stop()
        continue
    ticket, about = info(*rest)
    if getattr(action, "norestored", False) and ticket.restored:
        continue
    try:
        if verb == "ban":
            action.ban(about)
            held[rest[0]] = about
        elif verb == "prolong":
            if action._prolongable:
                action.prolong(about)
        else:
            action.unban(about)
            held.pop(rest[0], None)
    except RuntimeError:
        pass
