# strict-agent.py SOCKET NAME ROUNDS: writes to the board after pauses of random length, and about what it read there.
import os, random, socket, sys, time, uuid

path, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
while not os.path.exists(path):
    time.sleep(0.1)
with socket.socket(socket.AF_UNIX) as board:
    board.connect(path)
    answers = board.makefile("rb")
    seen = "nothing"
    for call in range(rounds):
        # Now and then nobody waits for anything: whoever runs first is first.
        if call % 3 != 0:
            time.sleep(random.randrange(4))
        text = "%s %d at %.6f saw %s drew %s %s\n" % (
            name, call, time.monotonic() % 1000, seen, os.urandom(3).hex(), str(uuid.uuid4())[:8])
        board.sendall(text.encode())
        seen = answers.readline().decode().split()[0]
