"""One SSH login step by step with paramiko's transport: which prompts came, and whether partial success was told."""

import json
import os
import sys

import paramiko

HOST, PORT, NAME, METHODS = sys.argv[1:]
PASSWORD, CODE = os.environ["TEST_PASSWORD"], os.environ["TEST_CODE"]

requests, partial, granted = [], False, False


def answer(title, instructions, prompts):
    # paramiko calls with an empty list where the server only says something.
    if prompts:
        requests.append([[text, echo] for text, echo in prompts])
    return [PASSWORD if "assword" in text else CODE for text, _ in prompts]


# Asks for the service once, as RFC 4252 has it; the plain Transport asks again before each method.
transport = paramiko.ServiceRequestingTransport((HOST, int(PORT)))
transport.start_client(timeout=30)
try:
    for method in METHODS.split(","):
        if method == "password":
            left = transport.auth_password(NAME, PASSWORD, fallback=False)
        else:
            left = transport.auth_interactive(NAME, answer)
        # The methods that are left, told only with partial success; nothing where that was all.
        partial = partial or bool(left)
    granted = transport.is_authenticated()
except paramiko.SSHException as error:
    print(repr(error), file=sys.stderr)
json.dump({"requests": requests, "partial": partial, "granted": granted}, sys.stdout)
transport.close()
