"""Prints what Python's re makes of expressions, one JSON object a line.

usage: patterns.py own | stock [FAIL2BAN_ROOT]

own:    expressions and texts of our own that lean on every corner of the dialect
stock:  the expressions of an installed fail2ban over its sample lines, whole and damaged
"""
import json, os, random, re, sys

OWN = [
    r"^a$", r"a\Z", r"a$\n?", r"(?:a|b)$", r"^\s*(?P<x>\S+)\s*$", r"\<x\>", r"[^[]+", r"[a&&b]+", r"[a~~b]+", r"[+--]+",
    r"[]a]+", r"[^]a]+", r"x{,3}y", r"x{2}", r"x{2,}", r"x{a}", r"{x}", r"}{", r"x{}", r"(?P<q>['\"]).*?(?P=q)", r"(a)?(?(1)b|c)",
    r"(?P<n>a)?(?(n)b|c)d", r"(?i)AbC", r"(?i:b)C", r"\bfoo\b", r"\Boo", r"(?<=a)b", r"(?<!a)b", r"a(?!b)", r"a(?=b)", r"\x41\u00e9", r"\101",
    r"(a)(b)\2\1", r"\d+", r"\w+", r"[\w.-]+@[\w.-]+", r"[^\W\d]+", r"[\s\S]", r".+", r".*?b", r"(?s).+", r"(?m)^b$", r"a*?b", r"a++b", r"(?>a+)b",
    r"a|ab|abc", r"(?:a|ab)(?:c|bcd)", r"(?:(?:a)|b)*c", r"(?P<x>a)|(?P<y>b)", r"(x+x+)+y", r"\.", r"\-\_\@\/\ \"", r"(?#note)a", r"a(?#note)*b", r"[\]\\]",
    r"[\x00-\x1f]", r"\t", r"[a-]+", r"[-a]+", r"[a\-z]+", r"\S+$", r"[^\n]+$", r"(?x) a b # c", r"()", r"(?:)", r"a||b", r"|a", r"(?:a$|b)c", r"\$", r"\^",
    r"^$", r"^b?$", r"\B$", r"\B\Z", r"(?:a|$)^", r"(?P<x>.+$)", r"(?P<x>a|$)", r"(a$)$", r"a$\Z", r"a$\B", r"$^", r"$(?:)$",
    r"(?P<user>.*?) from (?P<ip>\S+)(?: port \d+)?$", r"^(?:\[\])?\s*(?:\S+ )?x", r"[[:alpha:]]", r"\0", r"[\b]", r"(?u)\w", r"(?a:\w+)",
]
TEXTS = [
    "", "a", "b", "ab", "abc", "abcd", "aab", "aabc", "c", "bd", "acd", "abd", "cd", "x", "<x>", "xy", "xxxy", "xxxxxxx", "x{a}", "{x}", "}{", "x{}", "'q'", "\"q\" 'r'",
    "foo", "a foo b", "AbC", "aBC", "abC", "bC", "A\u00e9", "abba", "abab", "12 \u0663\u0664", "w\u00f6rd_1", "\u00e9t\u00e9", "user@host.example", "-+-", "[x]", "]", "\\", "\x1c", "a\x1cb", "a\u00a0b", "a\u2003b",
    "root from 192.0.2.1 port 22", "root from a from b port 1", " x", "[] x", "[]host x", "-_@/ \"", "$", "^", "\t", "a\x00", "\x08", "a-z", "a.b", "y" * 30, "x" * 24, "a&b", "a~b", "&&", "~~", ":", "alpha", "a\r",
]


def outcome(pattern, text):
    found = pattern.search(text)
    if not found:
        return None
    return {"match": found.group(0), "groups": {k: v for k, v in found.groupdict().items() if v is not None}}


def row(source, pattern, multiline, texts):
    seen = list(dict.fromkeys(texts))
    print(json.dumps({"source": source, "multiline": multiline, "texts": [[t, outcome(pattern, t)] for t in seen]}))


def own():
    for source in OWN:
        for multiline in (False, True):
            try:
                pattern = re.compile(source, re.MULTILINE if multiline else 0)
            except re.error as error:
                print(json.dumps({"source": source, "multiline": multiline, "error": str(error)}))
                continue
            lines = [t + "\n" for t in TEXTS]
            row(source, pattern, multiline, lines + (["a\nb\n", "b\na\nb\n", "a\n\nb\n"] if multiline else []))


def damaged(line, random_):
    """The line, and versions that nearly match: cut, doubled, other addresses, other letters."""
    yield line
    for _ in range(3):
        a = random_.randrange(len(line) + 1)
        b = random_.randrange(a, min(len(line), a + 12) + 1)
        yield line[:a] + line[b:]
        yield line[:a] + random_.choice((" ", ":", "\u00e9", "192.0.2.7", "2001:db8::1", "from 203.0.113.9", "[", "\t", "::ffff:192.0.2.3")) + line[a:]
    yield line + " " + line
    yield line.upper()


def stock(root):
    if root:
        sys.path.insert(0, os.path.join(root, "usr/lib/python3/dist-packages"))
    import logging
    logging.disable(logging.CRITICAL)
    from fail2ban.client.filterreader import FilterReader
    from fail2ban.server.failregex import Regex
    import fail2ban
    config = os.path.join(root or "/", "etc/fail2ban")
    logs = os.path.join(os.path.dirname(fail2ban.__file__), "tests/files/logs")
    random_ = random.Random(1)
    for name in sorted(os.listdir(os.path.join(config, "filter.d"))):
        if not name.endswith(".conf") or name.endswith("common.conf"):
            continue
        name = name[:-5]
        path = os.path.join(logs, name)
        text = open(path, encoding="utf-8", errors="replace").read() if os.path.isfile(path) else ""
        lines = [l for l in text.split("\n") if l.strip() and not l.startswith("#")]
        random_.shuffle(lines)
        modes = [{}] + [{"mode": m} for m in ("aggressive", "extra", "ddos") if m in text]
        for options in modes:
            reader = FilterReader(name, "jail", options, basedir=config)
            reader.read()
            reader.getOptions({})
            commands = reader.convert()
            multiline = any(c[2] == "maxlines" and int(c[3]) > 1 for c in commands)
            for command in commands:
                if command[2] not in ("addfailregex", "addignoreregex", "prefregex"):
                    continue
                sources = command[3] if command[0] == "multi-set" else [command[3]]
                for source in sources:
                    pattern = Regex(source, multiline=multiline)._regexObj
                    # A date at the front is no part of what expressions see: offer lines without it, too.
                    texts = []
                    for line in lines[:12]:
                        bare = re.sub(r"^\S+ +\S+ +\S+ ", "", line)
                        for version in (line, " " + bare, bare, re.sub(r"^.*?\]: ", "", line)):
                            texts.extend(v + "\n" for v in damaged(version, random_))
                    row(source, pattern, multiline, texts)


if sys.argv[1] == "own":
    own()
else:
    stock(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("SENTRYBAN_FAIL2BAN_DIR", ""))
