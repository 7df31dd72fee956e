"""Python's FTP client and paramiko, as a user's script would use them. Ends with 3 where the server refused the login."""

import ftplib
import os
import socket
import ssl
import sys
import time

KIND, HOST, PORT, SOURCE, NAME, ACT, *REST = sys.argv[1:]
PASSWORD, CODE = os.environ["TEST_PASSWORD"], os.environ["TEST_CODE"]
REFUSED = 3


def linger(ask):
    """Says that it is in, then asks until it is thrown out."""
    print("in", flush=True)
    while True:
        ask()
        time.sleep(0.1)


def ftp():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = ftplib.FTP_TLS(context=context, timeout=30, source_address=(SOURCE, 0))
    client.connect(HOST, int(PORT))
    try:
        client.login(NAME, f"{PASSWORD}:{CODE}" if CODE else PASSWORD)
    except ftplib.error_perm as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    client.prot_p()
    if ACT == "linger":
        linger(lambda: client.voidcmd("NOOP"))
    elif ACT == "list":
        print(list(client.mlsd()))
    elif ACT == "put":
        with open(REST[0], "rb") as file:
            print(client.storbinary(f"STOR {REST[1]}", file))
    else:
        with open(REST[1], "wb") as file:
            print(client.retrbinary(f"RETR {REST[0]}", file.write))
    client.quit()


def sftp():
    import paramiko

    connection = socket.create_connection((HOST, int(PORT)), timeout=30, source_address=(SOURCE, 0))
    # Asks for the service once, as RFC 4252 has it; the plain Transport asks again before each method.
    transport = paramiko.ServiceRequestingTransport(connection)
    try:
        transport.start_client(timeout=30)
        # What is left to show after the password; empty where that was all.
        left = transport.auth_password(NAME, PASSWORD, fallback=False)
        if left:
            if "keyboard-interactive" not in left or not CODE:
                print(f"left: {left}", file=sys.stderr)
                sys.exit(REFUSED)
            transport.auth_interactive(NAME, lambda title, instructions, prompts: [CODE for _ in prompts])
        if not transport.is_authenticated():
            sys.exit(REFUSED)
    except paramiko.AuthenticationException as error:
        print(repr(error), file=sys.stderr)
        sys.exit(REFUSED)
    client = paramiko.SFTPClient.from_transport(transport)
    if ACT == "linger":
        linger(lambda: client.listdir("."))
    elif ACT == "list":
        print(client.listdir("."))
    elif ACT == "put":
        print(client.put(REST[0], REST[1]))
    else:
        client.get(REST[0], REST[1])
    transport.close()


sftp() if KIND == "paramiko" else ftp()
