"""Timed waits of CPython, each for a known time. One line per case: name, expected, elapsed, really elapsed (seconds)."""

import asyncio
import concurrent.futures
import multiprocessing
import queue
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time


def really():
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


FAILURES = []


def case(name, expected):
    def run(body):
        if len(sys.argv) > 1 and sys.argv[1] != name:
            return
        start_really, start = really(), time.monotonic()
        try:
            ok = body()
        except Exception as error:  # a case must not hide those after it
            ok = error
        print(f"{name} {expected:.3f} {time.monotonic() - start:.6f} {really() - start_really:.3f}", flush=True)
        if ok is not True:
            FAILURES.append(name)
            print(f"{name}: wrong result: {ok!r}", file=sys.stderr)

    return run


def raises(error, body):
    try:
        body()
    except error:
        return True
    return False


@case("py-sleep", 10)
def _():
    time.sleep(10)
    return True


@case("py-clocks", 100)
def _():
    clocks = (time.time, time.monotonic, time.perf_counter)
    before, cpu = [clock() for clock in clocks], time.process_time()
    time.sleep(100)
    return all(99.99 < clock() - then < 110 for clock, then in zip(clocks, before)) and time.process_time() - cpu < 10


@case("py-event", 10)
def _():
    return threading.Event().wait(10) is False


@case("py-event-set-meanwhile", 3)
def _():
    event = threading.Event()
    threading.Timer(3, event.set).start()
    return event.wait(10)


@case("py-lock", 10)
def _():
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire(timeout=10) is False


@case("py-condition", 10)
def _():
    condition = threading.Condition()
    with condition:
        return condition.wait(10) is False


@case("py-barrier", 10)
def _():
    return raises(threading.BrokenBarrierError, lambda: threading.Barrier(2).wait(10))


@case("py-join", 10)
def _():
    thread = threading.Thread(target=time.sleep, args=(10,))
    thread.start()
    thread.join(60)
    return not thread.is_alive()


@case("py-queue", 10)
def _():
    return raises(queue.Empty, lambda: queue.Queue().get(timeout=10))


@case("py-simple-queue", 10)
def _():
    return raises(queue.Empty, lambda: queue.SimpleQueue().get(timeout=10))


@case("py-future", 10)
def _():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return pool.submit(lambda: (time.sleep(10), 7)[1]).result(60) == 7


@case("py-asyncio-sleep", 10)
def _():
    asyncio.run(asyncio.sleep(10))
    return True


@case("py-asyncio-wait_for", 10)
def _():
    async def main():
        await asyncio.wait_for(asyncio.Event().wait(), 10)

    return raises(asyncio.TimeoutError, lambda: asyncio.run(main()))


@case("py-asyncio-many", 20)
def _():
    async def main():
        await asyncio.gather(*(asyncio.sleep(1 + i % 20) for i in range(200)))

    asyncio.run(main())
    return True


@case("py-asyncio-subprocess", 10)
def _():
    async def main():
        child = await asyncio.create_subprocess_exec("sleep", "10")
        return await child.wait()

    return asyncio.run(main()) == 0


@case("py-subprocess", 10)
def _():
    return subprocess.run(["sleep", "10"]).returncode == 0


@case("py-subprocess-timeout", 5)
def _():
    return raises(subprocess.TimeoutExpired, lambda: subprocess.run(["sleep", "60"], timeout=5))


@case("py-subprocess-communicate", 5)
def _():
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as child:
        late = raises(subprocess.TimeoutExpired, lambda: child.communicate(timeout=5))
        child.kill()
        return late


@case("py-subprocess-empty-environment", 10)
def _():
    return subprocess.run(["/bin/sleep", "10"], env={}).returncode == 0


@case("py-select", 10)
def _():
    left, _right = socket.socketpair()
    return select.select([left], [], [], 10) == ([], [], [])


@case("py-poll", 10)
def _():
    left, _right = socket.socketpair()
    poller = select.poll()
    poller.register(left)
    poller.modify(left, select.POLLIN)
    return poller.poll(10_000) == []


@case("py-selectors", 10)
def _():
    left, _right = socket.socketpair()
    with selectors.DefaultSelector() as selector:
        selector.register(left, selectors.EVENT_READ)
        return selector.select(10) == []


@case("py-socket-timeout", 10)
def _():
    left, _right = socket.socketpair()
    left.settimeout(10)
    return raises(TimeoutError, lambda: left.recv(1))


@case("py-rpc", 30)
def _():
    """Thirty calls over TCP to a server that takes a second for each; the client's time-out is two."""

    def serve(listener):
        for _call in range(30):
            connection, _address = listener.accept()
            with connection:
                connection.recv(10)
                time.sleep(1)
                connection.sendall(b"pong")

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    for _call in range(30):
        with socket.create_connection(listener.getsockname(), timeout=2) as client:
            client.sendall(b"ping")
            if client.recv(10) != b"pong":
                return "no answer"
    return True


@case("py-alarm", 10)
def _():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(10)
    signal.pause()
    return True


@case("py-setitimer", 9)
def _():
    ticks = []
    signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 3, 3)
    while len(ticks) < 3:
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return True


@case("py-sigtimedwait", 10)
def _():
    return signal.sigtimedwait({signal.SIGUSR1}, 10) is None


@case("py-busy-threads", 0)
def _():
    """Threads that compute hand over the interpreter by a timed wait of 5 ms: it must end in real time, too."""
    counts = [0, 0, 0]

    def work(index):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all(counts)


def child_sleeps():
    time.sleep(10)


@case("py-multiprocessing", 10)
def _():
    process = multiprocessing.get_context("fork").Process(target=child_sleeps)
    process.start()
    process.join(60)
    return process.exitcode == 0


sys.exit(1 if FAILURES else 0)
