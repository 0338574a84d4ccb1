"""A visitor whose every connection is a full TLS handshake and one GET.

    handshakes.py PORT SECONDS ADDRESS     prints: done, failed, resumed, then some of the times in microseconds

Called by `load`, several at once, each from its own address of loopback. It must never offer a session again, nor count
an answer that isn't 200 and whole.
"""

import socket
import ssl
import sys
import time

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def connect(context, address, port):
    plain = socket.socket()
    plain.settimeout(5)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The port is chosen on connecting: a 24th of Linux's <netinet/in.h>, IP_BIND_ADDRESS_NO_PORT.
    plain.setsockopt(socket.IPPROTO_IP, 24, 1)
    plain.bind((address, 0))
    plain.connect(("127.0.0.1", port))
    return context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=True)


def visit(context, address, port):
    """Whether it was answered, and whether the session was an old one."""
    with connect(context, address, port) as visitor:
        visitor.sendall(GET)
        answer = b""
        while more := visitor.recv(4096):
            answer += more
        return answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nok\n"), visitor.session_reused


def main():
    port, seconds, address = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    done, failed, resumed, times = 0, 0, 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        try:
            good, reused = visit(context, address, port)
        except OSError:
            good, reused = False, False
        done, failed, resumed = done + good, failed + (not good), resumed + bool(reused)
        times.append((time.perf_counter() - start) * 1e6)
    print(done, failed, resumed, *(f"{each:.0f}" for each in times[:5000]))


if __name__ == "__main__":
    main()
