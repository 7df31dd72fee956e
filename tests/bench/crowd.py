"""One row: a thousand idle sessions and fifty transfers at once, with new logins meanwhile. All must finish, and nobody may wait long to be
let in. The logins are new ones each, by password, so the hash is in their time; so is what the clients do to a machine with few cores.
"""
import threading, time

import clients
from memory import begin
from rows import Figure, Value
from sessions import Held, address, ftp_login, http_login

LATENCY_S, TRANSFERS = 1.0, 50
# A thousand devices are not one address, and Lockgate lets one have a thousand connections, and ten logins at once, and no more.
ADDRESSES = 8
DOORS = [(kind, verb) for kind in ("ftp", "sftp", "http", "https") for verb in ("get", "put")]


class Newcomers:
    """Logs in again and again, by FTP and HTTP in turns, as somebody who was not there before; keeps how long it took."""

    def __init__(self, server, base):
        self.server, self.base, self.ended, self.took, self.wrong = server, base, threading.Event(), [], []
        self.thread = threading.Thread(target=self.come, daemon=True)
        self.thread.start()

    def come(self):
        number = 0
        while not self.ended.is_set():
            number += 1
            source, start = address(self.base + number), time.monotonic()
            try:
                session = ftp_login(self.server, *self.server.login, source) if number % 2 else http_login(self.server, self.server.login, source)
                self.took.append(time.monotonic() - start)
                session.close()
            except Exception as error:  # any way in which a login can fail counts as one that failed
                self.wrong.append(repr(error))
            self.ended.wait(0.1)

    def stop(self):
        self.ended.set()
        self.thread.join()


def rows(files):
    def crowd(street):
        server, held = street.fresh("crowd"), []
        try:
            server.offer(files.quarter, files.tiny)
            for kind, share in (("ftp", 0.4), ("sftp", 0.2), ("http", 0.4)):
                held.append(Held(server, kind, int(files.crowd * share), ADDRESSES))
            alone = Newcomers(server, 20_000)
            time.sleep(2)
            alone.stop()
            newcomers, start = Newcomers(server, 30_000), time.monotonic()
            running = [begin(server, *DOORS[number % len(DOORS)], files.quarter, None, number, address(number % ADDRESSES))
                       for number in range(TRANSFERS)]
            errors = []
            for process in running:
                try:
                    clients.finish(process)
                except clients.Failed as error:
                    errors.append(str(error))
            took = time.monotonic() - start
            newcomers.stop()
            if not newcomers.took or not alone.took:
                raise clients.Failed(f"nobody was let in: {newcomers.wrong[:2]}")
            whole = sum(1 for path in (server.files / "in").iterdir() if path.stat().st_size == files.quarter.stat().st_size)
            expected = sum(1 for number in range(TRANSFERS) if DOORS[number % len(DOORS)][1] == "put")
            errors += [f"{whole} of {expected} uploads are whole"] if whole != expected else []
            note = "; ".join((errors + newcomers.wrong)[:3])
            return [
                Value(f"{files.crowd:,} idle sessions, {TRANSFERS} transfers of {files.quarter_mib} MiB: errors",
                      len(errors) + len(newcomers.wrong), "errors", 0, note=note),
                Value("longest wait for a new login meanwhile", max(newcomers.took), "s", LATENCY_S,
                      note=f"{len(newcomers.took)} logins; before the transfers {max(alone.took):.2f} s"),
                Value("all transfers", took, "s"),
            ]
        finally:
            for sessions in held:
                sessions.close()
            server.stop()

    return [Figure("crowd", f"{files.crowd:,} idle sessions and {TRANSFERS} transfers at once", crowd)]
