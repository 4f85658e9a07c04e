"""A client written against docs/syscalls.md and the frame format alone: it imports nothing of this repository.

Goes through every family of syscalls as a program would, and says what did not hold. Usage:
independent_client.py SOCKET FOLDER SERVER_URL
"""

import json
import socket
import struct
import sys
import time

HEADER = struct.Struct("<IIBQ")
MAGIC = 0x41474E54


class Client:
    """One connection. Answers come in the order of requests."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.id = 0

    def send(self, opcode, payload=b"", claimed=7):
        self.socket.sendall(HEADER.pack(MAGIC, claimed, opcode, len(payload)) + payload)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError("the kernel closed the connection")
            data += chunk
        return data

    def receive(self):
        magic, sender, opcode, length = HEADER.unpack(self.exactly(HEADER.size))
        assert magic == MAGIC, hex(magic)
        self.id = sender
        return opcode, self.exactly(length)

    def raw(self, opcode, payload=b""):
        self.send(opcode, payload)
        answered, data = self.receive()
        assert answered == opcode, (answered, opcode)
        return data

    def call(self, opcode, **request):
        return json.loads(self.raw(opcode, json.dumps(request).encode()))


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def core(client, _folder, _url):
    holds(client.raw(0x00, b"\x00\xff bytes") == b"\x00\xff bytes", "NOOP gives back bytes that are no text")
    holds(client.id > 0, "the header of an answer says who one is")
    hello = client.call(0xFE)
    holds(hello["agent_id"] == client.id, "HELLO and header agree")
    holds(hello["protocol_version"] == 1 and hello["version"] == hello["kernel_version"], "versions")
    holds(client.raw(0xFF) == b"goodbye" and client.raw(0x00, b"x") == b"x", "EXIT ends nothing")


def pipelined(client, _folder, _url):
    frames = b"".join(HEADER.pack(MAGIC, 0, 0x00, 4) + struct.pack("<I", n) for n in range(500))
    client.socket.sendall(frames)
    got = [struct.unpack("<I", client.receive()[1])[0] for _ in range(500)]
    holds(got == list(range(500)), "answers in the order of requests")
    # One byte at a time.
    for byte in HEADER.pack(MAGIC, 0, 0xFE, 2) + b"{}":
        client.socket.sendall(bytes([byte]))
    holds(json.loads(client.receive()[1])["success"], "a frame in pieces")


def files(client, folder, _url):
    path = f"{folder}/independent"
    holds(client.call(0x04, path=path, content="one\n")["bytes_written"] == 4, "WRITE")
    holds(client.call(0x04, path=path, content="two\n", mode="append")["success"], "append")
    read = client.call(0x03, path=path)
    holds(read == {"success": True, "content": "one\ntwo\n", "size": 8}, read)
    holds(client.call(0x03, path=f"{path}-none")["error"].startswith("failed to open file"), "no such file")


def commands(client, _folder, _url):
    done = client.call(0x02, command="printf a; printf b >&2; exit 4", timeout=30, **{"async": False})
    holds((done["success"], done["stdout"], done["exit_code"]) == (False, "ab", 4), done)
    ack = client.call(0x02, command="echo later", request_id=99, **{"async": True})
    holds(ack == {"success": True, "async": True, "request_id": 99, "status": "accepted"}, ack)
    deadline = time.monotonic() + 60
    results = []
    while not results and time.monotonic() < deadline:
        results = client.call(0x80, max=10)["results"]
        time.sleep(0.01)
    holds(json.loads(results[0]["payload"])["stdout"] == "later\n", results)
    slow = client.call(0x02, command="sleep 60", timeout=0.2, **{"async": False})
    holds("timeout" in slow["error"] and slow["exit_code"] == -1, slow)


def http(client, _folder, url):
    answer = client.call(0x50, url=url, method="GET", **{"async": False})
    holds(answer["status_code"] == 418 and answer["body"] == "short and stout", answer)
    narrow = {"network": ["example.org"], "http_methods": ["GET"]}
    holds(client.call(0x41, permissions=narrow)["domains"] == ["example.org"], "SET_PERMS")
    refused = client.call(0x50, url=url)
    holds(refused["error"].startswith("Permission denied: domain not in whitelist"), refused)
    holds(client.call(0x41, level="unrestricted")["level"] == "unrestricted", "and back")


def agents(client, folder, _url):
    script = f"{folder}/sleeper.py"
    holds(client.call(0x04, path=script, content="import time\ntime.sleep(600)\n")["success"], "script")
    first = client.call(
        0x10,
        name="sleeper",
        script=script,
        sandboxed=True,
        network=False,
        limits={"memory": 256 * 2**20, "max_pids": 64, "cpu_quota": 100000, "cpu_period": 100000, "cpu_shares": 1024},
        restart_policy="on_failure",
        max_restarts=2,
        restart_window=300,
    )
    holds(first["status"] == "running" and first["id"] == first["agent_id"] and first["pid"] > 1, first)
    holds(first["isolation"]["fully_isolated"] is True, first["isolation"])
    listed = json.loads(client.raw(0x12))
    holds([each["name"] for each in listed if each["id"] == first["id"]] == ["sleeper"], listed)
    holds(client.call(0x14, name="sleeper")["paused"], "PAUSE")
    state = [each["state"] for each in client.call(0x12) if each["id"] == first["id"]]
    holds(state == ["paused"], state)
    holds(client.call(0x15, id=first["id"])["resumed"], "RESUME")
    figures = client.call(0xC1, agent_id=first["id"])
    holds(figures["metrics"]["name"] == figures["name"] == "sleeper", figures)
    again = client.call(0x10, name="sleeper", script=script)
    holds(again["success"] is False and again["error"].startswith("failed to spawn agent"), again)
    holds(client.call(0x11, name="sleeper") == {"success": True, "killed": True, "agent_id": first["id"]}, "KILL")
    holds(client.call(0x11, name="sleeper")["killed"] is False, "once")


def messages(client, _folder, _url):
    other = Client(client.socket.getpeername())
    other.raw(0x00)
    holds(client.call(0x23, name="first")["success"] and other.call(0x23, name="second")["success"], "REGISTER")
    holds(client.call(0x20, to_name="second", message={"n": 1})["delivered_to"] == other.id, "SEND by name")
    holds(client.call(0x20, to=other.id, message={"n": 2})["delivered"], "SEND by id")
    holds(client.call(0x20, target_name="second", message={"n": 3})["delivered"], "SEND, the other spelling")
    got = other.call(0x21, max=2)
    holds([each["message"]["n"] for each in got["messages"]] == [1, 2] and got["count"] == 2, got)
    holds({each["from"] for each in got["messages"]} == {client.id}, got)
    holds(other.call(0x21, max=10)["messages"][0]["from_name"] == "first", "the rest")
    # One that waits is woken by what comes.
    other.send(0x21, json.dumps({"wait": True, "timeout_ms": 60000}).encode())
    client.call(0x20, to_name="second", message="wake up")
    holds(json.loads(other.receive()[1])["messages"][0]["message"] == "wake up", "RECV that waits")
    other.socket.close()


def state(client, _folder, _url):
    holds(client.call(0x30, key="n", value={"a": [1, None, "ü"]})["success"], "STORE")
    found = client.call(0x31, key="n")
    holds(found["exists"] and found["found"] and found["value"] == {"a": [1, None, "ü"]}, found)
    holds("n" in client.call(0x33, prefix="")["keys"], "KEYS")
    holds(client.call(0x32, key="n")["deleted"] and not client.call(0x31, key="n")["exists"], "DELETE")
    holds(client.call(0x34, key="lock", value="me")["swapped"], "CAS")
    holds(not client.call(0x34, key="lock", value="you")["swapped"], "CAS, taken")


def events(client, _folder, _url):
    holds(client.call(0x60, event_types=["CUSTOM"])["subscribed"] == ["CUSTOM"], "SUBSCRIBE")
    holds(client.call(0x63, event_type="deploy", data={"v": 2})["delivered_to"] == 1, "EMIT")
    event = client.call(0x62, max=10)["events"][0]
    holds(event["type"] == event["event_type"] == "CUSTOM" and event["data"]["v"] == 2, event)
    holds(event["source_agent_id"] == client.id, event)
    holds(client.call(0x61, all=True)["subscribed"] == [], "UNSUBSCRIBE")


def tasks(client, _folder, _url):
    made = client.call(0x94, kind="k", payload={"x": 1})
    taken = client.call(0x95, kinds=["k"])
    holds(taken["task"]["task_id"] == made["task_id"], taken)
    holds(client.call(0x97, task_id=made["task_id"], result=2)["completed"], "TASK_COMPLETE")
    holds(client.call(0x96, task_id=made["task_id"])["task"]["result"] == 2, "TASK_STATUS")


def evidence(client, _folder, _url):
    started = client.call(0x70, include_exec=True)
    holds(started["recording"] is True and started["state"] == "RECORDING", started)
    client.call(0x30, key="seen", value=1)
    exported = client.call(0x72, export=True)
    names = [each["opcode_name"] for each in json.loads(exported["recording"])]
    holds("STORE" in names, names)
    holds(client.call(0x71)["entries_recorded"] >= 1, "RECORD_STOP")
    log = client.call(0x76, limit=50)
    last = log["entries"][-1]["id"]
    holds(all(each["id"] > last for each in client.call(0x76, since_id=last)["entries"]), "since_id")
    holds(client.call(0x79)["ok"] is True, "AUDIT_VERIFY")
    holds(set(client.call(0x77)["config"]) >= {"max_entries", "log_security"}, "SET_AUDIT_CONFIG")


def metrics(client, _folder, _url):
    system = json.loads(client.raw(0xC0))
    holds(system["metrics"]["cpu"]["count"] >= 1 and 0 < system["memory_percent"] < 100, system)
    holds(client.call(0xC2)["success"] and client.call(0xF0, tokens=3)["success"], "the others")


def misuse(client, _folder, _url):
    for payload in (b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b'{"a":' * 3000, b'{"agent_id":"x","max":"x","key":7,"id":{}}'):
        for opcode in range(256):
            if opcode in (0xB0, 0x74):
                continue
            try:
                client.raw(opcode, payload)
            except (EOFError, ConnectionError) as error:
                raise AssertionError(f"{opcode:#x} {payload[:20]!r}: {error}") from error
    # Whoever does not speak the protocol is let go, and nobody else notices.
    stranger = Client(client.socket.getpeername())
    stranger.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    holds(stranger.socket.recv(1 << 16) is not None, "answered or closed")
    stranger.socket.close()
    large = Client(client.socket.getpeername())
    large.socket.sendall(HEADER.pack(MAGIC, 0, 0x00, 1 << 40))
    opcode, payload = large.receive()
    holds(json.loads(payload)["code"] == "PAYLOAD_TOO_LARGE", payload)
    holds(client.raw(0x00, b"alive") == b"alive", "alive")


FAMILIES = (core, pipelined, files, commands, http, agents, messages, state, events, tasks, evidence, metrics, misuse)


def main(path, folder, url):
    for family in FAMILIES:
        client = Client(path)
        family(client, folder, url)
        client.socket.close()
        print(family.__name__, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
