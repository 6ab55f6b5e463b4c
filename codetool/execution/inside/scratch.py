"""Give a branch its own copy of its parent's scratch folder and of its open files.

A fork shares open files, including their offsets, with its parent. Open files of the scratch folder are therefore
reopened on the copies; other open files, pipes and sockets become /dev/null.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BRANCHES_FOLDER = ".branches"
"""Subfolder for the folders of a branch's own branches, where these lie inside their parent's; it is never copied."""
MAX_KEPT_INODE = 4096
"""Highest inode number that the copy of an open file gets like the original; lower ones are used up for it."""

FileIdentity = tuple[int, int]


def enter_copy(new: str, old: str, connection: int, max_files: int) -> None:
    """Copy folder `old` to `new`, reopen the open files there, and work in `new` or the same subfolder of it.

    `connection` is the descriptor of the socket to keep open; the others from 0 to `max_files` are replaced.
    """
    copy = FolderCopy(old, new, connection, max_files)
    working = get_working_folder()
    copy.run()
    inside = working == old or working.startswith(f"{old}/")
    work_in(f"{new}{working[len(old) :]}" if inside else working, new)
    copy.apply_attributes()


def is_unused(folder: str, max_files: int) -> bool:
    """Whether a folder, which is a mount of its own, is empty and no file of it is open, not even a removed one."""
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                return False
        device = Path(folder).stat().st_dev
    except OSError:  # its mode forbids it
        return False
    return all(status.st_dev != device for _, status in _list_descriptors(max_files))


def replace_open_files(connection: int, max_files: int) -> None:
    """Replace all open files by /dev/null; parameters as for `enter_copy`."""
    FolderCopy(None, "", connection, max_files).run()


def name_folder(folder: str) -> None:
    """Tell libraries by environment variables where files may be written."""
    os.environ["HOME"] = os.environ["TMPDIR"] = folder
    tempfile.tempdir = None


def work_in(folder: str, otherwise: str) -> None:
    """Change the working folder to `folder`, or to another one if that is not possible."""
    try:
        os.chdir(folder)
    except OSError:
        os.chdir(otherwise)


def get_working_folder() -> str:
    """The working folder, empty if it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


@dataclass
class FolderCopy:
    """Copies a scratch folder as far as possible, with modes, times, holes, hard links and open files.

    On a new tmpfs, the copies of open files keep their inode numbers, by which a database recognizes its file.
    """

    old: str | None
    new: str
    connection: int
    max_files: int
    _copies: dict[FileIdentity, str] = field(default_factory=dict)
    """Path of the copy of each file and folder."""
    _placed: dict[FileIdentity, str] = field(default_factory=dict)
    """Path of the empty file that becomes the copy of an open file."""
    _attributes: list[tuple[str, os.stat_result]] = field(default_factory=list)
    """Modes and times that the copies still have to get."""

    def run(self) -> None:
        """Copy the contents and replace the open files."""
        opened = dict(_list_descriptors(self.max_files))
        opened.pop(self.connection, None)
        if self.old:
            before = Path(self.old).stat()
            self._attributes.append((self.new, before))
            with contextlib.ExitStack() as accessible:
                accessible.enter_context(_access(self.old, before))
                files = {_identify(status): number for number, status in opened.items() if _is_file_of(status, before)}
                self._place(sorted(files))
                self._copy_contents(self.old, accessible)
                for identity, path in self._placed.items():  # files that were removed while open
                    with contextlib.suppress(OSError):
                        self._copy_open_file(files[identity], path)
                        self._copies[identity] = path
        for number, status in opened.items():
            self._replace(number, self._copies.get(_identify(status)), stat.S_ISDIR(status.st_mode))
        for path in self._placed.values():
            with contextlib.suppress(OSError):
                Path(path).unlink()

    def apply_attributes(self) -> None:
        """Give the copies the modes and times of the originals, where the system-call filter allows it."""
        for path, status in reversed(self._attributes):
            with contextlib.suppress(OSError):
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
                Path(path).chmod(stat.S_IMODE(status.st_mode))

    def _place(self, identities: list[FileIdentity]) -> None:
        """Create the empty copies of open files, in the order of their inode numbers."""
        root = Path(self.new).stat().st_ino
        next_inode, limit = root + 1, MAX_KEPT_INODE if root == 1 else 0
        for device, inode in identities:
            with contextlib.suppress(OSError):
                if next_inode < inode <= limit:
                    _skip_inodes(self.new, inode - next_inode)
                path = f"{self.new}/.open-{inode}"
                next_inode = _create(path) + 1
                self._placed[device, inode] = path

    def _copy_contents(self, old: str, accessible: contextlib.ExitStack) -> None:
        """Copy a folder's contents, level by level; what cannot be copied is left out."""
        folders = [old]
        for source in folders:
            with contextlib.suppress(OSError):
                for entry in os.scandir(source):
                    with contextlib.suppress(OSError):
                        if entry.name == BRANCHES_FOLDER and source == old:
                            continue
                        target = f"{self.new}{entry.path[len(old) :]}"
                        if self._copy_entry(entry, target):
                            accessible.enter_context(_access(entry.path, entry.stat()))
                            folders.append(entry.path)

    def _copy_entry(self, entry: os.DirEntry[str], target: str) -> bool:
        """Copy a file or a symbolic link, or make a folder; whether it is a folder."""
        if entry.is_symlink():
            Path(target).symlink_to(Path(entry.path).readlink())
            return False
        status = entry.stat()
        identity = _identify(status)
        if identity in self._copies:  # another name of a file
            os.link(self._copies[identity], target)
            return False
        if entry.is_dir():
            Path(target).mkdir(0o700)
        elif identity in self._placed:
            Path(self._placed.pop(identity)).rename(target)
        if entry.is_file():
            with _access(entry.path, status):
                _copy_file(entry.path, target)
        self._copies[identity] = target
        self._attributes.append((target, status))
        return entry.is_dir()

    def _copy_open_file(self, number: int, path: str) -> None:
        offset = os.lseek(number, 0, os.SEEK_CUR)
        target = os.open(path, os.O_WRONLY)
        try:
            _copy_data(number, target)
        finally:
            os.close(target)
            os.lseek(number, offset, os.SEEK_SET)

    def _replace(self, number: int, copy: str | None, is_folder: bool) -> None:
        """Replace an open file by its copy at the same offset, or by /dev/null if it has none."""
        fresh = -1
        if copy is not None:
            with contextlib.suppress(OSError):
                flags = fcntl.fcntl(number, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND)
                fresh = os.open(copy, flags | (os.O_DIRECTORY if is_folder else 0))
                if not is_folder:
                    os.lseek(fresh, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
        if fresh < 0:
            fresh = os.open(os.devnull, os.O_RDWR)
        os.dup2(fresh, number, inheritable=False)
        os.close(fresh)


def _list_descriptors(max_files: int) -> Iterator[tuple[int, os.stat_result]]:
    """The open descriptors below `max_files`, found by one system call instead of one for each number."""
    poller = select.poll()
    for number in range(max_files):
        poller.register(number, 0)
    closed = {number for number, events in poller.poll(0) if events & select.POLLNVAL}
    for number in range(max_files):
        if number not in closed:
            yield number, os.fstat(number)


def _identify(status: os.stat_result) -> FileIdentity:
    return status.st_dev, status.st_ino


def _is_file_of(status: os.stat_result, folder: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_dev == folder.st_dev


@contextlib.contextmanager
def _access(path: str, status: os.stat_result) -> Iterator[None]:
    """Make a file or folder accessible to its owner, and give it its mode again on leaving."""
    mode = stat.S_IMODE(status.st_mode)
    needed = mode | (0o700 if stat.S_ISDIR(status.st_mode) else 0o600)
    if needed == mode:
        yield
        return
    with contextlib.suppress(OSError):
        Path(path).chmod(needed)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(path).chmod(mode)


def _skip_inodes(folder: str, count: int) -> None:
    """Use up inode numbers, which a tmpfs gives in ascending order, by files without a name."""
    for _ in range(count):
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))


def _create(path: str) -> int:
    """Create an empty file; returns its inode number."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def _copy_file(source: str, target: str) -> None:
    """Copy the data of a regular file that nobody changes meanwhile."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            _copy_data(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_data(source: int, target: int) -> None:
    """Copy the data of an open file, leaving out its holes."""
    size, end = os.fstat(source).st_size, 0
    os.ftruncate(target, size)
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError:  # no data follow
            return
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            copied = os.sendfile(target, source, start, end - start)
            if not copied:
                return
            start += copied
