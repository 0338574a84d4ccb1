"""A gRPC server without generated code: bytes in, bytes out. It prints its port, and serves until it is ended."""

import time
from concurrent import futures

import grpc


def echo(request, context):
    context.set_trailing_metadata((("x-sum", str(len(request))),))
    return request


def refuse(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: \u00e9")


def slow(request, context):
    # Until the client's own deadline has passed, and seen to it by the proxy.
    while context.is_active():
        time.sleep(0.01)
    return request


def chat(requests, context):
    """Answers each message before the next is sent."""
    for request in requests:
        yield b"re: " + request


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Count": grpc.unary_stream_rpc_method_handler(count),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", METHODS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving gRPC on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
