"""A template for Python agents: imports what they need, then every return from serve is one of them."""

import ctypes
import gc
import importlib
import json
import os
import sys
import threading


class _Agent(ctypes.Structure):
    _fields_ = [
        ("argv", ctypes.POINTER(ctypes.c_char_p)),
        ("env", ctypes.POINTER(ctypes.c_char_p)),
        ("cwd", ctypes.c_char_p),
        ("argc", ctypes.c_uint32),
        ("envc", ctypes.c_uint32),
    ]


def _import(name):
    """A module by name, or a file by its path; the file becomes importable by its own name."""
    if not name.startswith("/"):
        return importlib.import_module(name)
    sys.path.append(os.path.dirname(name))
    return importlib.import_module(os.path.splitext(os.path.basename(name))[0])


def _prepare(spec, library):
    # Next to nothing of what modules make while they load is garbage: looked for once, below.
    gc.disable()
    for name in spec["preload"]:
        _import(name)
    for name in spec["warmUp"]:
        _import(name).warm_up()
    # Once here, so that what it loads and sets up (OpenSSL: three milliseconds) is there already when an agent does it.
    _draw_new_luck()
    # Collected now, and never looked at again: an agent's collector would copy every page by marking what is on it.
    gc.collect()
    gc.freeze()
    gc.enable()
    library.clove_zygote_settle()


def _serve(library):
    """Returns in agents only, each of its own."""
    agent = _Agent()
    # What os.fork() does around the system call: locks of imports, of threads, of the interpreter itself.
    ctypes.pythonapi.PyOS_BeforeFork()
    library.clove_zygote_serve(ctypes.byref(agent))
    ctypes.pythonapi.PyOS_AfterFork_Child()
    argv = [os.fsdecode(agent.argv[i]) for i in range(agent.argc)]
    env = dict(os.fsdecode(agent.env[i]).split("=", 1) for i in range(agent.envc))
    return argv, env


def _draw_new_luck():
    """random reseeds itself after a fork; these do not."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(None)
    ssl = sys.modules.get("ssl")
    if ssl is not None:
        # OpenSSL tells a fork by the process number, and in its pid namespace an agent may have the template's.
        ssl.RAND_add(os.urandom(64), 64.0)
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None


def _run(argv, env):
    """As `python script …` would."""
    os.environ.clear()
    os.environ.update(env)
    script = argv[1]
    sys.argv[:] = argv[1:]
    sys.orig_argv[:] = argv
    sys.path[0] = os.path.dirname(script)
    main = sys.modules["__main__"].__dict__
    main.clear()
    main.update(
        __name__="__main__",
        __file__=script,
        __builtins__=__builtins__,
        __doc__=None,
        __loader__=None,
        __package__=None,
        __spec__=None,
        __cached__=None,
    )
    try:
        with open(script, "rb") as source:
            code = compile(source.read(), script, "exec")
        exec(code, main)
    except SystemExit:
        raise
    except BaseException as error:
        # Without the frames of this file.
        trace = error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)


def main():
    library = ctypes.PyDLL(os.environ["CLOVE_ZYGOTE_LIBRARY"])
    refused = library.clove_zygote_open()
    if refused != 0:
        sys.exit(f"no channel to the kernel: errno {refused}")
    _prepare(json.loads(os.environ["CLOVE_TEMPLATE"]), library)
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        sys.exit(f"a template cannot have threads, they do not survive a fork: {', '.join(others)}")
    sys.stdout.flush()
    os.write(1, b"clove template ready\n")
    argv, env = _serve(library)
    _draw_new_luck()
    _run(argv, env)
