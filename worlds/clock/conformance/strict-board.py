# strict-board.py SOCKET CLIENTS: a board that agents write to and read from; prints every message in the order in which it came.
import os, random, socketserver, sys, threading, time

lock = threading.Lock()
messages = []
left = threading.Semaphore(0)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            with lock:
                messages.append(line.decode().strip())
                print("%.9f" % time.time(), threading.current_thread().name, messages[-1], flush=True)
                answer = "%d %s\n" % (len(messages), random.choice(messages))
            time.sleep(random.random() / 100)
            self.wfile.write(answer.encode())
        left.release()


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


server = Server(sys.argv[1], Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for _ in range(int(sys.argv[2])):
    left.acquire()
print("end %.9f" % time.time(), hash("the order of a set") % 1000, os.urandom(4).hex(), flush=True)
