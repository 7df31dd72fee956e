#!/usr/bin/env python3
"""The FTP client of the benchmark: logs in, says so, waits for a word, moves files, says how long that took.

curl is not used here: where a server answers EPSV before curl has gone back to waiting (on loopback a fast one does), curl 7.88 waits a
whole second more before it connects, and that second would be measured. A buffer of 1 MiB makes every server slow and erratic, since the
bytes have left the processor's cache when they are copied; 128 KiB does not.

    ftp.py PORT USER PASSWORD get|put|list|mlsd clear|tls COUNT NAME LOCAL      (list, mlsd: LOCAL is the number of entries)
"""
import ftplib, ssl, sys, time

PIECE = 1 << 17


def begin(port, user, password, protected):
    client = ftplib.FTP_TLS(context=ssl._create_unverified_context()) if protected else ftplib.FTP()
    client.connect("127.0.0.1", port)
    client.login(user, password)
    if protected:
        client.prot_p()
    client.voidcmd("TYPE I")
    return client


def get(client, name, buffer):
    data = client.transfercmd(f"RETR {name}")
    while data.recv_into(buffer):
        pass
    data.close()
    client.voidresp()


def put(client, name, local, protected):
    data = client.transfercmd(f"STOR {name}")
    with open(local, "rb") as file:
        if protected:
            while piece := file.read(PIECE):
                data.sendall(piece)
            data.unwrap()
        else:
            data.sendfile(file)
    data.close()
    client.voidresp()


def listing(client, command, name, entries, buffer):
    data, rows = client.transfercmd(f"{command} {name}"), 0
    while length := data.recv_into(buffer):
        rows += buffer.count(b"\n", 0, length)
    data.close()
    client.voidresp()
    if rows < entries:
        sys.exit(f"{rows} of {entries} entries were told")


def main():
    port, user, password, verb, protection, count, name, local = sys.argv[1:]
    protected, start = protection == "tls", time.monotonic()
    client = begin(int(port), user, password, protected)
    print(time.monotonic() - start, flush=True)
    sys.stdin.readline()
    buffer, start = bytearray(PIECE), time.monotonic()
    for turn in range(int(count)):
        if verb == "get":
            get(client, name, buffer)
        elif verb == "put":
            put(client, f"{name}.{turn}", local, protected)
        else:
            listing(client, verb.upper(), name, int(local), buffer)
    print(time.monotonic() - start, flush=True)
    client.quit()


main()
