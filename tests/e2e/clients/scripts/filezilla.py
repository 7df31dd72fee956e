"""FileZilla, a program with windows, on a screen that nobody sees.

Site, certificate and queue are prepared as the files that it keeps itself; so it connects and lists at its start, and
one key press starts the queue. Renaming and deleting go by mouse and keyboard. Its own log tells when a step is done.
"""

import base64
import os
import re
import shutil
import sqlite3
import ssl
import subprocess
import sys
import time
from urllib.parse import quote
from xml.sax.saxutils import escape

HOST, PORT, MODE, NAME, PASSWORD = (os.environ[key] for key in ("HOST", "PORT", "MODE", "NAME", "PASSWORD"))
WORK = os.getcwd()
SETTINGS = os.path.join(WORK, ".config/filezilla")
QUEUE = os.path.join(SETTINGS, "queue.sqlite3")
LOG = os.path.join(WORK, "filezilla.log")
SAID = os.path.join(WORK, "said")
# FileZilla's numbers of protocols.
PROTOCOL = {"plain": 6, "implicit": 3, "explicit": 4}[MODE]
DOWNLOAD, RESUME, NORMAL_LOGON = 0x10, 5, 1
TRANSFERS = 5
TABLES = {"servers", "files", "local_paths", "remote_paths"}
SCREEN = (1000, 700)
PATIENCE, TRIES = 40, 5


def document(name, content):
    with open(os.path.join(SETTINGS, name), "w") as file:
        file.write(f'<?xml version="1.0"?><FileZilla3>{content}</FileZilla3>')


def prepare():
    os.makedirs(SETTINGS)
    settings = {
        "Greeting version": "99.0.0",
        "Logging file": LOG,
        "Logging Raw Listing": 1,
        # In order, one at a time: the queue puts a half file and then goes on with it.
        "Number of Transfers": 1,
        "Reconnect count": 0,
        "Show Tree Local": 0,
        "Show Tree Remote": 0,
        "Show message log": 0,
        "Show quickconnect bar": 0,
        "Show queue": 0,
        "Toolbar hidden": 1,
        "Queue completion action": 0,
        "Disable update check": 1,
    }
    lines = "".join(f'<Setting name="{name}">{escape(str(value))}</Setting>' for name, value in settings.items())
    document("filezilla.xml", f"<Settings>{lines}</Settings>")
    password = base64.b64encode(PASSWORD.encode()).decode()
    document(
        "sitemanager.xml",
        f"<Servers><Server><Host>{HOST}</Host><Port>{PORT}</Port><Protocol>{PROTOCOL}</Protocol><Type>0</Type>"
        f'<User>{escape(NAME)}</User><Pass encoding="base64">{password}</Pass><Logontype>{NORMAL_LOGON}</Logontype>'
        "<EncodingType>Auto</EncodingType><BypassProxy>0</BypassProxy><Name>site</Name></Server></Servers>",
    )
    document("trustedcerts.xml", insecure() if MODE == "plain" else trusted())


def insecure():
    return f'<InsecureHosts><Host Port="{PORT}">{HOST}</Host></InsecureHosts>'


def trusted():
    with open(os.environ["CERTIFICATE"]) as file:
        certificate = ssl.PEM_cert_to_DER_cert(file.read()).hex()
    now = int(time.time())
    return (
        f"<TrustedCerts><Certificate><Data>{certificate}</Data><ActivationTime>{now - 86400}</ActivationTime>"
        f"<ExpirationTime>{now + 86400}</ExpirationTime><Host>{HOST}</Host><Port>{PORT}</Port>"
        "<TrustSANs>0</TrustSANs></Certificate></TrustedCerts>"
    )


def fill_queue():
    """The tables are FileZilla's own, made by its first start."""
    rows = [
        ("whole.bin", "put.bin", 0),
        ("there.bin", "got.bin", DOWNLOAD),
        ("half.bin", "up.bin", 0),
        ("whole.bin", "up.bin", 0),
        ("there.bin", "down.bin", DOWNLOAD),
    ]
    with sqlite3.connect(QUEUE) as queue:
        server = queue.execute(
            "INSERT INTO servers (host, port, user, password, protocol, type, logontype, timezone_offset,"
            " transfer_mode, max_connections, encoding, bypass_proxy, name) VALUES (?,?,?,?,?,0,?,0,'passive',0,'Auto',0,'site')",
            (HOST, int(PORT), NAME, PASSWORD, PROTOCOL, NORMAL_LOGON),
        ).lastrowid
        local = queue.execute("INSERT INTO local_paths (path) VALUES (?)", (WORK + "/",)).lastrowid
        remote = queue.execute("INSERT INTO remote_paths (path) VALUES ('1 0')").lastrowid
        for source, target, flags in rows:
            size = os.path.getsize("whole.bin" if flags else source)
            queue.execute(
                "INSERT INTO files (server, source_file, target_file, local_path, remote_path, size, error_count,"
                " priority, flags, default_exists_action) VALUES (?,?,?,?,?,?,0,2,?,?)",
                (server, source, target, local, remote, size, flags, RESUME),
            )


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def log():
    return read(LOG)


def holds(ask, seconds):
    end = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > end:
            return None
        time.sleep(0.05)
    return answer


def until(step, ask):
    return holds(ask, PATIENCE) or give_up(step)


def give_up(step):
    sys.exit(f"{step}: not done; windows: {windows()}\n{read(SAID)}\n{read(LOG)[-4000:]}")


def insist(step, act, pattern):
    """Acts until the log has the pattern: a window that was not ready yet loses what is typed."""
    for _ in range(TRIES):
        act()
        if holds(lambda: re.search(pattern, log(), re.S), PATIENCE / TRIES):
            return
    give_up(step)


def xdotool(*arguments):
    return subprocess.run(["xdotool", *map(str, arguments)], capture_output=True, text=True).stdout


def windows():
    ids = xdotool("search", "--onlyvisible", "--name", ".").split()
    return {window: xdotool("getwindowname", window).strip() for window in ids}


def window(words):
    return next((window for window, title in windows().items() if words in title), None)


def press(keys, text=None):
    xdotool("key", "--delay", 30, *keys)
    if text:
        xdotool("type", "--delay", 30, text)


def select(name):
    """In the list of remote files, the right half; Home forgets what was typed before, typing selects by name, and
    a blank would undo it."""
    xdotool("mousemove", 750, 550, "click", 1)
    press(["Escape", "Home"], name)


def rename():
    select("old")
    press(["F2", "ctrl+a"], "new name.bin")
    press(["Return"])


def delete():
    select("unwanted")
    press(["Delete"])
    if question := holds(lambda: window("onfirm"), 3):
        xdotool("windowfocus", "--sync", question)
        press(["Return"])


def drive():
    frame = until("start", lambda: window("FileZilla"))
    until("list", lambda: re.search("Directory listing of .* successful", log()))
    shutil.copy(LOG, "listing")
    xdotool("windowsize", "--sync", frame, *SCREEN, "windowmove", frame, 0, 0, "windowfocus", "--sync", frame)
    insist("rename", rename, "RNTO new name.bin.*Response: 250")
    insist("delete", delete, "DELE unwanted.bin.*Response: 250")
    insist("process the queue", lambda: press(["ctrl+p"]), "Starting upload")
    until("transfers", lambda: log().count("File transfer successful") == TRANSFERS)


def start(*arguments):
    with open(SAID, "a") as said:
        return subprocess.Popen(["filezilla", *arguments], stdout=said, stderr=said)


def stop(client):
    client.kill()
    client.wait()


def queue_is_made():
    """Read without locks, which FileZilla would stumble over."""
    try:
        with sqlite3.connect(f"file:{quote(QUEUE)}?immutable=1", uri=True) as queue:
            tables = {name for (name,) in queue.execute("SELECT name FROM sqlite_master")}
            made = TABLES <= tables and queue.execute("PRAGMA user_version").fetchone()[0]
            # What is in the file is there for good once the journal is gone.
            return made and not os.path.exists(QUEUE + "-journal")
    except sqlite3.Error:
        return False


def main():
    prepare()
    reading, writing = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "{}x{}x24".format(*SCREEN), "-nolisten", "tcp", "-noreset"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    client = None
    try:
        with os.fdopen(reading) as number:
            os.environ["DISPLAY"] = f":{number.readline().strip()}"
        # FZDEBUG lets it write listings into its log.
        os.environ |= {"HOME": WORK, "XDG_RUNTIME_DIR": WORK, "NO_AT_BRIDGE": "1", "FZDEBUG": "1"}
        # Its first start makes the tables of the queue.
        client = start()
        until("first start", queue_is_made)
        stop(client)
        fill_queue()
        client = start("--site", "0/site")
        drive()
    finally:
        if client:
            stop(client)
        screen.terminate()
        screen.wait()


main()
