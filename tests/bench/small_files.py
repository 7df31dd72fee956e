"""Rows about trees of small files, where round trips and the making of names count: what the stock clients' recursive commands take.

The files are in folders of a thousand. What a client fetches goes to the memory file system and is removed between rounds. rclone (1.60)
sends at most 100 WebDAV requests a second, whatever the server, so its rows there have one folder only, and what they tell is the CPU time;
curl with eight connections shows the servers' speed.
"""
import os, shutil

import clients
from rows import Race

EACH, FOLDER = 4096, 1000


def make(folder, count):
    """The tree, made once; the bytes do not matter here."""
    folder.mkdir()
    for number in range(count):
        parent = folder / f"{number // FOLDER:03}"
        parent.mkdir(exist_ok=True)
        (parent / f"{number:06}.bin").write_bytes(number.to_bytes(4, "big") * (EACH // 4))


def curl_script(path, server, tree, verb, fetched):
    """A transfer a line or two, for curl to work off eight at a time."""
    with open(path, "w") as script:
        for file in sorted(tree.rglob("*.bin")):
            name = f"{tree.name}/{file.relative_to(tree)}"
            if verb == "get":
                script.write(f'url = "{clients.url(server, "webdav", name)}"\noutput = "{fetched / name}"\n')
            else:
                script.write(f'upload-file = "{file}"\nurl = "{clients.url(server, "webdav", "in/" + name)}"\n')
    return path


def rows(files):
    tree, fetched, script = files.tree, files.fetched, files.work / "curl.script"
    first = tree / "000"

    def before(server):
        server.offer(tree)
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir()

    def before_web(server):
        server.need_webdav()
        before(server)
        clients.greet(server, "webdav")

    def before_curl(verb):
        def prepare(server):
            before_web(server)
            for folder in sorted(tree.iterdir()):
                for place in (fetched, server.files / "in"):
                    os.makedirs(place / tree.name / folder.name, exist_ok=True)
            curl_script(script, server, tree, verb, fetched)
        return prepare

    def sftp_get(server):
        clients.sftp(server, f"get -r {server.remote('sftp', tree.name)} {fetched}/")

    def sftp_put(server):
        clients.sftp(server, f"put -r {tree} {server.remote('sftp', 'in/')}")

    def rclone_get(door, path=tree.name):
        return lambda server: clients.rclone(clients.rclone_place(server, door, path), fetched / tree.name)

    def rclone_put(door, path=tree):
        return lambda server: clients.rclone(path, clients.rclone_place(server, door, f"in/{tree.name}"))

    def curl_all(server):
        clients.curl(server, "--no-progress-meter", "--parallel", "--parallel-max", "8", "-K", script)

    def lftp_get(mode_z=True):
        return lambda server: clients.lftp(server, f"mirror --parallel=4 --no-perms {tree.name} {fetched}/{tree.name}", mode_z=mode_z)

    def lftp_put(mode_z=True):
        return lambda server: clients.lftp(server, f"mirror -R --parallel=4 --no-perms {tree} in/{tree.name}", mode_z=mode_z)

    def race(key, title, peer, work, prepare=before, count=files.tree_count, **more):
        def after(server):
            """A client that leaves out files is not fast."""
            folder = fetched if "-get" in key else server.files / "in"
            found = sum(1 for _ in folder.rglob("*.bin"))
            if found != count:
                raise clients.Failed(f"{found} of {count} files came to {folder}")

        return Race(key, f"{title}, {count:,} files of 4 KiB", peer, work, count / 1000, "1,000 files", speed=1.0, before=prepare, after=after, **more)

    few = min(FOLDER, files.tree_count)
    rows = [
        race("small-sftp-get", "sftp get -r", "openssh", sftp_get),
        race("small-sftp-put", "sftp put -r", "openssh", sftp_put),
        race("small-rclone-sftp-get", "rclone copy from SFTP", "openssh", rclone_get("sftp")),
        race("small-rclone-sftp-put", "rclone copy to SFTP", "openssh", rclone_put("sftp")),
        race("small-rclone-webdav-get", "rclone copy from WebDAV", "nginx", rclone_get("webdav", f"{tree.name}/{first.name}"), before_web, few,
             note="bound by rclone: 100 requests a second"),
        race("small-rclone-webdav-put", "rclone copy to WebDAV", "nginx", rclone_put("webdav", first), before_web, few,
             note="bound by rclone: 100 requests a second"),
        race("small-curl-webdav-get", "curl --parallel from WebDAV", "nginx", curl_all, before_curl("get")),
        race("small-curl-webdav-put", "curl --parallel to WebDAV", "nginx", curl_all, before_curl("put")),
    ]
    for peer in ("vsftpd", "proftpd"):
        rows += [
            race(f"small-lftp-get-{peer}", f"lftp mirror ({peer})", peer, lftp_get()),
            race(f"small-lftp-put-{peer}", f"lftp mirror -R ({peer})", peer, lftp_put()),
        ]
    rows += [
        race("small-lftp-get-plain", "lftp mirror without MODE Z (vsftpd)", "vsftpd", lftp_get(mode_z=False),
             note="vsftpd has no MODE Z, so lftp uses it with Lockgate alone"),
        race("small-lftp-put-plain", "lftp mirror -R without MODE Z (vsftpd)", "vsftpd", lftp_put(mode_z=False), note="the same"),
    ]
    return rows
