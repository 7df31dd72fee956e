"""Lockgate and its peers, each started with a private configuration on free ports of loopback, and what clients must know of each.

Every server has a folder `files` that clients read from and, in it, `in`, where they write. `remote(door, name)` is how a client says
the name of a file there. `login` is a user and a password, or None.
"""
import json, os, pathlib, pwd, shutil, signal, socket, subprocess, time

import packages
from accounting import Meter

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("LOCKGATE", ROOT / "target/release/lockgate"))
USER, PASSWORD = "bench", "bench-password"


class Missing(Exception):
    """A peer is not there; the text says what to install."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)


def wait_for(port, process):
    for _ in range(400):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise Missing(f"{process.args[-1]}: nothing listens on port {port}")


def program(path, package):
    if not os.access(path, os.X_OK):
        raise Missing(f"apt-get install {package}")
    return path


class Server:
    """One process with its meter, its folder and its ports."""

    name, login = None, None

    def __init__(self, work, label=None):
        self.work = work / (label or self.name)
        self.files, self.ports = self.work / "files", {}
        (self.files / "in").mkdir(parents=True)
        self.meter = Meter(label or self.name)

    def start(self, *command, **more):
        log = open(self.work / "log", "ab")
        self.process = subprocess.Popen(self.meter.command(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        self.meter.pid = self.process.pid
        log.close()

    def remote(self, door, name):
        return name

    def need_webdav(self):
        """Raises where the server can do no more of WebDAV than PUT."""

    def offer(self, *paths):
        """Puts hard links to files, or links to all of a folder, where clients can read them."""
        for path in paths:
            target = self.files / path.name
            if path.is_dir():
                if not target.exists():
                    shutil.copytree(path, target, copy_function=os.link if same_disk(path, self.files) else shutil.copy)
            elif not target.exists():
                os.link(path, target) if same_disk(path, self.files) else shutil.copy(path, target)

    def clear(self):
        """Takes away what clients put, so that the next round makes new files again."""
        for path in (self.files / "in").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def stop(self):
        if getattr(self, "process", None):
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.meter.close()


def same_disk(one, other):
    return os.stat(one).st_dev == os.stat(other).st_dev


class Lockgate(Server):
    """As `init` makes it, but for the limits on clients from one address: loopback would hit them, and the peers have none. `durability`
    rename is what the peers do: they do not sync."""

    name = "lockgate"

    def __init__(self, work, label=None, durability="rename"):
        super().__init__(work, label)
        self.home, self.login = self.work / "home", (USER, PASSWORD)
        self.call("init", "--bind", "127.0.0.1", "--ports", "ephemeral")
        # Any free port is slow to find where thousands wait in TIME_WAIT; an operator names a range in any case.
        for key, value in (("durability", durability), ("server_list[0].pasv_ports", "20000-29999"), ("max_strangers", "5000"),
                           ("max_strangers_per_address", "5000"), ("password_hash_queue", "5000")):
            self.call("prefs", "set", key, value)
        self.add(USER, PASSWORD)
        self.key = self.work / "id"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.call("user", "key", "add", USER, f"{self.key}.pub")
        self.start(PROGRAM, "--home", self.home, "serve")
        for _ in range(400):
            status = subprocess.run([PROGRAM, "--home", self.home, "status", "--json"], capture_output=True)
            if status.returncode == 0 and json.loads(status.stdout)["ready"]:
                break
            time.sleep(0.05)
        else:
            raise Missing(f"lockgate does not start: {(self.work / 'log').read_text()[-300:]}")
        self.ports = {l["protocol"]: int(l["addr"].rsplit(":", 1)[1]) for l in json.loads(status.stdout)["listeners"]}
        self.certificate, self.certificate_key = self.home / "keys/tls.crt", self.home / "keys/tls.key"

    def call(self, *words, **more):
        return subprocess.run([str(w) for w in (PROGRAM, "--home", self.home, "--json", *words)], check=True, capture_output=True, **more).stdout

    def add(self, user, password):
        self.call("user", "add", user, "--password-stdin", "--root", self.files, input=password.encode())

    def enrol(self, user):
        """The secret of the user's authenticator, base32."""
        return json.loads(self.call("otp", "enroll", user))["secret"]

    def remote(self, door, name):
        return {"sftp": "/", "http": "/api/v1/files/", "https": "/api/v1/files/", "webdav": "/dav/", "ftp": ""}[door] + name

    def sftp_target(self):
        return self.key, self.ports["sftp"], USER


class OpenSsh(Server):
    name = "openssh"

    def __init__(self, work, key, label=None):
        super().__init__(work, label)
        self.key, port = key, free_port()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.work / "host")
        config = self.work / "sshd_config"
        # SHLVL keeps Debian's bash from reading the login's start-up files, which would be charged to the server.
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.work}/host\nAuthorizedKeysFile {key}.pub\nStrictModes no\nPidFile none\n"
            f"UsePAM no\nPermitRootLogin yes\nSetEnv SHLVL=3\nSubsystem sftp /usr/lib/openssh/sftp-server\nMaxStartups 1000\n")
        os.makedirs("/run/sshd", exist_ok=True)
        self.start(program("/usr/sbin/sshd", "openssh-server"), "-D", "-f", config)
        self.ports = {"sftp": port}
        wait_for(port, self.process)

    def remote(self, door, name):
        return f"{self.files}/{name}"

    def sftp_target(self):
        return self.key, self.ports["sftp"], pwd.getpwuid(os.getuid()).pw_name


class Vsftpd(Server):
    """Anonymous, since its users would be those of the machine; its two processes for each client are the same then."""

    name, login = "vsftpd", ("anonymous", "x@example.com")

    def __init__(self, work, certificate, key, label=None):
        super().__init__(work, label)
        port = free_port()
        os.chmod(self.files / "in", 0o777)
        config = self.work / "vsftpd.conf"
        config.write_text(
            f"listen=YES\nlisten_port={port}\nlisten_address=127.0.0.1\nanonymous_enable=YES\nno_anon_password=YES\nanon_root={self.files}\n"
            f"write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_umask=022\nanon_other_write_enable=YES\n"
            f"background=NO\nseccomp_sandbox=NO\nssl_enable=YES\nallow_anon_ssl=YES\nforce_local_data_ssl=NO\nforce_local_logins_ssl=NO\n"
            f"require_ssl_reuse=NO\nrsa_cert_file={certificate}\nrsa_private_key_file={key}\nssl_ciphers=ECDHE-ECDSA-AES256-GCM-SHA384\n"
            f"xferlog_enable=NO\nsecure_chroot_dir={self.work}/empty\nftp_username=ftp\npasv_min_port=30000\npasv_max_port=32000\n"
            f"max_per_ip=0\nmax_clients=0\n")
        (self.work / "empty").mkdir()
        self.start(program("/usr/sbin/vsftpd", "vsftpd"), config)
        self.ports = {"ftp": port}
        wait_for(port, self.process)


class Proftpd(Server):
    name, login = "proftpd", (USER, PASSWORD)

    def __init__(self, work, certificate, key):
        super().__init__(work)
        port, environment, modules = free_port(), dict(os.environ), "/usr/lib/proftpd"
        binary = pathlib.Path("/usr/sbin/proftpd")
        if not binary.exists():
            try:
                folder = packages.unpack("proftpd-core", "proftpd-mod-crypto")
            except FileNotFoundError as error:
                raise Missing(str(error)) from error
            binary, modules = folder / "usr/sbin/proftpd", folder / "usr/lib/proftpd"
            environment["LD_LIBRARY_PATH"] = ":".join(str(path) for path in (folder / "usr/lib").glob("*-linux-gnu*"))
        digest = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, check=True, capture_output=True, text=True).stdout.strip()
        users = self.work / "users"
        users.write_text(f"{USER}:{digest}:{os.getuid()}:{os.getgid()}::{self.files}:/bin/sh\n")
        users.chmod(0o600)
        config = self.work / "proftpd.conf"
        config.write_text(
            f"ModulePath {modules}\nLoadModule mod_tls.c\nServerType standalone\nServerName bench\nPort {port}\nDefaultAddress 127.0.0.1\n"
            f"SocketBindTight on\nUseReverseDNS off\nUseIPv6 off\nUser root\nGroup root\nAuthOrder mod_auth_file.c\nAuthUserFile {users}\n"
            f"RequireValidShell off\nRootLogin on\nDefaultRoot ~\nWtmpLog off\nTransferLog NONE\nSystemLog {self.work}/system.log\n"
            f"PidFile {self.work}/pid\nScoreboardFile {self.work}/scoreboard\nDelayEngine off\nAllowOverwrite on\nMaxInstances none\n"
            f"PassivePorts 30000 32000\nTLSEngine on\nTLSRequired off\nTLSRSACertificateFile /dev/null\nTLSProtocol TLSv1.2 TLSv1.3\n"
            f"TLSECCertificateFile {certificate}\nTLSECCertificateKeyFile {key}\nTLSVerifyClient off\nTLSOptions NoSessionReuseRequired\n"
            .replace("TLSRSACertificateFile /dev/null\n", ""))
        self.start(binary, "-n", "-c", config, env=environment)
        self.ports = {"ftp": port}
        wait_for(port, self.process)


class Nginx(Server):
    """Three ports: plain (the better of its settings for loopback, `tcp_nopush` off), plain without `sendfile`, and TLS. WebDAV is the
    same PUT; PROPFIND and MKCOL need the extended dav module, which is apart in Debian."""

    name = "nginx"

    def __init__(self, work, certificate, key):
        super().__init__(work)
        program("/usr/sbin/nginx", "nginx-light")
        self.ports = {door: free_port() for door in ("http", "copying", "https")}
        self.ports["webdav"] = self.ports["http"]
        load, extended = "", ""
        self.without_dav = None
        module = pathlib.Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
        try:
            if not module.exists():
                module = packages.unpack("libnginx-mod-http-dav-ext") / "usr/lib/nginx/modules/ngx_http_dav_ext_module.so"
            load, extended = f"load_module {module};", "dav_ext_methods PROPFIND OPTIONS;"
        except FileNotFoundError as error:
            self.without_dav = str(error)
        body = (f"root {self.files}; location / {{ dav_methods PUT DELETE MKCOL COPY MOVE; {extended} create_full_put_path on; }}\n"
                f"location /json/ {{ alias {self.files}/; autoindex on; autoindex_format json; }}\n")
        config = self.work / "nginx.conf"
        config.write_text(
            f"{load} daemon off; worker_processes 2; user root; pid {self.work}/pid; error_log {self.work}/err;\n"
            f"worker_rlimit_nofile 20000; events {{ worker_connections 8000; }}\nhttp {{ access_log off; tcp_nopush off; tcp_nodelay on;\n"
            f"keepalive_requests 1000000; keepalive_timeout 600; client_max_body_size 0; client_body_buffer_size 1m;\n"
            f"client_body_temp_path {self.work}/body;\n"
            f"server {{ listen 127.0.0.1:{self.ports['http']} backlog=2048; sendfile on; {body} }}\n"
            f"server {{ listen 127.0.0.1:{self.ports['copying']}; sendfile off; output_buffers 2 1m; {body} }}\n"
            f"server {{ listen 127.0.0.1:{self.ports['https']} ssl http2; sendfile on; http2_body_preread_size 1m; ssl_certificate {certificate};\n"
            f"ssl_certificate_key {key}; ssl_buffer_size 16k; {body} }} }}\n")
        self.start("/usr/sbin/nginx", "-c", config)
        wait_for(self.ports["http"], self.process)

    def remote(self, door, name):
        return f"/{name}"

    def need_webdav(self):
        if self.without_dav:
            raise Missing(self.without_dav)


class Street:
    """The servers of one run, started when a row first needs them, and the files that they offer."""

    def __init__(self, work, disk):
        self.work, self.disk, self.started, self.absent = work, disk, {}, {}
        self.offered = []

    def __getattr__(self, name):
        makers = {
            "own": lambda: Lockgate(self.work),
            "own_full": lambda: Lockgate(self.disk, "lockgate-full", durability="full"),
            "openssh": lambda: OpenSsh(self.work, self.own.key),
            "openssh_disk": lambda: OpenSsh(self.disk, self.own_full.key, "openssh-disk"),
            "vsftpd": lambda: Vsftpd(self.work, self.own.certificate, self.own.certificate_key),
            "vsftpd_disk": lambda: Vsftpd(self.disk, self.own_full.certificate, self.own_full.certificate_key, "vsftpd-disk"),
            "proftpd": lambda: Proftpd(self.work, self.own.certificate, self.own.certificate_key),
            "nginx": lambda: Nginx(self.work, self.own.certificate, self.own.certificate_key),
        }
        if name not in makers:
            raise AttributeError(name)
        if name in self.absent:
            raise Missing(self.absent[name])
        if name not in self.started:
            try:
                self.started[name] = makers[name]()
                self.started[name].offer(*self.offered)
            except Missing as error:
                self.absent[name] = str(error)
                raise
        return self.started[name]

    def fresh(self, label):
        """One more Lockgate that nobody has used, for the rows about memory; the caller stops it."""
        return Lockgate(self.work, label)

    def stop(self):
        for server in self.started.values():
            server.stop()
