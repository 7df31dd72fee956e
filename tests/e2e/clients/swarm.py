"""Many logins at one moment, over every door. Reads the logins as JSON, says for each how it ended.

Each connection is made and taken as far as it goes without the code; then all codes go out together. Whoever is let in
stays until the last answer is there, so that two sessions at once would both be seen.
"""

import asyncio
import base64
import json
import ssl
import sys

import asyncssh

TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


class Start:
    """Opens once everybody is ready or has given up."""

    def __init__(self, count):
        self.left, self.open = count, asyncio.Event()

    def arrive(self):
        self.left -= 1
        if self.left <= 0:
            self.open.set()


class Runner:
    """One login."""

    def __init__(self, login, start, end):
        self.__dict__.update(login)
        self.start, self.end, self.arrived = start, end, False

    async def ready(self):
        self.arrive()
        await self.start.open.wait()

    def arrive(self):
        if not self.arrived:
            self.arrived = True
            self.start.arrive()

    async def dial(self, tls):
        local = (self.source, 0)
        return await asyncio.open_connection(self.host, self.port, local_addr=local, ssl=TLS if tls else None)

    async def run(self):
        try:
            async with asyncio.timeout(100):
                granted, said = await getattr(self, self.kind)()
        except Exception as error:  # every way to fail is an answer here
            granted, said = False, repr(error)
        self.arrive()
        return {"kind": self.kind, "source": self.source, "granted": granted, "said": said}

    async def ftp(self, tls=False):
        reader, writer = await self.dial(False)

        async def reply():
            while True:
                line = (await reader.readline()).decode(errors="replace")
                if not line or line[3:4] != "-" and line[:3].isdigit():
                    return line

        async def say(line):
            writer.write(f"{line}\r\n".encode())
            await writer.drain()
            return await reply()

        await reply()
        if tls:
            await say("AUTH TLS")
            await writer.start_tls(TLS)
        await say(f"USER {self.name}")
        await self.ready()
        said = await say(f"PASS {self.password}:{self.code}")
        if said.startswith("230"):
            await self.end.wait()
        writer.close()
        return said.startswith("230"), said

    async def ftps(self):
        return await self.ftp(tls=True)

    async def request(self, reader, writer, method, path, fields, body=""):
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}", *fields]
        writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        length, chunked = 0, False
        while (line := (await reader.readline()).decode().strip()) != "":
            name, value = line.lower().split(":", 1)
            length = int(value) if name == "content-length" else length
            chunked = chunked or name == "transfer-encoding"
        text = b""
        while chunked and (size := int(await reader.readline(), 16)) > 0:
            text += (await reader.readexactly(size + 2))[:-2]
        text += b"" if chunked else await reader.readexactly(length)
        return status, text.decode(errors="replace")

    async def http(self, tls=False):
        reader, writer = await self.dial(tls)
        kind = "Content-Type: application/json"
        first = json.dumps({"username": self.name, "password": self.password})
        status, text = await self.request(reader, writer, "POST", "/api/v1/login", [kind], first)
        challenge = json.loads(text).get("challenge") or {}
        await self.ready()
        second = json.dumps({"code": self.code})
        status, text = await self.request(reader, writer, "POST", f"/api/v1/login/{challenge.get('id')}", [kind], second)
        granted = status == 200 and json.loads(text).get("state") == "granted"
        if granted:
            await self.end.wait()
        writer.close()
        return granted, f"{status} {text}"

    async def https(self):
        return await self.http(tls=True)

    async def webdav(self):
        reader, writer = await self.dial(False)
        basic = base64.b64encode(f"{self.name}:{self.password}:{self.code}".encode()).decode()
        await self.ready()
        fields = [f"Authorization: Basic {basic}", "Depth: 0"]
        status, text = await self.request(reader, writer, "PROPFIND", "/dav/", fields)
        if status == 207:
            await self.end.wait()
        writer.close()
        return status == 207, f"{status} {text[:200]}"

    async def sftp(self):
        runner = self

        class Client(asyncssh.SSHClient):
            def password_auth_requested(self):
                return None

            def kbdint_auth_requested(self):
                return ""

            async def kbdint_challenge_received(self, name, instructions, lang, prompts):
                answers = []
                for prompt, _ in prompts:
                    if "assword" in prompt:
                        answers.append(runner.password)
                    else:
                        await runner.ready()
                        answers.append(runner.code)
                return answers

        try:
            connection, _ = await asyncssh.create_connection(
                Client,
                self.host,
                self.port,
                local_addr=(self.source, 0),
                username=self.name,
                known_hosts=None,
                client_keys=None,
                agent_path=None,
                config=None,
                login_timeout=90,
            )
        except asyncssh.DisconnectError as error:
            return False, repr(error)
        await self.end.wait()
        connection.close()
        return True, "in"


async def main():
    logins = json.load(sys.stdin)
    start, end = Start(len(logins)), asyncio.Event()
    answered = []

    async def one(login):
        runner = Runner(login, start, end)
        task = asyncio.ensure_future(runner.run())
        answered.append(task)
        return await task

    async def whistle():
        """Those who are in wait for the end; the end is when all others are done and nothing moves any more."""
        await start.open.wait()
        quiet, before = 0, -1
        while quiet < 100:
            done = sum(task.done() for task in answered)
            quiet, before = (quiet + 1, done) if done == before else (0, done)
            if done == len(logins):
                break
            await asyncio.sleep(0.1)
        end.set()

    whistling = asyncio.ensure_future(whistle())
    json.dump(await asyncio.gather(*(one(login) for login in logins)), sys.stdout)
    await whistling


asyncio.run(main())
