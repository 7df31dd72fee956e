"""Transfers that stand still in the middle, one at a time, over one login.

    halves.py DOOR HOST PORT        DOOR is ftp, ftps, sftp, http, dav or tus; NAME and PASSWORD are in the environment

Reads commands from standard input and answers each with one line:

    put NAME BYTE LENGTH [HEADER: VALUE]  sends the first half of LENGTH times BYTE: "begun", or how it was refused
    finish                                sends the rest and the proof of its end: "done", or how it was refused
    get NAME                              reads the first bytes of a file: "begun"
    rest                                  reads the rest: its length and the one byte that it is made of
    do WORDS                              ftp, ftps: one command; the others: METHOD NAME [HEADER: VALUE]...
"""
import base64, contextlib, ftplib, http.client, os, socket, ssl, sys

sys.path.insert(0, os.path.dirname(__file__))
from sftp_wire import Refused as SftpRefused, Sftp as Wire, connect

UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname = False
UNCHECKED.verify_mode = ssl.CERT_NONE
FIRST = 100_000


class Refused(Exception):
    pass


class Ftp:
    def __init__(self, address, user, password):
        self.ftp = self.connected(address)
        self.ftp.login(user, password)
        self.prepare()

    def connected(self, address):
        ftp = ftplib.FTP(timeout=20)
        ftp.connect(*address)
        return ftp

    def prepare(self):
        self.ftp.voidcmd("TYPE I")

    def told(self, act):
        try:
            return act()
        except ftplib.Error as error:
            raise Refused(str(error).splitlines()[0]) from error

    def put(self, name, first, rest, *more):
        self.data, self.left = self.told(lambda: self.ftp.transfercmd(f"STOR {name}")), rest
        # Where the server takes no more, the reply says why.
        with contextlib.suppress(OSError):
            self.data.sendall(first)

    def finish(self):
        with contextlib.suppress(OSError):
            self.data.sendall(self.left)
            if isinstance(self.data, ssl.SSLSocket):
                self.data.unwrap()
        self.data.close()
        self.told(self.ftp.voidresp)

    def get(self, name):
        self.data = self.told(lambda: self.ftp.transfercmd(f"RETR {name}"))
        self.data.settimeout(20)
        return self.data.recv(FIRST)

    def rest(self):
        parts = []
        with contextlib.suppress(OSError):
            while part := self.data.recv(1 << 20):
                parts.append(part)
        self.data.close()
        self.told(self.ftp.voidresp)
        return b"".join(parts)

    def do(self, words):
        self.told(lambda: self.ftp.sendcmd(words))


class Ftps(Ftp):
    def connected(self, address):
        ftp = ftplib.FTP_TLS(context=UNCHECKED, timeout=20)
        ftp.connect(*address)
        return ftp

    def prepare(self):
        self.ftp.prot_p()
        super().prepare()


class Sftp:
    def __init__(self, address, user, password):
        self.wire = Wire(connect(*address, user, password))

    def told(self, act):
        try:
            return act()
        except SftpRefused as error:
            raise Refused(str(error)) from error

    def put(self, name, first, rest, *more):
        self.handle, self.at, self.left = self.told(lambda: self.wire.open(name, "wct")), 0, rest
        self.send(first)

    def send(self, data):
        for start in range(0, len(data), 1 << 15):
            part = data[start:start + (1 << 15)]
            try:
                self.wire.write(self.handle, self.at, part)
            except SftpRefused as error:
                # Clients look at the close, so it must say the same.
                try:
                    self.wire.close(self.handle)
                except SftpRefused as again:
                    assert str(again) == str(error), f"{again} after {error}"
                    raise Refused(str(error)) from error
                raise AssertionError(f"a close that succeeds after {error}") from error
            self.at += len(part)

    def finish(self):
        self.send(self.left)
        self.told(lambda: self.wire.close(self.handle))

    def get(self, name):
        self.handle, self.at = self.told(lambda: self.wire.open(name, "r")), FIRST
        return self.told(lambda: self.wire.read(self.handle, 0, FIRST))

    def rest(self):
        parts = []
        while part := self.told(lambda: self.wire.read(self.handle, self.at, 255 << 10)):
            parts.append(part)
            self.at += len(part)
        self.told(lambda: self.wire.close(self.handle))
        return b"".join(parts)

    def do(self, words):
        verb, *names = words.split()
        self.told(lambda: getattr(self.wire, verb)(*names))


class Web:
    base, method = "/api/v1/files/", "PUT"

    def __init__(self, address, user, password):
        self.address = address
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.login = {"Authorization": f"Basic {login}"}
        self.http = self.connected()

    def connected(self):
        return http.client.HTTPConnection(*self.address, timeout=20)

    def request(self, method, name, headers, length):
        self.http.putrequest(method, self.base + name)
        for key, value in {**self.login, **headers, "Content-Length": str(length)}.items():
            self.http.putheader(key, value)
        self.http.endheaders()

    def put(self, name, first, rest, *more):
        self.http.close()
        self.http, self.left = self.connected(), rest
        headers = dict(line.split(": ", 1) for line in more)
        self.request("PUT", name, {**headers, "Expect": "100-continue"}, len(first) + len(rest))
        # 100 says that the body is waited for: the upload is open. Anything else is the answer.
        head = self.http.sock.recv(4096, socket.MSG_PEEK)
        if not head.startswith(b"HTTP/1.1 100"):
            self.answer()
        self.http.sock.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n"))
        # Where the server takes no more, the answer says why.
        with contextlib.suppress(OSError):
            self.http.sock.sendall(first)

    def finish(self):
        with contextlib.suppress(OSError):
            self.http.sock.sendall(self.left)
        self.answer()

    def answer(self, wanted=(200, 201, 204, 207)):
        answer = self.http.getresponse()
        body = answer.read()
        if answer.status not in wanted:
            raise Refused(f"{answer.status} {body.decode(errors='replace')}".replace("\n", " "))
        return answer, body

    def get(self, name):
        self.http.close()
        self.http = self.connected()
        self.request("GET", name, {}, 0)
        self.reply = self.http.getresponse()
        if self.reply.status != 200:
            self.reply.read()
            raise Refused(f"{self.reply.status}")
        return self.reply.read(FIRST)

    def rest(self):
        try:
            return self.reply.read()
        except (http.client.IncompleteRead, OSError) as error:
            raise Refused(f"cut: {error}") from error

    def do(self, words):
        first, *headers = words.split("|")
        method, name = first.split()
        body = b""
        if method == "LOCK":
            body = (b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
                    b"<D:locktype><D:write/></D:locktype></D:lockinfo>")
        self.request(method, name, dict(line.split(": ", 1) for line in headers), len(body))
        self.http.send(body)
        answer, _ = self.answer()
        return answer.getheader("Lock-Token") or answer.getheader("ETag") or ""


class Dav(Web):
    base = "/dav/"


class Tus(Web):
    base, version = "", {"Tus-Resumable": "1.0.0"}

    def put(self, name, first, rest, *more):
        path = base64.b64encode(name.encode()).decode()
        whole = len(first) + len(rest)
        self.request("POST", "/api/v1/uploads", {**self.version, "Upload-Length": str(whole), "Upload-Metadata": f"path {path}"}, 0)
        answer, _ = self.answer()
        self.url, self.at, self.left = answer.getheader("Location"), 0, rest
        self.part(first)

    def part(self, data):
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(self.at)}
        self.request("PATCH", self.url, {**self.version, **kind}, len(data))
        with contextlib.suppress(OSError):
            self.http.send(data)
        try:
            self.answer()
        except Refused as error:
            if str(error).startswith("5"):
                self.end()
            raise
        self.at += len(data)

    def end(self):
        """Ends an upload that the server could not take; until then it has what was acknowledged."""
        self.request("HEAD", self.url, self.version, 0)
        there = self.answer()[0].getheader("Upload-Offset")
        assert there == str(self.at), f"the upload is at {there}, not at {self.at}"
        self.request("DELETE", self.url, self.version, 0)
        self.answer()

    def finish(self):
        self.part(self.left)

    def get(self, name):
        return super().get(Web.base + name)


def main(door, host, port):
    doors = {"ftp": Ftp, "ftps": Ftps, "sftp": Sftp, "http": Web, "dav": Dav, "tus": Tus}
    session = doors[door]((host, int(port)), os.environ["NAME"], os.environ["PASSWORD"])
    print("in", flush=True)
    begun = b""
    for line in sys.stdin:
        verb, _, words = line.rstrip("\n").partition(" ")
        try:
            if verb == "put":
                name, byte, length, *more = words.split(" ", 3)
                data = byte.encode() * int(length)
                session.put(name, data[:len(data) // 2], data[len(data) // 2:], *more)
                said = "begun"
            elif verb == "get":
                begun, said = session.get(words), "begun"
            elif verb == "rest":
                whole = begun + session.rest()
                first = whole[:1]
                said = f"{len(whole)} {first.decode() if whole.count(first) == len(whole) else 'mixed'}"
            else:
                said = (session.finish() if verb == "finish" else session.do(words)) or "done"
        except Refused as refused:
            said = f"refused: {refused}"
        print(said, flush=True)


main(*sys.argv[1:])
