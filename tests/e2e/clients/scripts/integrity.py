"""Digests of files over SFTP with paramiko: by its own request, and by those of the draft. Ends with 0 where all are right."""

import hashlib
import os
import socket
import sys
import zlib

import paramiko
from paramiko.sftp import int64

HOST, PORT, FOLDER = sys.argv[1:]
EXTENDED, EXTENDED_REPLY = 200, 201
BYTES = bytes((place * 2654435761 >> 24) & 255 for place in range(300_007))


def same(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r} instead of {wanted!r}")


def refused(what, ask):
    try:
        got = ask()
    except OSError as error:
        return str(error)
    sys.exit(f"{what}: {got!r} instead of a refusal")


def crc32(data):
    return zlib.crc32(data).to_bytes(4, "big")


def by_hashlib(name):
    return lambda data: hashlib.new(name, data).digest()


KNOWN = {name: by_hashlib(name) for name in ["sha256", "sha512", "sha384", "sha224", "sha1", "md5"]} | {"crc32": crc32}


def by_draft(sftp, request, what, names, part=(0, 0, 0)):
    """The digest that was taken, and the sums, in the form of the draft, which has no word in front."""
    start, length, block = part
    kind, reply = sftp._request(EXTENDED, request, what, names, int64(start), int64(length), block)
    same("the kind of the reply", kind, EXTENDED_REPLY)
    return reply.get_text(), reply.get_remainder()


connection = socket.create_connection((HOST, int(PORT)), timeout=30)
transport = paramiko.ServiceRequestingTransport(connection)
transport.start_client(timeout=30)
transport.auth_password(os.environ["NAME"], os.environ["PASSWORD"])
sftp = paramiko.SFTPClient.from_transport(transport)

with sftp.open("sent.bin", "wb") as file:
    file.write(BYTES)
with sftp.open("sent.bin", "rb") as file:
    for name, digest in KNOWN.items():
        same(f"check {name}", file.check(name), digest(BYTES))
        same(f"by handle {name}", by_draft(sftp, "check-file-handle", file.handle, name), (name, digest(BYTES)))
    same("a part", file.check("md5", 1000, 70_000), KNOWN["md5"](BYTES[1000:71_000]))
    blocks = b"".join(KNOWN["sha1"](BYTES[at : at + 1000]) for at in range(0, len(BYTES), 1000))
    same("blocks", file.check("sha1", 0, 0, 1000), blocks)
    refused("small blocks", lambda: file.check("sha1", 0, 0, 255))
    refused("many blocks", lambda: file.check("sha1", 0, 0, 256))
    refused("an unknown digest", lambda: file.check("whirlpool"))
for name, digest in KNOWN.items():
    same(f"by name {name}", by_draft(sftp, "check-file-name", "sent.bin", f"whirlpool,{name},md5"), (name, digest(BYTES)))
refused("a name that is not there", lambda: by_draft(sftp, "check-file-name", "none", "md5"))
refused("a folder", lambda: by_draft(sftp, "check-file-name", "/", "md5"))
refused("outside", lambda: by_draft(sftp, "check-file-name", "../../prefs.xml", "md5"))

# An upload that may be read is checked before it is closed.
with sftp.open("open.bin", "w+b") as file:
    file.write(b"so far")
    same("an open upload", file.check("sha256"), KNOWN["sha256"](b"so far"))



class Late:
    """A request whose reply may come between those of others."""

    reply = None

    def _async_response(self, kind, message, number):
        self.reply = (kind, message)


# Other requests are answered while a large file is summed.
with open(os.path.join(FOLDER, "large.bin"), "wb") as large:
    large.truncate(1 << 30)
late, answered = Late(), 0
sftp._async_request(late, EXTENDED, "check-file-name", "large.bin", "sha256", int64(0), int64(0), 0)
while late.reply is None:
    sftp.stat("sent.bin")
    answered += 1
kind, reply = late.reply
same("the sum of a large file", (kind, reply.get_text(), len(reply.get_remainder())), (EXTENDED_REPLY, "sha256", 32))
if answered < 10:
    sys.exit(f"only {answered} requests were answered while a large file was summed")
transport.close()
