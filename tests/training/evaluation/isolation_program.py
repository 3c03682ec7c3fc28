"""What :mod:`test_isolation` runs isolated: one function that misbehaves as it is asked to."""

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

asked = []


def answer(request):
    asked.append(request["do"])
    return globals()[request["do"]](**request.get("with", {}))


def say(what):
    print("said", what)
    print("said", what, file=sys.stderr)
    return {"said": what, "asked": len(asked), "here": str(Path.cwd()), "environment": dict(os.environ)}


def process_id():
    return os.getpid()


def raise_error():
    raise KeyError("no such thing")


def leave():
    sys.exit(3)


def die():
    os._exit(3)


def connect(port):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"out")


def connect_below_python(port):
    """As compiled code would: past Python's audit hooks."""
    library = ctypes.CDLL(None, use_errno=True)
    return library.socket(int(socket.AF_INET), int(socket.SOCK_STREAM), 0), ctypes.get_errno()


def talk_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), timeout=2) as connection:
            connection.sendall(b"in")
        return server.accept()[0].recv(2).decode()


def fork():
    while True:
        os.fork()


def fork_below_python():
    library = ctypes.CDLL(None, use_errno=True)
    return [library.fork(), ctypes.get_errno(), library.setsid(), ctypes.get_errno()]


def start_a_program():
    return subprocess.run(["true"], check=True).returncode


def start_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append("ran"))
    thread.start()
    thread.join()
    return found


def start_a_sleeper():
    return subprocess.Popen(["sleep", "600"]).pid


def take_memory():
    taken = []
    while True:
        taken.append(bytearray(1 << 24))


def loop():
    while True:
        pass


def sleep():
    time.sleep(600)


def flood():
    return "x" * (64 << 20)


def flood_standard_output():
    for _ in range(1000):
        os.write(1, b"x" * 10_000)
        os.write(2, b"x" * 10_000)
    return "wrote"


def write(path, size_bytes):
    return Path(path).write_bytes(b"x" * size_bytes)


def open_files():
    return len([Path(os.devnull).open() for _ in range(1000)])
