"""HTTP clients for the tests: one that behaves, and raw bytes for those that do not."""

import contextlib
import http.client
import json
import socket


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.text = body.decode()

    @property
    def json(self):
        return json.loads(self.text)


class Web:
    """Each request on a connection of its own, unless it is asked within `kept`."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, headers=None, connection=None, chunked=False):
        """`body`: bytes, or what becomes JSON."""
        if body is not None and not hasattr(body, "__next__") and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        fresh = connection is None
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})}, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            if fresh:
                connection.close()

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body, **more)

    @contextlib.contextmanager
    def kept(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            yield connection
        finally:
            connection.close()

    def raw(self, *pieces, pause=lambda: None):
        """Everything that comes back for these bytes, until the server ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    pause()
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(connection)


def read_all(connection):
    got = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            got += piece
    return bytes(got)
