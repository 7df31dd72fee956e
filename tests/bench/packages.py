"""Peers that cannot be installed, or need not be: Debian's packages, fetched and unpacked below target/peers.

Debian takes one FTP server at a time, and the tests have vsftpd; nginx's extended dav module would be loaded by every nginx of the
machine. Unpacked, neither touches the system. Nothing of a package is run to install it.
"""
import pathlib, shutil, subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "target/peers"


def said(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, **more).stdout


def installed(package):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True).stdout.startswith("install ok")


def dependencies(file):
    """The libraries that a fetched package needs; of alternatives the first."""
    words = [entry.split("|")[0].split("(")[0].strip() for entry in said("dpkg-deb", "-f", file, "Depends").split(",")]
    return [word for word in words if word.startswith("lib")]


def unpack(*packages):
    """The folder with the packages and the libraries that the system lacks; an error of one line where they cannot be had."""
    folder = PLACE / packages[0]
    if (folder / ".complete").exists():
        return folder
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise FileNotFoundError(f"needs apt-get and dpkg-deb to fetch {', '.join(packages)}")
    shutil.rmtree(folder, ignore_errors=True)
    files = folder / "fetched"
    files.mkdir(parents=True)
    waiting, seen = list(packages), set()
    try:
        while waiting:
            package = waiting.pop()
            seen.add(package)
            before = set(files.iterdir())
            said("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package, cwd=files)
            for file in set(files.iterdir()) - before:
                said("dpkg-deb", "-x", str(file), str(folder))
                waiting += [needed for needed in dependencies(file) if needed not in seen and not installed(needed)]
    except subprocess.CalledProcessError as error:
        raise FileNotFoundError(f"could not fetch {package} (apt-get update, then again): {error.stderr.strip()[-120:]}") from error
    shutil.rmtree(files)
    (folder / ".complete").touch()
    return folder
