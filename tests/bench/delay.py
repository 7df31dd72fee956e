#!/usr/bin/env python3
"""A long line: what comes in goes out MS milliseconds later, in each direction, and nothing else is changed.

Not every kernel has netem. What the relay cannot show is the kernel's own congestion window, since both of its connections are short;
what it shows is the window of the protocol above, which is what an SFTP server chooses.

    delay.py PORT MS        tells its own port on the first line
"""
import collections, socket, sys, threading, time

PIECE, MOST = 1 << 18, 256 << 20


def carry(source, sink, delay):
    """Two threads a direction: one reads and stamps, one waits for the stamp. No more is held than `MOST`."""
    queue, changed, held = collections.deque(), threading.Condition(), 0

    def read():
        nonlocal held
        while True:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            with changed:
                changed.wait_for(lambda: held < MOST)
                queue.append((time.monotonic() + delay, piece))
                held += len(piece)
                changed.notify_all()
            if not piece:
                return

    threading.Thread(target=read, daemon=True).start()
    while True:
        with changed:
            changed.wait_for(lambda: queue)
            due, piece = queue.popleft()
            held -= len(piece)
            changed.notify_all()
        time.sleep(max(0, due - time.monotonic()))
        try:
            if not piece:
                return sink.shutdown(socket.SHUT_WR)
            sink.sendall(piece)
        except OSError:
            return


def main():
    port, delay = int(sys.argv[1]), float(sys.argv[2]) / 1000
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=carry, args=(source, sink, delay), daemon=True).start()


main()
