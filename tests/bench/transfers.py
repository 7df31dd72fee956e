"""Rows about large files: one stream, eight at once, a long line, and with a disk that must have the bytes.

Plain transfers over loopback take a third of a second, so fast doors move the file several times in one login. Eight at once move a
quarter of it each. On Lockgate a login by password costs a hash by intent (rows `login-*`); here it has been made before.
"""
import os, subprocess, sys

import clients
from clients import CHACHA, GCM, HERE
from rows import Race

ROUND_TRIP_MS = 100


def sftp_rows(files):
    big, quarter, gib = files.big, files.quarter, files.gib

    def one(verb, cipher):
        return lambda server: clients.sftp(server, clients.sftp_word(server, verb, big), cipher=cipher)

    def eight(verb):
        def work(server):
            clients.finish(*[clients.sftp_begin(server, [clients.sftp_word(server, verb, quarter, number)]) for number in range(8)])
        return work

    def far(verb):
        def work(server):
            _, port, _ = server.sftp_target()
            relay = subprocess.Popen([sys.executable, HERE / "delay.py", str(port), str(ROUND_TRIP_MS / 2)], stdout=subprocess.PIPE, text=True)
            try:
                clients.sftp(server, clients.sftp_word(server, verb, files.small), port=int(relay.stdout.readline()))
            finally:
                relay.kill()
                relay.communicate()
        return work

    return [
        Race("sftp-get-gcm", "SFTP get, aes256-gcm", "openssh", one("get", GCM), gib, speed=1.25, cpu=0.45),
        Race("sftp-get-chacha", "SFTP get, chacha20-poly1305", "openssh", one("get", CHACHA), gib, speed=1.2),
        Race("sftp-put-gcm", "SFTP put, aes256-gcm", "openssh", one("put", GCM), gib, speed=1.6, cpu=0.5),
        Race("sftp-put-chacha", "SFTP put, chacha20-poly1305", "openssh", one("put", CHACHA), gib, speed=1.5),
        Race("sftp-8-get", "SFTP get, 8 sessions of a quarter", "openssh", eight("get"), 2 * gib, speed=1.7),
        Race("sftp-8-put", "SFTP put, 8 sessions of a quarter", "openssh", eight("put"), 2 * gib, speed=1.7),
        Race("sftp-far-get", f"SFTP get, {ROUND_TRIP_MS} ms round trip, {files.small_mib} MiB", "openssh", far("get"), files.small_mib / 1024,
             speed=1.0, note="a delaying relay"),
        Race("sftp-far-put", f"SFTP put, {ROUND_TRIP_MS} ms round trip, {files.small_mib} MiB", "openssh", far("put"), files.small_mib / 1024,
             speed=1.0, note="a delaying relay"),
    ]


def ftp_rows(files):
    big, quarter, tiny, gib = files.big, files.quarter, files.tiny, files.gib

    def many(verb, local, protection="clear", count=1, at_once=1):
        return lambda server: clients.ftp(server, verb, local.name, local, protection, count, at_once)

    rows = []
    for peer in ("vsftpd", "proftpd"):
        mark, of = f"-{peer}", f" ({peer})"
        rows += [
            Race("ftp-get" + mark, "FTP get, 8 in one login" + of, peer, many("get", big, count=8), 8 * gib, speed=1.1),
            Race("ftp-put" + mark, "FTP put, 4 in one login" + of, peer, many("put", big, count=4), 4 * gib, speed=1.3),
            Race("ftp-8-get" + mark, "FTP get, 8 clients, 8 quarters each" + of, peer, many("get", quarter, count=8, at_once=8), 16 * gib, speed=1.3),
            Race("ftp-8-put" + mark, "FTP put, 8 clients, a quarter each" + of, peer, many("put", quarter, at_once=8), 2 * gib),
            Race("ftp-tiny" + mark, "FTP get, 500 of 1 byte in one login" + of, peer, many("get", tiny, count=500), 0.5, "1,000 files"),
            Race("ftps-get" + mark, "FTPS get, 4 in one login" + of, peer, many("get", big, "tls", count=4), 4 * gib, speed=2.0),
            Race("ftps-put" + mark, "FTPS put, 4 in one login" + of, peer, many("put", big, "tls", count=4), 4 * gib, speed=3.0),
            Race("ftps-8-get" + mark, "FTPS get, 8 clients, a quarter each" + of, peer, many("get", quarter, "tls", at_once=8), 2 * gib),
        ]
    return rows


def web_rows(files):
    big, quarter, gib = files.big, files.quarter, files.gib

    def several(verb, door, count, **more):
        return lambda server: clients.web(server, verb, big, door, numbers=range(count), **more)

    def eight(verb, door):
        def work(server):
            clients.finish(*[clients.web_begin(server, verb, quarter, door, number=number) for number in range(8)])
        return work

    def race(key, title, door, work, amount, **more):
        return Race(key, title, "nginx", work, amount, before=lambda server: clients.greet(server, door), **more)

    return [
        race("http-get", "HTTP get, 4 on one connection", "http", several("get", "http", 4), 4 * gib, speed=1.0, note="nginx: sendfile, tcp_nopush off"),
        race("http-get-copying", "HTTP get, 4 on one connection", "http", several("get", "http", 4, port="copying"), 4 * gib, speed=1.0,
             note="nginx: sendfile off, 1 MiB buffers"),
        race("http-put", "HTTP put, 2 on one connection", "http", several("put", "http", 2), 2 * gib, speed=1.0),
        race("webdav-put", "WebDAV put, 2 on one connection", "webdav", several("put", "webdav", 2), 2 * gib, speed=1.0),
        race("http-8-get", "HTTP get, 8 clients, a quarter each", "http", eight("get", "http"), 2 * gib),
        race("http-8-put", "HTTP put, 8 clients, a quarter each", "http", eight("put", "http"), 2 * gib),
        race("https-get", "HTTPS get, HTTP/1.1, 2 on one connection", "https", several("get", "https", 2), 2 * gib, speed=1.2),
        race("https-put", "HTTPS put, HTTP/1.1, 2 on one connection", "https", several("put", "https", 2), 2 * gib),
        race("https2-get", "HTTPS get, HTTP/2, 2 on one connection", "https", several("get", "https", 2, version=2), 2 * gib),
        race("https2-put", "HTTPS put, HTTP/2, 2 on one connection", "https", several("put", "https", 2, version=2), 2 * gib),
    ]


def durable_rows(files):
    big, gib = files.big, files.gib

    def sftp(server):
        clients.sftp(server, clients.sftp_word(server, "put", big))

    def ftp(server):
        return clients.ftp(server, "put", big.name, big)

    def before(server):
        """What the peer left to be written later is not to be paid for by whoever comes next."""
        os.sync()

    note = "Lockgate syncs before it answers, the peer does not"
    return [
        Race("durable-sftp-put", "SFTP put to disk, durability full", "openssh_disk", sftp, gib, own="own_full", before=before, note=note),
        Race("durable-ftp-put", "FTP put to disk, durability full", "vsftpd_disk", ftp, gib, own="own_full", before=before, note=note),
    ]


def rows(files):
    return [*sftp_rows(files), *ftp_rows(files), *web_rows(files), *durable_rows(files)]
