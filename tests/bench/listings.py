"""Rows about a folder with very many entries, and what a listing of it costs in memory. The entries are empty files.

No peer speaks every dialect: MLSD is proftpd's, JSON is that of nginx's `autoindex`, which is one answer where Lockgate's is told in pages.
"""
import base64, http.client, re

import clients
from rows import Race

BODY = "<?xml version='1.0'?><propfind xmlns='DAV:'><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"


def make(folder, count):
    folder.mkdir()
    for number in range(count):
        (folder / f"entry-{number:07}.dat").touch()


def rows(files):
    many, count, out = files.many, files.many_count, files.work / "listing.out"

    def sftp(flags):
        def work(server):
            with open(out, "wb") as said:
                clients.finish(clients.sftp_begin(server, [f"ls {flags} {server.remote('sftp', many.name)}"], stdout=said))
        return work

    def told_all(server):
        found = out.read_bytes().count(b"entry-")
        if found < count:
            raise clients.Failed(f"{found} of {count} entries were told")

    def ftp(verb, protection="clear"):
        return lambda server: clients.ftp(server, verb, many.name, str(count), protection)

    def propfind(server):
        clients.curl(server, "-o", out, "-X", "PROPFIND", "-H", "Depth: 1", "-H", "Content-Type: application/xml", "--data-binary", BODY,
                     clients.url(server, "webdav", many.name + "/"))

    def all_properties(server):
        clients.curl(server, "-o", out, "-X", "PROPFIND", "-H", "Depth: 1", clients.url(server, "webdav", many.name + "/"))

    def listed(server):
        found = walk(server, many.name)
        if found != count:
            raise clients.Failed(f"{found} of {count} entries were told")

    def dav(server):
        server.need_webdav()
        before(server)
        clients.greet(server, "webdav")

    def web(server):
        before(server)
        clients.greet(server, "http")

    def before(server):
        server.offer(many)

    def race(key, title, peer, work, prepare=before, **more):
        return Race(key, f"{title}, {count:,} entries", peer, work, count / 1000, "1,000 entries", speed=1.0, memory=64, watch=True,
                    before=prepare, **more)

    return [
        race("list-sftp-1", "SFTP ls -1", "openssh", sftp("-1"), after=told_all),
        race("list-sftp-l", "SFTP ls -l", "openssh", sftp("-l"), after=told_all),
        race("list-ftp", "FTP LIST (vsftpd)", "vsftpd", ftp("list")),
        race("list-ftp-proftpd", "FTP LIST (proftpd)", "proftpd", ftp("list")),
        race("list-mlsd", "FTP MLSD (proftpd)", "proftpd", ftp("mlsd")),
        race("list-propfind", "PROPFIND Depth 1, three properties", "nginx", propfind, dav, after=told_all, note="nginx's extended dav module"),
        race("list-propfind-all", "PROPFIND Depth 1, all properties", "nginx", all_properties, dav, after=told_all,
             note="nginx's extended dav module tells fewer of them"),
        race("list-json", "JSON", "nginx", listed, web, note="nginx's autoindex: one answer"),
    ]


def walk(server, name):
    """The number of entries, page by page on one connection where the server tells them in pages. The text is not parsed: the time of a
    parser would be the larger part."""
    headers = {}
    if server.login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(server.login).encode()).decode()
    address = f"/api/v1/list/{name}?limit=1000000" if server.login else f"/json/{name}/"
    connection, found, cursor = http.client.HTTPConnection("127.0.0.1", server.ports["http"]), 0, ""
    while True:
        connection.request("GET", address + cursor, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise clients.Failed(f"{address}: {answer.status}")
        found += text.count(b'"name":')
        further = re.search(rb'"next_cursor":"([^"]+)"', text[-4096:])
        if not further:
            return found
        cursor = f"&cursor={further[1].decode()}"
