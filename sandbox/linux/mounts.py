"""Operations that build the root: every path is walked without following a symbolic link.

The new root is put together under the host's `/proc`, which is the one directory that always exists and
that no policy may show, so all other host paths stay as they are until the pivot.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox.linux import constants as c
from sandbox.linux import keeper, syscalls
from sandbox.linux.context import Context, fail
from sandbox.linux.placeholders import is_placeholder

_BUILD_AT = "/proc"
_SAFE = c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV
_WALK = c.RESOLVE_IN_ROOT | c.RESOLVE_NO_SYMLINKS | c.RESOLVE_NO_MAGICLINKS
_PATH = os.O_PATH | os.O_CLOEXEC


def root(context: Context, size_bytes: int, inodes: int) -> None:
    """Cut off from the host's mount tree, then an empty tmpfs; modes are given exactly from here on."""
    os.umask(0)
    syscalls.mount(None, "/", None, c.MS_REC | c.MS_PRIVATE)
    _mount_tmpfs(_BUILD_AT, size_bytes, 0o755, inodes)
    context.root = os.open(_BUILD_AT, _PATH | os.O_DIRECTORY)
    context.devices.add(os.fstat(context.root).st_dev)
    # What covers masked files and directories; the originals end with the build directory's name.
    os.close(os.open(".empty", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=context.root))
    os.mkdir(".hollow", 0o555, dir_fd=context.root)
    context.covers = {
        False: os.open(".empty", _PATH, dir_fd=context.root),
        True: os.open(".hollow", _PATH, dir_fd=context.root),
    }


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
    flags = c.OPEN_TREE_CLONE | c.AT_RECURSIVE | os.O_CLOEXEC
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
        for layer in layers:
            _add_layer(configuration, layer)
        syscalls.fsconfig(configuration, c.FSCONFIG_CMD_CREATE)
        tree = syscalls.fsmount(configuration, _SAFE | c.MOUNT_ATTR_RDONLY)
    finally:
        os.close(configuration)
    _attach(tree, mount_point(context, target, directory=True), _SAFE | c.MOUNT_ATTR_RDONLY)
    forget(context, target)


def _add_layer(configuration: int, layer: str) -> None:
    """Add the next lower layer; kernels before 6.8 know the whole list only, which breaks past a page."""
    try:
        syscalls.fsconfig(configuration, c.FSCONFIG_SET_STRING, "lowerdir+", layer)
    except OSError as error:
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
    point = mount_point(context, target, directory=True)
    os.fchdir(point)
    _mount_tmpfs(".", size_bytes, mode, max(1024, size_bytes >> 13))
    os.chdir("/")
    os.close(point)
    forget(context, target)
    above = _walk(context.root, target)
    context.devices.add(os.fstat(above).st_dev)
    os.close(above)


def _mount_tmpfs(where: str, size_bytes: int, mode: int, inodes: int) -> None:
    """`inodes` bounds the kernel memory that empty files and directories would use."""
    options = f"size={size_bytes},nr_inodes={inodes},mode={mode:o}"
    syscalls.mount("tmpfs", where, "tmpfs", c.MS_NOSUID | c.MS_NODEV, options)


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
    copy = syscalls.open_tree(context.root, ".stash", c.OPEN_TREE_CLONE | os.O_CLOEXEC)
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
    directory = mount_point(context, target.rpartition("/")[0], directory=True)
    try:
        if os.fstat(directory).st_dev not in context.devices:
            raise fail("symlink", f"`{target}` would have to be created on the host")
        os.symlink(destination, name, dir_fd=directory)
    finally:
        os.close(directory)


def protect(context: Context, base: str, parts: tuple[str, ...]) -> None:
    """Make `base/parts...` read-only, pinning the way to it; cover a placeholder where one stands."""
    path = base
    for index, part in enumerate(parts):
        path = f"{path}/{part}"
        if path in context.covered:
            return
        here = _walk(context.root, path)
        status = os.fstat(here)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_placeholder(status):
            _cover(context, here, is_directory)
            context.covered.add(path)
            return
        if path in context.pinned:
            os.close(here)
            continue
        last = index == len(parts) - 1
        flags = c.OPEN_TREE_CLONE | c.AT_RECURSIVE | c.AT_EMPTY_PATH | os.O_CLOEXEC
        copy = syscalls.open_tree(here, "", flags)
        _attach(copy, here, _SAFE | c.MOUNT_ATTR_RDONLY if last else _SAFE)
        if not last:
            context.pinned.add(path)


def mask(context: Context, path: str) -> None:
    """Cover a path inside with something empty, if it is there."""
    try:
        here = _walk(context.root, path)
    except FileNotFoundError:
        return
    _cover(context, here, stat.S_ISDIR(os.fstat(here).st_mode))


def read_only(context: Context, path: str) -> None:
    """Make a path inside a read-only mount of itself, if it is there."""
    try:
        here = _walk(context.root, path)
    except FileNotFoundError:
        return
    copy = syscalls.open_tree(here, "", c.OPEN_TREE_CLONE | c.AT_RECURSIVE | c.AT_EMPTY_PATH | os.O_CLOEXEC)
    _attach(copy, here, _SAFE | c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOEXEC)


def pivot(context: Context) -> None:
    """Change over to the new root, let the host's go, and make what is left read-only."""
    os.unlink(".empty", dir_fd=context.root)
    os.rmdir(".hollow", dir_fd=context.root)
    for cover in context.covers.values():
        os.close(cover)
    forget(context, "")
    os.fchdir(context.root)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", c.MNT_DETACH)
    os.chdir("/")
    syscalls.mount_setattr(context.root, 0, _SAFE | c.MOUNT_ATTR_RDONLY)
    _check(context.root, c.MOUNT_ATTR_RDONLY)
    os.close(context.root)
    os.umask(context.umask)


def mount_point(context: Context, target: str, *, directory: bool) -> int:
    """A descriptor of `target` inside; missing steps are created in the sandbox's own directories."""
    folder, name = _own_folder(context, target)
    if folder >= 0:
        return _made(folder, name, directory=directory)
    try:
        return _walk(context.root, target)
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
            below = _made(here, part, directory=directory or index < len(parts) - 1)
        os.close(here)
        here = below
    return here


def _made(folder: int, name: str, *, directory: bool) -> int:
    """A descriptor of `name` in `folder`, created there if it is missing; never a link's destination."""
    try:
        if not directory:
            return os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return _walk(folder, name)
    return _walk(folder, name)


def _own_folder(context: Context, target: str) -> tuple[int, str]:
    """A kept descriptor of the folder of `target`, -1 unless it lies in the root's own file system; the name.

    Most targets lie in `/etc`, `/dev` and `/` itself, so each of them is walked to once.
    """
    path, _, name = target.rpartition("/")
    found = context.folders.get(path)
    if found is None:
        found = mount_point(context, path, directory=True) if path else os.dup(context.root)
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


def _cover(context: Context, point: int, is_directory: bool) -> None:
    """Mount something empty and read-only on `point`."""
    flags = c.OPEN_TREE_CLONE | c.AT_EMPTY_PATH | os.O_CLOEXEC
    copy = syscalls.open_tree(context.covers[is_directory], "", flags)
    _attach(copy, point, _SAFE | c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOEXEC)


def _attach(copy: int, point: int, attributes: int) -> None:
    """Restrict the detached tree `copy`, mount it on `point`, look whether the kernel did; close both."""
    try:
        syscalls.mount_setattr(copy, c.AT_RECURSIVE, attributes)
        syscalls.move_mount(copy, point)
        _check(copy, attributes)
    finally:
        os.close(copy)
        os.close(point)


def _check(mounted: int, attributes: int) -> None:
    """The flags of statvfs are the mount attributes' own numbers for these three."""
    flags = os.fstatvfs(mounted).f_flag
    wanted = attributes & (c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV)
    if flags & wanted != wanted:
        raise fail("mount", f"a mount has the flags {flags:#x} where {wanted:#x} were asked for")
