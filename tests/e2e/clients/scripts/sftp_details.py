"""What sshfs, WinSCP, FileZilla and rclone ask of an SFTP server, by its packets. Says what is not as it must be, and ends with 1 then.

    sftp_details.py HOST PORT FOLDER    NAME and PASSWORD are in the environment; FOLDER is the user's root on the disk
"""
import os, pathlib, struct, sys

sys.path.insert(0, os.path.dirname(__file__))
from sftp_wire import Refused, Sftp, attrs, connect, string

HOST, PORT, FOLDER = sys.argv[1:]
DISK = pathlib.Path(FOLDER)
THEN, LATER = 1_500_000_000, 1_600_000_000
faults = []


def same(what, found, wanted):
    if found != wanted:
        faults.append(f"{what}: {found!r} instead of {wanted!r}")


def refused(what, code, act, words=""):
    try:
        act()
    except Refused as told:
        if told.code != code or words not in told.text:
            faults.append(f"{what}: {told} instead of {code} {words}")
        if FOLDER in told.text:
            faults.append(f"{what}: names a folder of the host: {told}")
    else:
        faults.append(f"{what}: done instead of {code}")


def put(name, data, flags="wct", **facts):
    handle = sftp.open(name, flags, **facts)
    if data:
        sftp.write(handle, 0, data)
    sftp.close(handle)


def bits(name):
    return (DISK / name).stat().st_mode & 0o7777


def codes():
    (DISK / "folder").mkdir()
    (DISK / "folder/in").write_text("x")
    put("file", b"1234")
    nothing = struct.pack(">I", 0)
    for what, code, act in [
        ("STAT of nothing", "NO_SUCH_FILE", lambda: sftp.stat("none")),
        ("LSTAT below a file", "NO_SUCH_FILE", lambda: sftp.lstat("file/none")),
        ("OPEN of nothing to read", "NO_SUCH_FILE", lambda: sftp.open("none", "r")),
        ("OPEN of nothing to write", "NO_SUCH_FILE", lambda: sftp.open("none", "w")),
        ("OPEN of nothing to truncate", "NO_SUCH_FILE", lambda: sftp.open("none", "wt")),
        ("OPEN in no folder", "NO_SUCH_FILE", lambda: sftp.open("none/new", "wct")),
        ("OPEN of a folder to write", "FAILURE", lambda: sftp.open("folder", "wct")),
        ("OPEN of a folder to read", "FAILURE", lambda: sftp.open("folder", "r")),
        ("OPEN of a taken name alone", "FAILURE", lambda: sftp.open("file", "wcx")),
        ("OPENDIR of nothing", "NO_SUCH_FILE", lambda: sftp.rows("none")),
        ("OPENDIR of a file", "FAILURE", lambda: sftp.rows("file")),
        ("MKDIR of a taken name", "FAILURE", lambda: sftp.mkdir("folder")),
        ("MKDIR in no folder", "NO_SUCH_FILE", lambda: sftp.mkdir("none/new")),
        ("RMDIR of nothing", "NO_SUCH_FILE", lambda: sftp.rmdir("none")),
        ("RMDIR of a file", "FAILURE", lambda: sftp.rmdir("file")),
        ("RMDIR of a full folder", "FAILURE", lambda: sftp.rmdir("folder")),
        ("REMOVE of nothing", "NO_SUCH_FILE", lambda: sftp.remove("none")),
        ("REMOVE of a folder", "FAILURE", lambda: sftp.remove("folder")),
        ("RENAME of nothing", "NO_SUCH_FILE", lambda: sftp.rename("none", "new")),
        ("RENAME over a file", "FAILURE", lambda: sftp.rename("folder/in", "file")),
        ("SETSTAT of nothing", "NO_SUCH_FILE", lambda: sftp.setstat("none", mode=0o600)),
        ("another owner", "PERMISSION_DENIED", lambda: sftp.setstat("file", owner=(1, 1))),
        ("READLINK of a file", "FAILURE", lambda: sftp.readlink("file")),
        ("a link without the right", "PERMISSION_DENIED", lambda: sftp.symlink("file", "link")),
        ("a second name without the right", "PERMISSION_DENIED",
         lambda: sftp.extended("hardlink@openssh.com", string("file"), string("second"))),
        ("a name above the root", "NO_SUCH_FILE", lambda: sftp.stat("../../etc/passwd")),
        ("a name that is too long", "NO_SUCH_FILE", lambda: sftp.stat("x" * 300)),
        ("a request that nobody knows", "OP_UNSUPPORTED", lambda: sftp.ask(99, nothing)),
        ("an extension that nobody knows", "OP_UNSUPPORTED", lambda: sftp.extended("nothing@example.com")),
        ("READ of no handle", "FAILURE", lambda: sftp.read(b"none", 0, 1)),
        ("CLOSE of no handle", "FAILURE", lambda: sftp.close(b"none")),
    ]:
        refused(what, code, act)
    handle = sftp.open("file", "r")
    same("READ past the end", sftp.read(handle, 4, 10), b"")
    same("READ over the end", sftp.read(handle, 2, 10), b"34")
    refused("WRITE where it was opened to read", "FAILURE", lambda: sftp.write(handle, 0, b"x"))
    sftp.close(handle)
    refused("READ of a closed handle", "FAILURE", lambda: sftp.read(handle, 0, 1))
    handle = sftp.open("file", "w")
    refused("READ where it was opened to write", "FAILURE", lambda: sftp.read(handle, 0, 1))
    sftp.close(handle)
    same("the file after all that", (DISK / "file").read_bytes(), b"1234")


def opening():
    # Each kind of open on "1234", a write of "ab" at 1, and what is there after the close.
    for flags, wanted in [("w", b"1ab4"), ("rw", b"1ab4"), ("wc", b"1ab4"), ("wt", b"\0ab"), ("wct", b"\0ab"), ("wa", b"1234ab"), ("wac", b"1234ab")]:
        put("opened", b"1234")
        handle = sftp.open("opened", flags)
        sftp.write(handle, 1, b"ab")
        size = len(wanted)
        same(f"FSTAT after {flags}", sftp.fstat(handle).size, size)
        same(f"STAT after {flags}", sftp.stat("opened").size, size)
        sftp.close(handle)
        same(f"bytes after {flags}", (DISK / "opened").read_bytes(), wanted)
    # Two pieces appended by name and by handle meet at the end, as two processes' O_APPEND does.
    one, two = sftp.open("opened", "wa"), sftp.open("opened", "wa")
    sftp.write(one, 0, b"1")
    sftp.write(two, 0, b"2")
    sftp.write(one, 0, b"3")
    sftp.close(one)
    sftp.close(two)
    same("bytes of two appenders", (DISK / "opened").read_bytes(), b"1234ab123")
    # A log that is rotated while it is written goes on under its new name.
    log = sftp.open("opened", "wa")
    sftp.rename("opened", "opened.1")
    sftp.write(log, 0, b"!")
    sftp.close(log)
    same("bytes of a renamed log", (DISK / "opened.1").read_bytes(), b"1234ab123!")
    same("its old name", (DISK / "opened").exists(), False)
    # What is written at once and never in order is whole at the end.
    handle = sftp.open("random", "rwct")
    for at in (6, 0, 4, 2):
        sftp.write(handle, at, str(at).encode() * 2)
    same("bytes read back before the close", sftp.read(handle, 0, 99), b"00224466")
    sftp.close(handle)
    same("bytes that came in another order", (DISK / "random").read_bytes(), b"00224466")
    # Reading goes on where a file grows.
    growing = sftp.open("random", "r")
    same("the end of it", sftp.read(growing, 8, 9), b"")
    with open(DISK / "random", "ab") as file:
        file.write(b"more")
    same("what has grown", sftp.read(growing, 8, 9), b"more")
    same("FSTAT of what has grown", sftp.fstat(growing).size, 12)
    sftp.remove("random")
    same("FSTAT of what was removed", sftp.fstat(growing).size, 12)
    same("READ of what was removed", sftp.read(growing, 0, 2), b"00")
    sftp.close(growing)


def lengths():
    put("cut", b"123456")
    sftp.setstat("cut", size=4)
    same("cut by name", (DISK / "cut").read_bytes(), b"1234")
    sftp.setstat("cut", size=6)
    same("extended by name", (DISK / "cut").read_bytes(), b"1234\0\0")
    handle = sftp.open("cut", "w")
    sftp.fsetstat(handle, size=2)
    sftp.close(handle)
    same("cut by handle", (DISK / "cut").read_bytes(), b"12")
    handle = sftp.open("cut", "wct")
    sftp.write(handle, 0, b"abcdef")
    sftp.fsetstat(handle, size=3)
    same("the old file meanwhile", (DISK / "cut").read_bytes(), b"12")
    sftp.close(handle)
    same("a new file cut before its close", (DISK / "cut").read_bytes(), b"abc")
    refused("a folder cut", "FAILURE", lambda: sftp.setstat("folder", size=0))


def facts():
    # As sshfs sends it with create(2): the mode with the open; cp -p sets the rest at the end, before the close or after.
    put("private", b"x", mode=0o600)
    same("the mode of a new file", bits("private"), 0o600)
    put("open", b"x", mode=0o100666)
    same("the mode of a new file for all", bits("open"), 0o644)
    handle = sftp.open("private", "wct", mode=0o644)
    sftp.write(handle, 0, b"new")
    sftp.close(handle)
    same("the mode of a file that is written over", bits("private"), 0o600)
    handle = sftp.open("times", "wct")
    sftp.write(handle, 0, b"x")
    sftp.fsetstat(handle, mode=0o640, times=(THEN, LATER))
    sftp.close(handle)
    found = (DISK / "times").stat()
    same("times set before the close", (int(found.st_atime), int(found.st_mtime), bits("times")), (THEN, LATER, 0o640))
    sftp.setstat("times", times=(LATER, THEN), mode=0o400)
    found = sftp.stat("times")
    same("times and mode set by name", (found.times, found.mode), ((LATER, THEN), 0o100400))
    handle = sftp.open("times", "r")
    sftp.fsetstat(handle, times=(THEN, THEN))
    same("FSTAT after FSETSTAT", sftp.fstat(handle).times, (THEN, THEN))
    # The handle is the file, whatever another one of its name is.
    sftp.rename("times", "times.1")
    put("times", b"another", mode=0o600)
    refused("FSETSTAT after a rename", "FAILURE", lambda: sftp.fsetstat(handle, mode=0o444))
    sftp.close(handle)
    same("modes after that", (bits("times.1"), bits("times")), (0o400, 0o600))
    sftp.setstat("times", mode=0o6755)
    same("set-id bits", bits("times"), 0o755)
    sftp.mkdir("closed", mode=0o700)
    same("the mode of a new folder", bits("closed"), 0o700)
    sftp.mkdir("common", mode=0o777)
    same("the mode of a new folder for all", bits("common"), 0o755)
    sftp.setstat("closed", mode=0o750, times=(THEN, LATER))
    found = sftp.stat("closed")
    same("a folder's facts", (found.mode, found.times), (0o040750, (THEN, LATER)))
    sftp.setstat("times", owner=sftp.stat("times").owner, mode=0o600)


def links():
    os.symlink("file", DISK / "link")
    os.symlink("none", DISK / "dangling")
    os.symlink("folder", DISK / "way")
    os.symlink("/etc/passwd", DISK / "out")
    same("LSTAT of a link", sftp.lstat("link").mode & 0o170000, 0o120000)
    same("LSTAT's size of a link", sftp.lstat("link").size, 4)
    same("STAT through a link", (sftp.stat("link").mode & 0o170000, sftp.stat("link").size), (0o100000, 4))
    same("READLINK", sftp.readlink("link"), b"file")
    same("STAT below a link", sftp.stat("way/in").size, 1)
    refused("STAT through a dangling link", "NO_SUCH_FILE", lambda: sftp.stat("dangling"))
    refused("STAT through a link that leaves", "PERMISSION_DENIED", lambda: sftp.stat("out"))
    refused("OPEN through a link that leaves", "PERMISSION_DENIED", lambda: sftp.open("out", "r"))
    refused("READLINK of a link that leaves", "PERMISSION_DENIED", lambda: sftp.readlink("out"))
    put("link", b"by the link")
    same("a link that was written through", ((DISK / "link").is_symlink(), (DISK / "file").read_bytes()), (True, b"by the link"))
    put("dangling", b"new")
    same("a dangling link that was written through", ((DISK / "dangling").is_symlink(), (DISK / "none").read_bytes()), (True, b"new"))
    before = (DISK / "file").stat()
    sftp.extended("lsetstat@openssh.com", string("link"), attrs(times=(THEN, LATER)))
    found = (DISK / "link").lstat()
    same("times of a link", (int(found.st_atime), int(found.st_mtime)), (THEN, LATER))
    same("times of what it leads to", (DISK / "file").stat().st_mtime_ns, before.st_mtime_ns)
    refused("the mode of a link", "OP_UNSUPPORTED", lambda: sftp.extended("lsetstat@openssh.com", string("link"), attrs(mode=0o600)))
    sftp.extended("lsetstat@openssh.com", string("file"), attrs(times=(THEN, LATER), mode=0o600))
    same("lsetstat of a file", (sftp.stat("file").times, bits("file")), ((THEN, LATER), 0o600))
    sftp.rename("link", "link.1")
    sftp.remove("link.1")
    same("what a removed link led to", (DISK / "file").exists(), True)


def names():
    odd = b"not utf-8 \xff\xfe", b"two\nlines", b"-rf *", "Grüße".encode(), b"back\\slash"
    for name in odd:
        put(name, name)
        same(f"bytes of {name}", (pathlib.Path(os.fsdecode(FOLDER.encode() + b"/" + name))).read_bytes(), name)
        same(f"REALPATH of {name}", sftp.realpath(name), b"/" + name)
    sftp.mkdir(b"\xff")
    put(b"\xff/\xfe", b"x")
    found = sftp.rows(".")
    for name in odd:
        long, row = found[name]
        same(f"the row of {name}", (row.size, row.flags & 15), (len(name), 15))
        same(f"the long row of {name}", (long[:1], long.endswith(name)), (b"-", True))
    same("the kinds in the rows", [found[name][1].mode >> 12 for name in (b".", b"..", b"\xff", odd[0])], [4, 4, 4, 8])
    same("the row of a folder", found[b"\xff"][0][:1], b"d")
    same("the row of a link", (found[b"way"][0][:1], found[b"way"][1].mode >> 12), (b"l", 10))
    sftp.rename(b"\xff/\xfe", b"\xff/\xfd")
    sftp.remove(b"\xff/\xfd")
    sftp.rmdir(b"\xff")
    for name in odd:
        sftp.remove(name)


def extensions():
    for name in ["posix-rename@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com", "hardlink@openssh.com",
                 "fsync@openssh.com", "lsetstat@openssh.com", "limits@openssh.com", "copy-data"]:
        if name not in sftp.extensions:
            faults.append(f"{name} is not announced")
    put("old", b"old")
    put("new", b"new")
    sftp.posix_rename("new", "old")
    same("posix-rename over a file", ((DISK / "old").read_bytes(), (DISK / "new").exists()), (b"new", False))
    refused("posix-rename over a full folder", "FAILURE", lambda: sftp.posix_rename("old", "folder"))
    # What is being written is renamed by its name only: at its close it has the name that it was opened for.
    handle = sftp.open("writing", "wct")
    sftp.write(handle, 0, b"123")
    sftp.extended("fsync@openssh.com", string(handle))
    same("what fsync shows", (DISK / "writing").exists(), False)
    sftp.close(handle)
    reader = sftp.extended("limits@openssh.com")
    packet, reads, writes, handles = (reader.u64() for _ in range(4))
    same("limits", (packet >= 32 << 10, reads >= 32 << 10, writes >= 32 << 10, handles > 0), (True,) * 4)
    handle = sftp.open("longest", "rwct")
    sftp.write(handle, 0, b"x" * writes)
    same("a read of the longest length", len(sftp.read(handle, 0, reads)), reads)
    sftp.close(handle)
    room, host = sftp.extended("statvfs@openssh.com", string("/")), os.statvfs(FOLDER)
    block, part, blocks, free, available = (room.u64() for _ in range(5))
    same("statvfs", (blocks * part, block > 0, available <= free <= blocks), (host.f_blocks * host.f_frsize, True, True))
    refused("statvfs of nothing", "NO_SUCH_FILE", lambda: sftp.extended("statvfs@openssh.com", string("none at all")))
    put("source", b"0123456789")
    source, target = sftp.open("source", "r"), sftp.open("copied", "wct")
    sftp.extended("copy-data", string(source), struct.pack(">QQ", 2, 5), string(target), struct.pack(">Q", 1))
    sftp.extended("copy-data", string(source), struct.pack(">QQ", 8, 0), string(target), struct.pack(">Q", 6))
    sftp.close(source)
    sftp.close(target)
    same("copy-data", (DISK / "copied").read_bytes(), b"\x0023456" + b"89")
    same("REALPATH", [sftp.realpath(name) for name in (".", "", "folder/../file", "/..")], [b"/", b"/", b"/file", b"/"])


sftp = Sftp(connect(HOST, PORT, os.environ["NAME"], os.environ["PASSWORD"]))
for part in (codes, opening, lengths, facts, links, names, extensions):
    try:
        part()
    except (Refused, OSError, AssertionError, KeyError) as error:
        line = error.__traceback__
        while line.tb_next and line.tb_next.tb_frame.f_code.co_filename == __file__:
            line = line.tb_next
        faults.append(f"{part.__name__}, line {line.tb_lineno}: {error!r}")
print("\n".join(faults))
sys.exit(bool(faults))
