"""SFTP of version 3 by its packets: what a library hides (codes, flags, raw names) is seen here. The connection is paramiko's."""
import socket, struct

CODES = {0: "OK", 1: "EOF", 2: "NO_SUCH_FILE", 3: "PERMISSION_DENIED", 4: "FAILURE", 5: "BAD_MESSAGE", 8: "OP_UNSUPPORTED"}
FLAGS = {"r": 1, "w": 2, "a": 4, "c": 8, "t": 16, "x": 32}


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


def connect(host, port, user, password):
    """A channel on which the subsystem runs."""
    import paramiko

    transport = paramiko.ServiceRequestingTransport(socket.create_connection((host, int(port)), timeout=30))
    transport.start_client(timeout=30)
    transport.auth_password(user, password, fallback=False)
    channel = transport.open_session()
    channel.settimeout(30)
    channel.invoke_subsystem("sftp")
    return channel


def raw(text):
    return text if isinstance(text, bytes) else text.encode()


def string(data):
    data = raw(data)
    return struct.pack(">I", len(data)) + data


def attrs(size=None, owner=None, mode=None, times=None):
    out, flags = b"", 0
    if size is not None:
        flags, out = flags | 1, out + struct.pack(">Q", size)
    if owner is not None:
        flags, out = flags | 2, out + struct.pack(">II", *owner)
    if mode is not None:
        flags, out = flags | 4, out + struct.pack(">I", mode)
    if times is not None:
        flags, out = flags | 8, out + struct.pack(">II", *times)
    return struct.pack(">I", flags) + out


class Facts:
    """The attributes of one file."""

    def __init__(self, reader):
        flags = reader.u32()
        self.flags = flags
        self.size = reader.u64() if flags & 1 else None
        self.owner = (reader.u32(), reader.u32()) if flags & 2 else None
        self.mode = reader.u32() if flags & 4 else None
        self.times = (reader.u32(), reader.u32()) if flags & 8 else None


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, length):
        assert len(self.data) >= length, "a reply that is too short"
        part, self.data = self.data[:length], self.data[length:]
        return part

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def string(self):
        return self.take(self.u32())


class Sftp:
    """One channel; requests one at a time."""

    def __init__(self, channel):
        self.channel, self.last = channel, 0
        self.send(1, struct.pack(">I", 3))
        kind, reader = self.packet()
        assert (kind, reader.u32()) == (2, 3), "not version 3"
        self.extensions = {}
        while reader.data:
            name = reader.string().decode()
            self.extensions[name] = reader.string().decode()

    def send(self, kind, body):
        self.channel.sendall(struct.pack(">IB", 1 + len(body), kind) + body)

    def exactly(self, length):
        parts = []
        while length:
            part = self.channel.recv(length)
            if not part:
                raise EOFError("the server has closed the channel")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def packet(self):
        length, kind = struct.unpack(">IB", self.exactly(5))
        return kind, Reader(self.exactly(length - 1))

    def ask(self, kind, *parts):
        """The reply's type and its body; a status other than OK is raised."""
        self.last += 1
        self.send(kind, struct.pack(">I", self.last) + b"".join(parts))
        kind, reader = self.packet()
        assert reader.u32() == self.last, "a reply to another request"
        if kind == 101:
            code, text = CODES[reader.u32()], reader.string().decode()
            if code != "OK":
                raise Refused(code, text)
        return kind, reader

    def extended(self, name, *parts):
        return self.ask(200, string(name), *parts)[1]

    def open(self, name, flags, **facts):
        bits = sum(FLAGS[flag] for flag in flags)
        return self.ask(3, string(name), struct.pack(">I", bits), attrs(**facts))[1].string()

    def close(self, handle):
        self.ask(4, string(handle))

    def read(self, handle, offset, length):
        """Empty at the end of the file."""
        try:
            return self.ask(5, string(handle), struct.pack(">QI", offset, length))[1].string()
        except Refused as refused:
            if refused.code != "EOF":
                raise
            return b""

    def write(self, handle, offset, data):
        self.ask(6, string(handle), struct.pack(">Q", offset), string(data))

    def lstat(self, name):
        return Facts(self.ask(7, string(name))[1])

    def fstat(self, handle):
        return Facts(self.ask(8, string(handle))[1])

    def setstat(self, name, **facts):
        self.ask(9, string(name), attrs(**facts))

    def fsetstat(self, handle, **facts):
        self.ask(10, string(handle), attrs(**facts))

    def rows(self, name):
        """Name to long name and facts."""
        handle, found = self.ask(11, string(name))[1].string(), {}
        while True:
            try:
                reader = self.ask(12, string(handle))[1]
            except Refused as refused:
                if refused.code != "EOF":
                    raise
                self.close(handle)
                return found
            for _ in range(reader.u32()):
                row = reader.string()
                found[row] = (reader.string(), Facts(reader))

    def remove(self, name):
        self.ask(13, string(name))

    def mkdir(self, name, **facts):
        self.ask(14, string(name), attrs(**facts))

    def rmdir(self, name):
        self.ask(15, string(name))

    def path(self, kind, name):
        reader = self.ask(kind, string(name))[1]
        assert reader.u32() == 1
        return reader.string()

    def realpath(self, name):
        return self.path(16, name)

    def readlink(self, name):
        return self.path(19, name)

    def stat(self, name):
        return Facts(self.ask(17, string(name))[1])

    def rename(self, old, new):
        self.ask(18, string(old), string(new))

    def symlink(self, target, name):
        # As OpenSSH has it, not the draft.
        self.ask(20, string(target), string(name))

    def posix_rename(self, old, new):
        self.extended("posix-rename@openssh.com", string(old), string(new))

    def chmod(self, name):
        self.setstat(name, mode=0o600)

    def cut(self, name):
        self.setstat(name, size=1)

    def append(self, name):
        handle = self.open(name, "wa")
        try:
            self.write(handle, 0, b"+")
        finally:
            self.close(handle)
