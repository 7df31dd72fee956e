"""Rows about logins: with a key against OpenSSH, and with a password, which Argon2id bounds on purpose.

For the latter what counts is the CPU time beside the hash. Each login comes from an address of its own (and has, with a code, a user of its
own, since a code counts once), so that no remembered login makes it cheap. The logins are made in turns, and values are their lower
quartiles: what others do to the processor's caches only adds.

What ends like a code behind a colon might be a password and a code, or the password: the server makes the hash of both readings, whichever
is right. So a login with `PASSWORD:CODE` has two hashes, as have those whose password itself looks like that, and the difference
between the latter and a plain one is a hash as this server makes it, in memory that it keeps (one made by a process of its own
costs a third more). Doors that ask for the code (SFTP, the web interface) have one.
"""
import base64, functools, hashlib, hmac, statistics, struct, time

import clients
from rows import Figure, Race, Value
from sessions import SshSessions, address, ftp_login, http_login, json_login

BESIDE_MS, AT_ONCE = 5, 4
SECRET = "a-password-of-a-user"
LOOKS_CODED = "a-password-of-a-user:123456"
PLAIN, TWOFOLD = "one hash", "two hashes"


def code_of(secret, at=None):
    """RFC 6238 with what authenticator apps take for granted: SHA-1, six digits, 30 seconds."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(at or time.time()) // 30), hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start:start + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


class Users:
    """Names that no row has used before."""

    def __init__(self):
        self.last = 0

    def name(self):
        self.last += 1
        return f"login{self.last}"


def quartile(values):
    return statistics.quantiles(values, n=4)[0]


def cpu_of_login(server, login):
    """CPU milliseconds of the server for one login; the session is closed outside."""
    used = server.meter.cpu()
    held = login()
    used = server.meter.cpu() - used
    held.close()
    return used * 1000


def doors(server, coded):
    """How to log in: called with source, user, password and code. With it the number of hashes that it takes."""
    def joined(password, code):
        return f"{password}:{code}" if code else password

    twice = 2 if coded else 1
    return {
        "FTP": (twice, lambda source, user, password, code: ftp_login(server, user, joined(password, code), source)),
        "HTTPS Basic": (twice, lambda source, user, password, code: http_login(server, (user, joined(password, code)), source, "https")),
        "web": (1, lambda source, user, password, code: json_login(server, user, password, source, code)),
        "SFTP": (1, lambda source, user, password, code: SshSessions(server, "password", password, code, source, user=user)),
    }


def rows(files):
    users, count = Users(), files.logins

    def keys(server):
        for start in range(0, count, AT_ONCE):
            clients.finish(*[clients.ssh_login(server) for _ in range(start, min(count, start + AT_ONCE))])

    def newcomer(server, coded=False, password=SECRET):
        """A user who has not been here, and how to make the code."""
        name = users.name()
        server.add(name, password)
        secret = server.enrol(name) if coded else None
        return name, (lambda: code_of(secret)) if coded else (lambda: "")

    def passwords(street, coded):
        server, times = street.own, max(8, count // 3)
        logins = doors(server, coded)
        used = {door: [] for door in (PLAIN, TWOFOLD, *logins)}
        people = {door: [newcomer(server, coded) for _ in range(times)] for door in logins}
        people[PLAIN] = [newcomer(server) for _ in range(times)]
        people[TWOFOLD] = [newcomer(server, password=LOOKS_CODED) for _ in range(times)]
        # The server learns of users by and by; a login must not pay for that.
        time.sleep(0.5)
        for number in range(times):
            for place, door in enumerate(used):
                (name, code), source = people[door][number], address(1000 * (1 + place + 7 * coded) + number)
                if door in logins:
                    call = functools.partial(logins[door][1], source, name, SECRET, code())
                else:
                    call = functools.partial(ftp_login, server, name, SECRET if door == PLAIN else LOOKS_CODED, source)
                used[door].append(cpu_of_login(server, call))
        middle = {door: quartile(values) for door, values in used.items()}
        hashed, out = middle[TWOFOLD] - middle[PLAIN], []
        out.append(Value("one Argon2id hash, CPU", hashed, "ms", note=f"{middle[TWOFOLD]:.1f} ms with two less {middle[PLAIN]:.1f} ms with one"))
        for door, (many, _) in logins.items():
            words = "the hash" if many == 1 else "two hashes"
            out.append(Value(f"{door} login with password{' and code' if coded else ''}, CPU beside {words}", middle[door] - many * hashed, "ms",
                             BESIDE_MS, note=f"{middle[door]:.1f} ms in all ({min(used[door]):.1f}–{max(used[door]):.1f}), {times} logins"))
        if not coded:
            first = ftp_login(server, *server.login)
            again = [cpu_of_login(server, lambda: ftp_login(server, *server.login)) for _ in range(times)]
            first.close()
            out.append(Value("FTP login that is remembered, CPU: all but the hash", quartile(again), "ms", BESIDE_MS))
        return out

    return [
        Race("login-key", f"SSH login with a key, {count}, {AT_ONCE} at once", "openssh", keys, count / 1000, "1,000 logins", speed=2.0, cpu=0.1),
        Figure("login-password", "Logins with a password", lambda street: passwords(street, False)),
        Figure("login-code", "Logins with a password and a code", lambda street: passwords(street, True)),
    ]
