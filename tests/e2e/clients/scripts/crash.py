"""Uploads without end over every door, and the look at what is left after a crash.

    crash.py write LOG SEED USER PASSWORD PROTOCOL=HOST:PORT...
    crash.py check LOG FOLDER

Each file says in its first line which upload it is of and what must follow, so that a file is whole or not by itself. LOG gets a line
for each upload whose success was told, written before the next one begins.
"""
import asyncio, base64, ftplib, hashlib, http.client, io, os, pathlib, random, socket, ssl, sys, threading

NAMES = 3
LARGEST = 3 << 20
UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname = False
UNCHECKED.verify_mode = ssl.CERT_NONE


def content(name, number, rng):
    # Mostly small, sometimes of many pieces.
    size = rng.choice([0, 100, 70_000, rng.randrange(LARGEST)])
    body = rng.randbytes(size)
    return f"{name} {number} {size} {hashlib.sha256(body).hexdigest()}\n".encode() + body


class Ftp:
    def __init__(self, address, user, password):
        self.ftp = self.connected(address)
        self.ftp.login(user, password)
        if isinstance(self.ftp, ftplib.FTP_TLS):
            self.ftp.prot_p()

    def connected(self, address):
        ftp = ftplib.FTP(timeout=20)
        ftp.connect(*address)
        return ftp

    def put(self, name, data):
        self.ftp.storbinary(f"STOR {name}", io.BytesIO(data))


class ExplicitTls(Ftp):
    def connected(self, address):
        ftp = ftplib.FTP_TLS(context=UNCHECKED, timeout=20)
        ftp.connect(*address)
        ftp.auth()
        return ftp


class ImplicitTls(Ftp):
    def connected(self, address):
        ftp = ftplib.FTP_TLS(context=UNCHECKED, timeout=20)
        ftp.host, ftp.port = address
        ftp.sock = UNCHECKED.wrap_socket(socket.create_connection(address, timeout=20))
        ftp.af, ftp.file = ftp.sock.family, ftp.sock.makefile("r", encoding=ftp.encoding)
        ftp.welcome = ftp.getresp()
        return ftp


class Sftp:
    def __init__(self, address, user, password):
        import asyncssh
        self.loop = asyncio.new_event_loop()
        host, port = address
        there = asyncssh.connect(host, port, username=user, password=password, known_hosts=None, config=None, client_keys=None)
        self.ssh = self.loop.run_until_complete(there)
        self.sftp = self.loop.run_until_complete(self.ssh.start_sftp_client())

    def put(self, name, data):
        async def put():
            file = await self.sftp.open(name, "wb")
            await file.write(data)
            await file.close()
            # Where the connection is gone already, asyncssh closes without a word to anybody: only what answers now was told.
            await self.sftp.stat(name)
        self.loop.run_until_complete(asyncio.wait_for(put(), 20))


class Web:
    base = "/api/v1/files/"

    def __init__(self, address, user, password):
        self.http = self.connection(address)
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {login}"}

    def connection(self, address):
        return http.client.HTTPConnection(*address, timeout=20)

    def put(self, name, data):
        self.http.request("PUT", self.base + name, body=data, headers=self.headers)
        answer = self.http.getresponse()
        answer.read()
        if answer.status not in (201, 204):
            raise OSError(f"HTTP {answer.status}")


class Dav(Web):
    base = "/dav/"

    def connection(self, address):
        return http.client.HTTPSConnection(*address, timeout=20, context=UNCHECKED)


# A name of its own for each door: who is overtaken by whom on one name is another rule's affair.
DOORS = {"ftp": ("ftp", Ftp), "tls": ("ftp", ExplicitTls), "ftps": ("ftps", ImplicitTls), "sftp": ("sftp", Sftp),
         "http": ("http", Web), "dav": ("https", Dav)}


def upload(door, make, address, user, password, seed, log):
    rng = random.Random(f"{seed} {door}")
    number = seed * 1_000_000
    try:
        session = make(address, user, password)
        while True:
            name, number = f"{door}-{rng.randrange(NAMES)}.bin", number + 1
            session.put(name, content(name, number, rng))
            os.write(log, f"{name} {number}\n".encode())
    except Exception as error:
        # The crash looks different through each library; what counts is what was told before.
        print(f"{door}: {type(error).__name__} {error}", file=sys.stderr)


def write(log, seed, user, password, *doors):
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at = {}
    for door in doors:
        protocol, address = door.split("=")
        host, port = address.rsplit(":", 1)
        at[protocol] = (host, int(port))
    threads = [threading.Thread(target=upload, args=(door, make, at[protocol], user, password, int(seed), log))
               for door, (protocol, make) in DOORS.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check(log, folder):
    told = {}
    for line in pathlib.Path(log).read_text().splitlines():
        name, number = line.split()
        told[name] = int(number)
    faults, names = [], {f"{door}-{number}.bin" for door in DOORS for number in range(NAMES)}
    found = {path.name: path for path in pathlib.Path(folder).iterdir()}
    for name in told.keys() - found.keys():
        faults.append(f"{name} is gone: upload {told[name]} was told to be there")
    for name, path in found.items():
        if name not in names:
            # Partials wait for their clients; nothing else has business here.
            if not name.startswith(".lockgate-part-"):
                faults.append(f"{name} is litter")
            continue
        data = path.read_bytes()
        head, _, body = data.partition(b"\n")
        try:
            says, number, size, digest = head.decode().split()
            whole = (says, int(size), digest) == (name, len(body), hashlib.sha256(body).hexdigest())
        except ValueError:
            whole, number = False, 0
        if not whole:
            faults.append(f"{name} is not whole: {len(data)} bytes, begins with {data[:60]!r}")
        elif int(number) < told.get(name, 0):
            faults.append(f"{name} is of upload {number}, and {told[name]} was told to be there")
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
