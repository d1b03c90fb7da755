"""Starts a program that ends with its parent, waits for its predecessor on a folder, and need not be root.

Run as a script between a parent and the program, which it becomes by exec: what it sets (signal, lock, user)
must be set in a fresh single-threaded process, and a `preexec_fn` would run in a copy of a threaded one.

On systems other than Linux a child does not notice that its parent was killed: there only a parent that
ends in good order stops its children.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Sequence

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534
PROCESS = "/proc/self"
LOCK_NAME = "in-use.lock"


def launched(
    argv: Sequence[str],
    *,
    on_parent_death: signal.Signals,
    folder: os.PathLike[str] | None = None,
    unprivileged: bool = False,
) -> list[str]:
    """Return the command line that runs `argv` as a child of this very process, for the thread that calls it.

    `on_parent_death` is sent to the program when the thread that started it ends, so start children from
    the main thread. With `folder` the program starts only when no process of an earlier program launched
    on that folder is left. With `unprivileged` a program started by root runs as another user, who is
    handed the folder.
    """
    options = [f"parent={os.getpid()}", f"signal={int(on_parent_death)}"]
    if folder is not None:
        options.append(f"folder={os.fspath(folder)}")
    if unprivileged:
        options.append("unprivileged=yes")
    return [sys.executable, "-I", "-S", __file__, *options, "--", *argv]


def main() -> None:
    """Become the program after `--`, as the options before it say."""
    # A shell's `&` has SIGINT ignored, which would be inherited; PostgreSQL and the rest are stopped by it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    split = sys.argv.index("--")
    options = dict(option.split("=", 1) for option in sys.argv[1:split])
    argv = sys.argv[split + 1 :]
    folder = options.get("folder")
    if "unprivileged" in options and folder and os.geteuid() == 0:
        give_up_root(folder)
        require_reachable(argv[0], folder)
    # A change of user clears the death signal, so it is set after it.
    die_with(int(options["parent"]), int(options["signal"]))
    if folder:
        wait_for_predecessor(folder)
    os.execv(argv[0], argv)  # noqa: S606 - becoming the given program is the purpose


def die_with(parent: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` to this process once `parent` ends; exit if it has ended already."""
    if sys.platform == "linux":
        _call("prctl", PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def wait_for_predecessor(folder: str) -> None:
    """Wait until no process holds the folder, then hold it until this program and all its children have ended."""
    lock = os.open(f"{folder}/{LOCK_NAME}", os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # The descriptor is left open on purpose: the program and its children inherit the lock with it.
    os.set_inheritable(lock, True)


def give_up_root(folder: str) -> None:
    """Go on as another user than root, who owns `folder`; exit with the reason where neither way is allowed."""
    try:
        if namespace_allowed():
            hand_over(folder, os.geteuid(), os.getegid())
            enter_namespace()
        else:
            hand_over(folder, NOBODY, NOBODY)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    except OSError as error:
        sys.exit(
            "PostgreSQL does not run as root, and this system allows neither a user namespace nor a change "
            f"of user ({error}): start as an ordinary user, or set CDR_DATABASE_URL"
        )


def namespace_allowed() -> bool:
    """Tell whether this system lets us enter a user namespace, by trying it in a child."""
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        try:
            enter_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def enter_namespace() -> None:
    """Enter a user namespace in which this user has a number other than 0; outside nothing changes."""
    maps = {"uid_map": f"{NOBODY} {os.geteuid()} 1", "gid_map": f"{NOBODY} {os.getegid()} 1"}
    _call("unshare", CLONE_NEWUSER)
    for name, text in {"setgroups": "deny", **maps}.items():
        with open(f"{PROCESS}/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib triples the start
            file.write(text)


def hand_over(folder: str, uid: int, gid: int) -> None:
    """Make `uid` and `gid` the owner of the folder and of all that is in it."""
    for path in _tree(folder):
        if os.lstat(path).st_uid != uid:
            os.chown(path, uid, gid, follow_symlinks=False)


def require_reachable(*paths: str) -> None:
    """Exit, naming the folder, when this user may not enter a folder on the way to one of `paths`."""
    for path in paths:
        for end in range(1, len(path)):
            if path[end] == "/" and not os.access(path[:end], os.X_OK):
                sys.exit(
                    f"PostgreSQL does not run as root, and the user it runs as may not enter {path[:end]}: "
                    f"start as an ordinary user, or use a --data folder outside of it"
                )


def _tree(folder: str) -> Iterator[str]:
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (f"{parent}/{name}" for name in (*folders, *files))


def _call(name: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
