"""Sessions that are opened and then do nothing, as devices and mounts have them, and single logins from addresses of their own.

Lockgate remembers a login for a client that repeats it from the same address; all of 127.0.0.0/8 is this machine, so another address is
another client.
"""
import base64, ftplib, http.client, json, ssl, subprocess, time

from clients import EXCHANGE, HERE, VENV, Failed
from servers import Missing


def address(number):
    return f"127.{1 + number // 65025 % 254}.{number // 255 % 255}.{1 + number % 254}"


def ftp_login(server, user, password, source="127.0.0.1", protected=False):
    client = ftplib.FTP_TLS(context=ssl._create_unverified_context()) if protected else ftplib.FTP()
    client.connect("127.0.0.1", server.ports["ftp"], timeout=60, source_address=(source, 0))
    client.login(user, password)
    return client


def http_login(server, login, source="127.0.0.1", door="http"):
    """A connection that has had one small file with a login in the request, and stays open."""
    kind = http.client.HTTPSConnection if door == "https" else http.client.HTTPConnection
    more = {"context": ssl._create_unverified_context()} if door == "https" else {}
    connection = kind("127.0.0.1", server.ports[door], timeout=60, source_address=(source, 0), **more)
    headers = {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()} if login else {}
    connection.request("GET", server.remote(door, "tiny.bin"), headers=headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise Failed(f"GET on {door}: {answer.status}")
    return connection


def json_login(server, user, password, source, code=None):
    """By the web interface's own login, where the code is asked for after the password; the connection stays open."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=60, source_address=(source, 0))

    def post(path, words):
        connection.request("POST", path, json.dumps(words), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        if answer.status >= 400:
            raise Failed(f"{path}: {answer.status} {told}")
        return told

    told = post("/api/v1/login", {"username": user, "password": password})
    if told["state"] == "challenge" and code:
        told = post(f"/api/v1/login/{told['challenge']['id']}", {"code": code})
    if told["state"] != "granted":
        raise Failed(f"login ended in {told['state']}")
    return connection


class SshSessions:
    """Sessions with the file service open, held by a program of its own: the library for it is in the tests' venv alone."""

    def __init__(self, server, *how, user=None):
        if not VENV.exists():
            raise Missing("run tests/setup, which makes target/venv")
        _, port, own = server.sftp_target()
        self.process = subprocess.Popen([VENV, HERE / "ssh_sessions.py", str(port), user or own, EXCHANGE, *map(str, how)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "open":
            raise Failed(f"ssh_sessions.py: {self.process.communicate()[1].strip()[-300:]}")

    def close(self):
        self.process.communicate("\n")


class Held:
    """So many idle sessions of one kind, by FTP and HTTP from so many addresses in turns; `close` ends them."""

    def __init__(self, server, kind, count, addresses=1):
        sources = [address(number) if addresses > 1 else "127.0.0.1" for number in range(addresses)]
        if kind == "sftp":
            self.sessions = [SshSessions(server, "key", server.sftp_target()[0], count)]
        elif kind in ("ftp", "ftps"):
            self.sessions = [ftp_login(server, *server.login, sources[number % addresses], kind == "ftps") for number in range(count)]
        else:
            self.sessions = [http_login(server, server.login, sources[number % addresses], kind) for number in range(count)]

    def close(self):
        for session in self.sessions:
            session.close()


def steady(meter, within=0.05, most=8):
    """MiB in use once it has stopped changing: what a server tidies up after a moment is not what a session costs."""
    last = meter.pss()
    for _ in range(most * 2):
        time.sleep(0.5)
        now = meter.pss()
        if abs(now - last) < within:
            return now
        last = now
    return last
