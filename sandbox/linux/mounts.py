"""Operations that build the root: every path is walked without following a symbolic link.

The new root is put together under the host's `/proc`, which is the one directory that always exists and
that no policy may show, so all other host paths stay as they are until the pivot.

Every system call costs as much again in Python, so none is made twice: a mount point that was just created is
named by its folder, and what covers things is restricted once and copied with its restrictions.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox.linux import constants as c
from sandbox.linux import keeper, syscalls
from sandbox.linux.context import Context, fail
from sandbox.linux.placeholders import is_placeholder

BUILD_AT = "/proc"
_SAFE = c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV
CLOSED = _SAFE | c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOEXEC
"""The attributes of what covers something."""
COVERS = {False: "file", True: "directory"}
"""The names of what covers something, by "is a directory"."""
_TMPFS = c.MS_NOSUID | c.MS_NODEV
_WALK = c.RESOLVE_IN_ROOT | c.RESOLVE_NO_SYMLINKS | c.RESOLVE_NO_MAGICLINKS
_PATH = os.O_PATH | os.O_CLOEXEC
_CLONE = c.OPEN_TREE_CLONE | os.O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    Point = tuple[int, str]
    """Where to mount: a folder of the sandbox's own that is kept open, and the name of what was just created
    in it; or a descriptor of the very place, which is closed after use, and no name."""


def root(context: Context, size_bytes: int, inodes: int) -> None:
    """Cut off from the host's mount tree, then an empty tmpfs; modes are given exactly from here on."""
    os.umask(0)
    syscalls.mount(None, "/", None, c.MS_REC | c.MS_PRIVATE)
    _make_covers(context)
    syscalls.mount("tmpfs", BUILD_AT, "tmpfs", _TMPFS, _tmpfs_options(size_bytes, 0o755, inodes))
    context.root = os.open(BUILD_AT, _PATH | os.O_DIRECTORY)
    context.devices.add(os.fstat(context.root).st_dev)


def _make_covers(context: Context) -> None:
    """An empty file and an empty directory to cover things with, on a mount whose copies are closed as it is.

    It lies below the new root, where no path leads any more, and goes with the host's tree.
    """
    syscalls.mount("tmpfs", BUILD_AT, "tmpfs", _TMPFS | c.MS_NOEXEC, _tmpfs_options(4096, 0o555, 4))
    context.covers = os.open(BUILD_AT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.close(os.open(COVERS[False], os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=context.covers))
    os.mkdir(COVERS[True], 0o555, dir_fd=context.covers)
    syscalls.mount_setattr(context.covers, 0, CLOSED)
    check(context.covers, CLOSED)


def placeholders(context: Context) -> None:
    """The keeper makes them meanwhile; it has told the supervisor why, if it could not."""
    if not keeper.wait_for(context.placeholders):
        raise fail("placeholders", "what mounts must stand on could not be made")


def mirror(context: Context, path: str) -> None:
    """A system path as the host has it."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        symlink(context, path, os.readlink(path))  # noqa: PTH115 - no pathlib on this path
    else:
        bind(context, path, path, writable=False, optional=True, device=False, follow=True)


def bind(  # noqa: PLR0913, PLR0917 - the operation's own fields
    context: Context, source: str, target: str, writable: bool, optional: bool, device: bool, follow: bool
) -> None:
    """Show a host path, read-only unless `writable`, never with set-user-id files, devices only if asked."""
    try:
        copy = _copied(source, follow=follow)
    except FileNotFoundError:
        if optional:
            return
        raise fail("bind", f"`{source}` does not exist", errno=errno.ENOENT) from None
    attributes = c.MOUNT_ATTR_NOSUID if device else _SAFE
    if not writable:
        attributes |= c.MOUNT_ATTR_RDONLY
    status = os.fstat(copy)
    if writable and os.path.samestat(status, os.stat("/")):  # noqa: PTH116 - no pathlib on this path
        raise fail("bind", f"`{source}` leads to the host's root, which must not be writable")
    is_directory = stat.S_ISDIR(status.st_mode)
    _attach(copy, mount_point(context, target, directory=is_directory), attributes)
    forget(context, target)


def _copied(source: str, *, follow: bool) -> int:
    """A detached copy of a host's tree; without `follow` no symbolic link may lie on the way to it."""
    flags = _CLONE | c.AT_RECURSIVE
    if follow:
        return syscalls.open_tree(c.AT_FDCWD, source, flags)
    here = _opened(c.AT_FDCWD, source, c.RESOLVE_NO_SYMLINKS | c.RESOLVE_NO_MAGICLINKS)
    try:
        return syscalls.open_tree(here, "", flags | c.AT_EMPTY_PATH)
    finally:
        os.close(here)


def overlay(context: Context, target: str, layers: tuple[str, ...]) -> None:
    """One read-only tree of many; overlayfs wants two at least, a single one is a bind."""
    if len(layers) == 1:
        bind(context, layers[0], target, writable=False, optional=False, device=False, follow=True)
        return
    configuration = syscalls.fsopen("overlay")
    try:
        _add_layers(configuration, layers)
        syscalls.fsconfig(configuration, c.FSCONFIG_CMD_CREATE)
        tree = syscalls.fsmount(configuration, _SAFE | c.MOUNT_ATTR_RDONLY)
    finally:
        os.close(configuration)
    _attach(tree, mount_point(context, target, directory=True), _SAFE | c.MOUNT_ATTR_RDONLY)
    forget(context, target)


def _add_layers(configuration: int, layers: tuple[str, ...]) -> None:
    """Add each as the next lower layer; kernels before 6.8 know only the whole list, up to a page."""
    try:
        syscalls.fsconfig_strings(configuration, "lowerdir+", layers)
    except OSError as error:
        layer = error.filename
        if error.errno == errno.EINVAL and not os.path.isdir(layer):  # noqa: PTH112 - no pathlib on this path
            raise fail("overlay", f"the layer `{layer}` is not a directory", errno=errno.ENOENT) from None
        if error.errno == errno.EINVAL:
            hint = "an overlay of layers needs Linux 6.8 or newer"
            raise fail(
                "overlay", "this kernel takes no overlay layers one by one", errno=error.errno, hint=hint
            ) from None
        raise fail("overlay", f"the layer `{layer}`: {error.strerror}", errno=error.errno or 0) from None


def tmpfs(context: Context, target: str, size_bytes: int, mode: int) -> None:
    """An empty directory in memory; its own device number marks it as ours."""
    options = _tmpfs_options(size_bytes, mode, max(1024, size_bytes >> 13))
    made = mount_new(context, target, "tmpfs", _TMPFS, options)
    context.devices.add(made.st_dev)


def _tmpfs_options(size_bytes: int, mode: int, inodes: int) -> str:
    """`inodes` bounds the kernel memory that empty files and directories would use."""
    return f"size={size_bytes},nr_inodes={inodes},mode={mode:o}"


def mount_new(
    context: Context, target: str, kind: str, flags: int, options: str | None = None
) -> os.stat_result:
    """Mount a new file system of the sandbox's own on `target`; return the state of its root."""
    point = mount_point(context, target, directory=True)
    folder, name = point
    try:
        os.fchdir(folder)
        syscalls.mount(kind, name or ".", kind, flags, options)
        os.chdir("/")
        # Not by way of ".": that is the directory below the mount.
        made = os.stat(f"{BUILD_AT}{target}", follow_symlinks=False)  # noqa: PTH116 - no pathlib on this path
    finally:
        _done_with(point)
    forget(context, target)
    return made


def file(context: Context, target: str, content: bytes, mode: int) -> None:
    """A read-only file; inside a host directory it is mounted, in the sandbox's own it is simply there."""
    folder, name = _own_folder(context, target)
    if folder >= 0:
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            descriptor = os.open(name, flags, mode, dir_fd=folder)
        except FileExistsError:
            pass
        else:
            _write(descriptor, content)
            return
    point = mount_point(context, target, directory=False)
    # On a writable file system the file itself could be changed, so a read-only copy covers it.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    _write(os.open(".stash", flags, mode, dir_fd=context.root), content)
    copy = syscalls.open_tree(context.root, ".stash", _CLONE)
    _attach(copy, point, _SAFE | c.MOUNT_ATTR_RDONLY)
    os.unlink(".stash", dir_fd=context.root)


def _write(descriptor: int, content: bytes) -> None:
    """Fill a new file of the sandbox's own and close it."""
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def symlink(context: Context, target: str, destination: str) -> None:
    """A link in a directory of the sandbox's own; nothing is ever created on the host."""
    folder, name = _own_folder(context, target)
    if folder >= 0:
        os.symlink(destination, name, dir_fd=folder)
        return
    directory = _opened_point(context, target.rpartition("/")[0])
    try:
        if os.fstat(directory).st_dev not in context.devices:
            raise fail("symlink", f"`{target}` would have to be created on the host")
        os.symlink(destination, name, dir_fd=directory)
    finally:
        os.close(directory)


def protect(context: Context, base: str, parts: tuple[str, ...]) -> None:
    """Make `base/parts...` read-only, pinning the way to it; cover a placeholder where one stands.

    FIFOs and sockets are covered as well, there and directly in a folder: a read-only mount does not keep
    anybody from talking to whoever listens on the host.
    """
    path = base
    for index, part in enumerate(parts):
        path = f"{path}/{part}"
        if path in context.covered:
            return
        here = _walk(context.root, path)
        status = os.fstat(here)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_placeholder(status) or _is_endpoint(status):
            _cover(context, here, directory=is_directory)
            context.covered.add(path)
            return
        if path in context.pinned:
            os.close(here)
            continue
        last = index == len(parts) - 1
        copy = syscalls.open_tree(here, "", _CLONE | c.AT_RECURSIVE | c.AT_EMPTY_PATH)
        _attach(copy, (here, ""), _SAFE | c.MOUNT_ATTR_RDONLY if last else _SAFE)
        if not last:
            context.pinned.add(path)
        elif is_directory:
            _cover_endpoints(context, path)


def _cover(context: Context, here: int, *, directory: bool) -> None:
    """Lay something empty over a place; its descriptor is closed."""
    copy = syscalls.open_tree(context.covers, COVERS[directory], _CLONE)
    _attach(copy, (here, ""), CLOSED, restricted=True)


def _cover_endpoints(context: Context, path: str) -> None:
    """Cover what lies directly in a folder inside and is no file, folder or link."""
    try:
        folder = syscalls.openat2(context.root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, _WALK)
    except PermissionError:
        return  # Nobody inside learns the names in it, either.
    try:
        # The kind comes with the name on most file systems, so that nothing is looked at twice.
        names = [entry.name for entry in os.scandir(folder) if not _is_ordinary(entry)]
    finally:
        os.close(folder)
    for name in names:
        try:
            here = _walk(context.root, f"{path}/{name}")
        except FileNotFoundError:
            continue  # Its program took it away meanwhile.
        _cover(context, here, directory=False)


def _is_ordinary(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()


def _is_endpoint(status: os.stat_result) -> bool:
    """Whether somebody else may be at the other end: a FIFO or a socket."""
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)


def read_only(context: Context, path: str) -> None:
    """Make a path inside a read-only mount of itself, if it is there."""
    try:
        here = _walk(context.root, path)
    except FileNotFoundError:
        return
    copy = syscalls.open_tree(here, "", _CLONE | c.AT_RECURSIVE | c.AT_EMPTY_PATH)
    _attach(copy, (here, ""), CLOSED)


def pivot(context: Context) -> None:
    """Change over to the new root, let the host's go, and make what is left read-only."""
    os.close(context.covers)
    forget(context, "")
    os.fchdir(context.root)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", c.MNT_DETACH)
    os.chdir("/")
    syscalls.mount_setattr(context.root, 0, _SAFE | c.MOUNT_ATTR_RDONLY)
    check(context.root, c.MOUNT_ATTR_RDONLY)
    os.close(context.root)
    os.umask(context.umask)


def mount_point(context: Context, target: str, *, directory: bool) -> Point:
    """Where `target` is inside; missing steps are created in the sandbox's own directories."""
    folder, name = _own_folder(context, target)
    if folder >= 0:
        if _create(folder, name, directory=directory):
            return folder, name
        return _walk(folder, name), ""  # What was there already may be a link, which nothing is mounted on.
    try:
        return _walk(context.root, target), ""
    except FileNotFoundError:
        pass
    parts = target.strip("/").split("/")
    here = os.dup(context.root)
    for index, part in enumerate(parts):
        try:
            below = syscalls.openat2(here, part, _PATH, _WALK)
        except FileNotFoundError:
            if os.fstat(here).st_dev not in context.devices:
                message = f"`{target}` has nothing to stand on: `{part}` does not exist on the host"
                raise fail("mount point", message, errno=errno.ENOENT) from None
            _create(here, part, directory=directory or index < len(parts) - 1)
            below = _walk(here, part)
        os.close(here)
        here = below
    return here, ""


def _opened_point(context: Context, target: str) -> int:
    """A descriptor of a directory inside, created where it is missing."""
    here, name = mount_point(context, target, directory=True)
    return _walk(here, name) if name else here


def _create(folder: int, name: str, *, directory: bool) -> bool:
    """Create something to mount on in a directory of the sandbox's own; False if there is something."""
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=folder)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder))
    except FileExistsError:
        return False
    return True


def _own_folder(context: Context, target: str) -> tuple[int, str]:
    """A kept descriptor of the folder of `target`, -1 unless it lies in the root's own file system; the name.

    Most targets lie in `/etc`, `/dev` and `/` itself, so each of them is walked to once.
    """
    path, _, name = target.rpartition("/")
    found = context.folders.get(path)
    if found is None:
        found = _opened_point(context, path) if path else os.dup(context.root)
        if os.fstat(found).st_dev != os.fstat(context.root).st_dev:
            os.close(found)
            found = -1
        context.folders[path] = found
    return found, name


def forget(context: Context, target: str) -> None:
    """Something was mounted on `target`: what was known of the folders there holds no longer."""
    within = target + "/"
    for path in [path for path in context.folders if path == target or path.startswith(within)]:
        found = context.folders.pop(path)
        if found >= 0:
            os.close(found)


def _walk(folder: int, path: str) -> int:
    """An O_PATH descriptor of an existing path below `folder`, without passing through any link."""
    return _opened(folder, path, _WALK)


def _opened(folder: int, path: str, resolve: int) -> int:
    """An O_PATH descriptor; `resolve` forbids links, and a link that is met is told."""
    try:
        return syscalls.openat2(folder, path, _PATH, resolve)
    except OSError as error:
        if error.errno == errno.ELOOP:
            hint = "replace the link by what it leads to, or name its destination in the policy"
            message = f"`{path}` leads through a symbolic link"
            raise fail("mount point", message, errno=errno.ELOOP, hint=hint) from None
        raise


def _attach(copy: int, point: Point, attributes: int, *, restricted: bool = False) -> None:
    """Restrict the detached tree `copy`, mount it on `point`, look whether the kernel did; close both.

    A copy of what is `restricted` already has the attributes from there.
    """
    try:
        if not restricted:
            syscalls.mount_setattr(copy, c.AT_RECURSIVE, attributes)
        syscalls.move_mount(copy, *point)
        check(copy, attributes)
    finally:
        os.close(copy)
        _done_with(point)


def _done_with(point: Point) -> None:
    """Close the descriptor of a place of its own; folders are kept."""
    if not point[1]:
        os.close(point[0])


def check(mounted: int | str, attributes: int) -> None:
    """The flags of statvfs are the mount attributes' own numbers for these four."""
    flags = os.statvfs(mounted).f_flag
    wanted = attributes & CLOSED
    if flags & wanted != wanted:
        raise fail("mount", f"a mount has the flags {flags:#x} where {wanted:#x} were asked for")
