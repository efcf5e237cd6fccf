"""Reads ini files with Python's configparser, set up as fail2ban sets it up.

usage: read_ini.py < TEXTS
TEXTS is a JSON list of file contents. Prints a JSON list of {"defaults": …, "sections": …},
values raw, or {"error": …}.
"""
import configparser
import json
import os
import sys
import tempfile


def read(text):
    parser = configparser.ConfigParser(inline_comment_prefixes=";", interpolation=None)
    handle, path = tempfile.mkstemp()
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode("utf-8"))
    try:
        parser.read(path, encoding="utf-8")
    except configparser.Error as error:
        return {"error": type(error).__name__}
    finally:
        os.unlink(path)
    sections = [[name, list(parser._sections[name].items())] for name in parser.sections()]
    return {"defaults": list(parser.defaults().items()), "sections": sections}


json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
