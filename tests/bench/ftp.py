#!/usr/bin/env python3
"""The FTP client of the benchmark: logs in, says so, waits for a word, moves files, says how long each step took.

curl is not used here: where a server answers EPSV before curl has gone back to waiting (on loopback a fast one does), curl 7.88 waits a
whole second more before it connects, and that second would be measured.

    ftp.py PORT USER PASSWORD get|put clear|tls COUNT NAME LOCAL
"""
import ftplib, ssl, sys, time

CLEAR_PIECE, TLS_PIECE = 1 << 20, 1 << 18


def begin(port, user, password, protected):
    if not protected:
        client = ftplib.FTP()
        client.connect("127.0.0.1", port)
        client.login(user, password)
    else:
        client = ftplib.FTP_TLS(context=ssl._create_unverified_context())
        client.connect("127.0.0.1", port)
        client.login(user, password)
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
            while piece := file.read(TLS_PIECE):
                data.sendall(piece)
            data.unwrap()
        else:
            data.sendfile(file)
    data.close()
    client.voidresp()


def main():
    port, user, password, verb, protection, count, name, local = sys.argv[1:]
    protected, start = protection == "tls", time.monotonic()
    client = begin(int(port), user, password, protected)
    print(time.monotonic() - start, flush=True)
    sys.stdin.readline()
    buffer, start = bytearray(TLS_PIECE if protected else CLEAR_PIECE), time.monotonic()
    for turn in range(int(count)):
        if verb == "get":
            get(client, name, buffer)
        else:
            put(client, f"{name}.{turn}", local, protected)
    print(time.monotonic() - start, flush=True)
    client.quit()


main()
