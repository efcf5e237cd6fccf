"""Runs commands through the installed fail2ban-client: words as JSON lists in, [output, code] out."""

import contextlib
import io
import json
import sys

from fail2ban.client import fail2bancmdline
from fail2ban.client.fail2banclient import Fail2banClient

fail2bancmdline.PRODUCTION = False  # it would add a handler for its log at each start

for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        done = Fail2banClient().start(["fail2ban-client"] + sys.argv[1:] + json.loads(line))
    print(json.dumps([said.getvalue(), 0 if done else 255]), flush=True)
