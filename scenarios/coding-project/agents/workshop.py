"""What every strategy has in hand: the repository as files of its own, and commands run by the kernel inside its sandbox."""

import os

ROOT = "/work"
REPOSITORY = f"{ROOT}/repository"


class Workshop:
    def __init__(self, clove, files):
        self.clove = clove
        for path, text in files.items():
            self.write(f"{ROOT}/{path}", text)

    def write(self, path, text, mode=0o644):
        path = os.path.join(REPOSITORY, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def read(self, path):
        with open(os.path.join(REPOSITORY, path), encoding="utf-8") as file:
            return file.read()

    def run(self, command):
        """Output, and whether it ended with 0."""
        done = self.clove.exec(command, cwd=REPOSITORY, timeout=60)
        return done.stdout, done.exit_code == 0

    def passes(self):
        """What the visible tests say; that is, what somebody who believes the agent would go by."""
        return self.run("python3 -B -m unittest -q")[1]
