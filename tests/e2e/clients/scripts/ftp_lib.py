"""Python's ftplib, one session. Implicit TLS is the subclass that its users write."""

import ftplib
import os
import ssl

MODE = os.environ["MODE"]


class Implicit(ftplib.FTP_TLS):
    """TLS from the first byte: the socket is wrapped as soon as it is there."""

    wrapped = None

    @property
    def sock(self):
        return self.wrapped

    @sock.setter
    def sock(self, plain):
        if plain is not None and not isinstance(plain, ssl.SSLSocket):
            plain = self.context.wrap_socket(plain)
        self.wrapped = plain


context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
client = {
    "plain": lambda: ftplib.FTP(timeout=30),
    "explicit": lambda: ftplib.FTP_TLS(context=context, timeout=30),
    "implicit": lambda: Implicit(context=context, timeout=30),
}[MODE]()
client.connect(os.environ["HOST"], int(os.environ["PORT"]))
client.login(os.environ["NAME"], os.environ["PASSWORD"])
if MODE != "plain":
    client.prot_p()
with open("listing", "w") as listing:
    client.dir(lambda line: print(line, file=listing))
    print(list(client.mlsd()), client.nlst(), file=listing)
with open("whole.bin", "rb") as whole, open("half.bin", "rb") as half:
    client.storbinary("STOR put.bin", whole)
    client.storbinary("STOR up.bin", half)
    cut = client.size("up.bin")
    whole.seek(cut)
    client.storbinary("STOR up.bin", whole, rest=cut)
with open("got.bin", "wb") as got:
    client.retrbinary("RETR there.bin", got.write)
with open("down.bin", "ab") as down:
    client.retrbinary("RETR there.bin", down.write, rest=down.tell())
client.rename("old name.bin", "new name.bin")
client.delete("unwanted.bin")
client.quit()
