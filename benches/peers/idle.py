"""Visitors who hold keep-alive connections on which nothing moves.

    idle.py PORT COUNT plain|tls     opens them, each with one answered request; prints how many failed, waits for a
                                     line, prints how many were closed meanwhile, and ends

Called by the scenarios. It must never open more than a few thousand connections from one address of loopback.
"""

import socket
import ssl
import sys

PER_ADDRESS = 2500
GET = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


def dial(port, number, context):
    visitor = socket.socket()
    visitor.settimeout(30)
    visitor.bind((f"127.0.1.{1 + number // PER_ADDRESS}", 0))
    visitor.connect(("127.0.0.1", port))
    visitor = context.wrap_socket(visitor, server_hostname="localhost") if context else visitor
    visitor.sendall(GET)
    answer = b""
    while not answer.endswith(b"\r\n\r\nok\n"):
        more = visitor.recv(4096)
        if not more:
            raise OSError("it hung up")
        answer += more
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError("another answer")
    return visitor


def is_closed(visitor):
    visitor.setblocking(False)
    try:
        return visitor.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def main():
    port, count, tls = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tls"
    context = ssl.create_default_context() if tls else None
    if tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held, failed = [], 0
    for number in range(count):
        try:
            held.append(dial(port, number, context))
        except OSError:
            failed += 1
    print(failed, flush=True)
    sys.stdin.readline()
    print(sum(is_closed(visitor) for visitor in held), flush=True)


if __name__ == "__main__":
    main()
