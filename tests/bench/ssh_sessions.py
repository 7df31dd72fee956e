#!/usr/bin/env python3
"""Opens SFTP sessions, says `open`, and keeps them until a line or the end of its input: many with a key, or one with a password (and a
code, if one is asked for), from an address of its own.

    ssh_sessions.py PORT USER EXCHANGE key KEY COUNT
    ssh_sessions.py PORT USER EXCHANGE password PASSWORD CODE SOURCE
"""
import asyncio, sys

import asyncssh

AT_ONCE = 8


class Person(asyncssh.SSHClient):
    """Answers the prompts as somebody does who reads them."""

    def __init__(self, password, code):
        self.password, self.code = password, code

    def password_auth_requested(self):
        return self.password

    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [self.code if "code" in text.lower() else self.password for text, _ in prompts]


async def main():
    port, user, exchange, how, *rest = sys.argv[1:]
    common = dict(host="127.0.0.1", port=int(port), username=user, known_hosts=None, config=None, agent_path=None, kex_algs=[exchange],
                  encryption_algs=["aes256-gcm@openssh.com"])
    sessions, turn = [], asyncio.Semaphore(AT_ONCE)

    async def one(**more):
        async with turn:
            connection = await asyncssh.connect(**common, **more)
            files = await connection.start_sftp_client()
            await files.stat(".")
            sessions.append((connection, files))

    if how == "key":
        key, count = rest
        await asyncio.gather(*(one(client_keys=[key]) for _ in range(int(count))))
    else:
        password, code, source = rest
        await one(client_keys=None, client_factory=lambda: Person(password, code), local_addr=(source, 0))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for connection, _ in sessions:
        connection.abort()


asyncio.run(main())
