"""Rows about memory: of a server that has just started, and what each session and each transfer adds. Each of them has a Lockgate that
nobody has used before, so that what earlier work left in the allocator does not hide what a session takes.

A few sessions of the kind are open before the first look: what a door makes once is not the price of a session. Pages of kernel sockets
belong to no process and are in no figure, here as with the peers.
"""
import time

import clients
from accounting import Highest
from logins import SECRET, code_of
from rows import Figure, Value
from servers import Missing
from sessions import Held, json_login, steady

START_MIB, TRANSFER_MIB = 60, 2
IDLE_KIB = {"ftp": 20, "ftps": None, "sftp": 100, "http": 30, "https": None}
FIRST, TRANSFERS = 10, 16
PEERS = {"ftp": ("vsftpd", 100), "ftps": ("vsftpd", 50), "sftp": ("openssh", 30), "http": ("nginx", 500), "https": ("nginx", 500)}


def each_idle(server, kind, count):
    """KiB that each of so many idle sessions adds."""
    first = Held(server, kind, FIRST)
    before = steady(server.meter)
    held = Held(server, kind, count)
    grown = steady(server.meter) - before
    for sessions in (held, first):
        sessions.close()
    return grown * 1024 / count


def begin(server, kind, verb, local, rate, number, source=None):
    if kind == "sftp":
        return clients.sftp_begin(server, [clients.sftp_word(server, verb, local, number)], limit=rate, source=source)
    if kind == "ftp":
        return clients.curl_ftp_begin(server, verb, local, rate, number, source)
    return clients.web_begin(server, verb, local, kind, rate, number, source)


def rows(files):
    def start(street):
        """Workers of plugins start with their first call, so the second figure is after a login with a code; the hash's memory is given back."""
        server = street.fresh("memory-start")
        try:
            time.sleep(1)
            bare = steady(server.meter)
            out = [Value(f"just started, {len(server.meter.members())} process(es)", bare, "MiB", START_MIB)]
            server.add("coded", SECRET)
            secret = server.enrol("coded")
            time.sleep(0.5)
            json_login(server, "coded", SECRET, "127.0.0.1", code_of(secret)).close()
            used = steady(server.meter)
            out.append(Value(f"after a login with a code, {len(server.meter.members())} process(es)", used, "MiB", START_MIB))
            return out
        finally:
            server.stop()

    def idle(kind):
        def measure(street):
            name, count = PEERS[kind]
            try:
                peer = getattr(street, name)
                beside = f"{name} {each_idle(peer, kind, min(count, files.idle)):.0f} KiB"
            except Missing as missing:
                beside = f"{name} skipped: {missing}"
            server = street.fresh(f"memory-{kind}")
            try:
                server.offer(files.tiny)
                each = each_idle(server, kind, files.idle)
            finally:
                server.stop()
            return [Value(f"each idle {kind.upper()} session, of {files.idle}", each, "KiB", IDLE_KIB[kind], beside)]
        return measure

    def moving(kind, verb):
        """Clients at a tenth of the file a second, then stopped. What a transfer takes is the difference to the server with nobody."""
        def measure(street):
            server = street.fresh(f"memory-{kind}-{verb}")
            running = []
            try:
                server.offer(files.big, files.tiny)
                clients.finish(begin(server, kind, verb, files.big, None, 99))
                before = steady(server.meter)
                rate = max(512, files.size * 1024 // 10)
                running = [begin(server, kind, verb, files.big, rate, number) for number in range(TRANSFERS)]
                time.sleep(2)
                with Highest(server.meter) as highest:
                    time.sleep(2)
                if any(process.poll() is not None for process in running):
                    raise clients.Failed("a transfer ended before it was looked at")
                clients.halt(running)
                time.sleep(2)
                stalled = steady(server.meter)
            finally:
                clients.end(running)
                server.stop()
            word = "download" if verb == "get" else "upload"
            return [Value(f"each running {kind.upper()} {word}, of {TRANSFERS}", (highest.mib - before) / TRANSFERS, "MiB", TRANSFER_MIB),
                    Value(f"each stalled {kind.upper()} {word}, of {TRANSFERS}", (stalled - before) / TRANSFERS, "MiB", TRANSFER_MIB)]
        return measure

    return [
        Figure("memory-start", "Memory at start, workers included", start),
        *(Figure(f"memory-idle-{kind}", f"Memory of an idle {kind.upper()} session", idle(kind)) for kind in IDLE_KIB),
        *(Figure(f"memory-{kind}-{verb}", f"Memory of a running and a stalled {kind.upper()} {verb}", moving(kind, verb))
          for kind in ("ftp", "sftp", "http", "https") for verb in ("get", "put")),
    ]
