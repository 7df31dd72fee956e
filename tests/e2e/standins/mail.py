"""A mail server for the tests. Says its port, then each message, as a line of JSON; ends with its standard input."""

import asyncio
import email
import email.policy
import json
import ssl
import sys

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

MODE, AUTHORITY = sys.argv[1:]


def tell(value):
    print(json.dumps(value), flush=True)


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        body = parsed.get_body(preferencelist=("plain", "html"))
        tell(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "fields": [[name, str(value)] for name, value in parsed.items()],
                "text": body.get_content() if body else "",
                "tls": session.ssl is not None or MODE == "implicit",
                "login": session.auth_data.decode() if session.auth_data else None,
            }
        )
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    # The name alone is kept: no test needs the password, and a log should not have it.
    return AuthResult(success=True, auth_data=data.login)


async def main():
    authority = trustme.CA()
    authority.cert_pem.write_to_path(AUTHORITY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)

    def factory():
        return SMTP(
            Keeper(),
            hostname="localhost",
            tls_context=context if MODE == "starttls" else None,
            require_starttls=MODE == "starttls",
            authenticator=authenticate,
            auth_require_tls=MODE != "plain" and MODE != "implicit",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context if MODE == "implicit" else None)
    tell({"port": server.sockets[0].getsockname()[1]})
    # The test's end is the end of standard input.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
