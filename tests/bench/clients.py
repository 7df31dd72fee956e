"""The stock clients and what they are told: the same words for a server and its peer, whatever the door.

`fetch` and `store` move one file, `*_many` a tree. Each waits until the client has ended well; an error of it is an error of the run.
"""
import os, pathlib, signal, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent
VENV = HERE.parents[1] / "target/venv/bin/python"
GCM, CHACHA = "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"
# Without it both sides of OpenSSH agree on an exchange that only they have; the figures would not compare.
EXCHANGE = "curve25519-sha256"


class Failed(Exception):
    """A client said that something went wrong."""


def begin(*command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more):
    return subprocess.Popen([str(c) for c in command], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, **more)


def hand_over(process, text):
    """All that the client is to read, and the end."""
    process.stdin.write(text.encode())
    process.stdin.close()
    process.stdin = None
    return process


def finish(*running):
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            text = said.decode(errors="replace") if isinstance(said, bytes) else said
            raise Failed(f"{' '.join(process.args[:2])} … ended with {process.returncode}: {text.strip()[-300:]}")


def run(*command, **more):
    finish(begin(*command, **more))


def ssh_options(server, port=None, cipher=GCM):
    key, own_port, user = server.sftp_target()
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR", f"Ciphers={cipher}",
               f"KexAlgorithms={EXCHANGE}", "IdentitiesOnly=yes", "GlobalKnownHostsFile=/dev/null"]
    return ["-F", "none", "-i", key, "-o", f"Port={port or own_port}", *(word for option in options for word in ("-o", option))], f"{user}@127.0.0.1"


def sftp_begin(server, batch, cipher=GCM, port=None, limit=None, source=None, stdout=subprocess.DEVNULL):
    """A started client with its commands in hand; `limit` is in KiB/s, `source` the address that it comes from."""
    options, target = ssh_options(server, port, cipher)
    slow = (["-l", limit * 8] if limit else []) + (["-o", f"BindAddress={source}"] if source else [])
    process = begin("sftp", "-q", "-b", "-", *slow, *options, target, stdin=subprocess.PIPE, stdout=stdout, start_new_session=True)
    return hand_over(process, "".join(f"{line}\n" for line in batch))


def sftp(server, *batch, **more):
    finish(sftp_begin(server, batch, **more))


def sftp_word(server, verb, local, number=None):
    if verb == "get":
        return f"get {server.remote('sftp', local.name)} /dev/null"
    return f"put {local} {server.remote('sftp', 'in/' + (f'{number}-' if number is not None else '') + local.name)}"


def ssh_login(server):
    """One login and the start of the file service; the client leaves at once."""
    options, target = ssh_options(server)
    return begin("ssh", *options, "-s", target, "sftp")


def curl_login(server):
    return ["-u", ":".join(server.login)] if server.login else []


def curl(server, *words, version=1):
    """Without a version both sides would take the newest that they have in common, and that is not the same for all."""
    run("curl", "-sS", "-k", "--fail", "--http2" if version == 2 else "--http1.1", *curl_login(server), *words)


def url(server, door, name, port=None):
    scheme = "https" if door == "https" else "http"
    return f"{scheme}://127.0.0.1:{server.ports.get(port) or server.ports.get(door) or server.ports[scheme]}{server.remote(door, name)}"


def greet(server, door):
    """A login is remembered for a client that repeats it; what follows is then about files. The hash of the first has rows of its own."""
    if server.login:
        curl(server, "-o", "/dev/null", url(server, door, "tiny.bin"))


def web(server, verb, local, door, version=1, port=None, numbers=range(1)):
    """As many transfers as there are numbers, one behind the other on one connection."""
    words = []
    for number in numbers:
        if verb == "get":
            words += ["-o", "/dev/null", url(server, door, local.name, port)]
        else:
            words += ["-T", local, url(server, door, f"in/{number}-{local.name}", port)]
    curl(server, *words, version=version)


def curl_pace(limit, source):
    return (["--limit-rate", f"{limit}k"] if limit else []) + (["--interface", source] if source else [])


def web_begin(server, verb, local, door, limit=None, number=0, source=None):
    words = ["-o", "/dev/null", url(server, door, local.name)] if verb == "get" else ["-T", local, url(server, door, f"in/{number}-{local.name}")]
    return begin("curl", "-sS", "-k", "--fail", "--http1.1", "-H", "Expect:", *curl_pace(limit, source), *curl_login(server), *words,
                 start_new_session=True)


def curl_ftp_begin(server, verb, local, limit=None, number=0, source=None):
    root = f"ftp://127.0.0.1:{server.ports['ftp']}/"
    words = ["-o", "/dev/null", root + local.name] if verb == "get" else ["-T", local, f"{root}in/{number}-{local.name}"]
    return begin("curl", "-sS", "--fail", *curl_pace(limit, source), *curl_login(server), *words, start_new_session=True)


def ftp(server, verb, name, local, protection="clear", count=1, clients=1):
    """Seconds from the word to the end of the last transfer, and the server's CPU seconds in that time (its processes for these clients
    are still there then); the logins came before. Each client has a process, a login and names of its own. With `count` 0: the seconds
    of a login."""
    user, password = server.login
    running = []
    for client in range(clients):
        target = name if verb != "put" else f"in/{client}-{name}"
        words = [server.ports["ftp"], user, password, verb, protection, count, target, local]
        running.append(begin(sys.executable, HERE / "ftp.py", *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    logins = [process.stdout.readline() for process in running]
    if not all(logins):
        # Those that got in wait for the word, and would wait for ever.
        for process, login in zip(running, logins):
            if login:
                process.kill()
        finish(*(process for process, login in zip(running, logins) if not login))
    used, start = server.meter.cpu(), time.monotonic()
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in running:
        process.stdout.readline()
    took, used = time.monotonic() - start, server.meter.cpu() - used
    finish(*running)
    return (took, used) if count else (float(logins[0]), used)


def obscured(password):
    """rclone takes passwords in a disguise of its own."""
    return subprocess.run(["rclone", "obscure", password], check=True, capture_output=True, text=True).stdout.strip()


def rclone_place(server, door, path):
    if door == "sftp":
        key, port, user = server.sftp_target()
        # No sums by way of a shell: only one of the two servers has one.
        return f":sftp,host=127.0.0.1,port={port},user={user},key_file={key},shell_type=none,disable_hashcheck=true:{server.remote('sftp', path)}"
    user = f",user={server.login[0]},pass={obscured(server.login[1])}" if server.login else ""
    base = url(server, "webdav", "").rstrip("/")
    return f":webdav,url='{base}',vendor=other{user}:{path}"


def rclone(source, target):
    environment = dict(os.environ, RCLONE_CONFIG="/dev/null")
    run("rclone", "copy", "--transfers", "8", "--retries", "1", "-q", source, target, env=environment)


def lftp(server, *commands, mode_z=True):
    user, password = server.login
    settings = ["set ftp:ssl-allow no", "set net:max-retries 1", "set cmd:fail-exit yes"] + ([] if mode_z else ["set ftp:use-mode-z no"])
    script = "; ".join([*settings, f"open -p {server.ports['ftp']} -u {user},{password} 127.0.0.1", *commands])
    run("lftp", "--norc", "-c", script, env=dict(os.environ, LFTP_HOME="/nonexistent"))


def halt(processes, how=signal.SIGSTOP):
    """A client that stops in the middle, as one does whose machine sleeps: the connection stays and nothing is read. Each is the leader of
    a session, so that what it has started stops as well."""
    for process in processes:
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass


def end(processes):
    halt(processes, signal.SIGKILL)
    for process in processes:
        process.communicate()
