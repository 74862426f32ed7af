"""A fake MongoDB server that implements only the commands that show its old version."""

import socket
import struct
import threading

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013


class OldServer:
    """A replica set's primary of the given version. Without `knows_hello` it has no command of that name, as before
    4.2.10 and 4.4.2."""

    def __init__(self, version, wire_version, knows_hello, port=0):
        self.version, self.wire_version, self.knows_hello = version, wire_version, knows_hello
        self.commands = set()
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self):
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=old"

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            while (head := self._read(connection, 16)) is not None:
                length, number, _, kind = struct.unpack("<iiii", head)
                body = self._read(connection, length - 16)
                if body is None:
                    return
                connection.sendall(self._answer(number, kind, body))

    @staticmethod
    def _read(connection, length):
        data = b""
        while len(data) < length:
            piece = connection.recv(length - len(data))
            if not piece:
                return None
            data += piece
        return data

    def _answer(self, number, kind, body):
        if kind == OP_QUERY:
            start = body.index(b"\0", 4) + 1 + 8
            reply = bson.encode(self._run(bson.decode(body[start:])))
            content = struct.pack("<iqii", 8, 0, 0, 1) + reply
            return struct.pack("<iiii", 16 + len(content), 1, number, OP_REPLY) + content
        size = struct.unpack_from("<i", body, 5)[0]
        content = struct.pack("<iB", 0, 0) + bson.encode(self._run(bson.decode(body[5 : 5 + size])))
        return struct.pack("<iiii", 16 + len(content), 1, number, OP_MSG) + content

    def _run(self, command):
        name = next(iter(command))
        self.commands.add(name.lower())
        if name.lower() == "ismaster" or (name == "hello" and self.knows_hello):
            me = f"127.0.0.1:{self.port}"
            return {
                "ismaster": True,
                "isWritablePrimary": True,
                "setName": "old",
                "setVersion": 1,
                "me": me,
                "hosts": [me],
                "primary": me,
                "maxBsonObjectSize": 16777216,
                "maxMessageSizeBytes": 48000000,
                "maxWriteBatchSize": 100000,
                "minWireVersion": 0,
                "maxWireVersion": self.wire_version,
                "logicalSessionTimeoutMinutes": 30,
                "ok": 1.0,
            }
        if name.lower() == "buildinfo":
            return {"version": self.version, "ok": 1.0}
        if name in ("ping", "endSessions"):
            return {"ok": 1.0}
        return {"ok": 0.0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: '{name}'"}
