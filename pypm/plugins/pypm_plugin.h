/*
 * pypm_plugin.h - the interface between pypm and its plugins, version 1.
 *
 * A plugin is a shared library `pypm_<name>.so` (`.dylib`, `.dll`) that exports two symbols:
 *
 *     const pypm_descriptor pypm_plugin;                  what it is, and what it wants
 *     int pypm_hook(const pypm_context *context);         called once for every stage that it wants
 *
 * WHERE IT RUNS. Never in pypm's process: a host process in a sandbox loads it with RTLD_NOW | RTLD_LOCAL.
 * It sees the system's libraries, its own file, the folder `scratch`, and what was both wanted in the
 * descriptor and granted by the project in `[tool.pypm.plugins.<name>]`; nothing else, and no network. The
 * host stays for a whole command, so static data lives from one hook call to the next, but not longer. The
 * descriptor is also read by another host that calls no hook: constructors of the library run there as well.
 *
 * OWNERSHIP. Nothing is allocated on one side and freed on the other. Whoever makes a pointer owns it.
 *   - What the context points to, and the context itself, is pypm's. It is read-only, and it lives until
 *     `pypm_hook` returns: copy what has to live longer.
 *   - What a plugin hands to a callback is the plugin's. The callback has copied it when it returns.
 *   - What the descriptor points to is the plugin's, and must be valid for as long as the library is loaded:
 *     string literals and static arrays are.
 *
 * TEXT is UTF-8 and ends with a zero byte. Paths are absolute unless it is said otherwise.
 *
 * THREADS. `pypm_hook` is called by one thread, one call at a time. It may start threads, but only the thread
 * that called it may use the callbacks, and only until `pypm_hook` returns. A callback that is used otherwise
 * does nothing and, where it has a result, returns PYPM_REFUSED.
 *
 * FAILURE. 0 from `pypm_hook` lets pypm go on; anything else ends the command with the plugin's last
 * diagnostic of level PYPM_ERROR as the message. Do not let C++ exceptions out. A plugin that crashes, exits
 * or takes too long ends the command as well, and what pypm keeps on disk stays as it was.
 *
 * GROWTH. Version 1 is frozen: a field is never moved, removed or given another meaning. New fields are
 * appended to the structures, each of which tells its size; PYPM_HAS says whether a structure at run time is
 * large enough for a field. Structures in lists are reached by pointers, so that they can grow too.
 *   - A plugin that was compiled against an older header works unchanged.
 *   - `context_size` is the smallest context that a plugin can work with. PYPM_DESCRIPTOR_HEAD asks for the
 *     one that it was compiled with; an older pypm then refuses politely. A plugin that uses newer fields only
 *     behind PYPM_HAS may write a smaller one.
 *
 * The header is C89 and C++98, needs <stddef.h> alone, and nothing has to be linked.
 */
#ifndef PYPM_PLUGIN_H
#define PYPM_PLUGIN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "PYPM" in ASCII: tells a descriptor from a symbol that merely has its name. */
#define PYPM_MAGIC 0x5059504Du
#define PYPM_ABI_VERSION 1u

/* unsigned int has 32 bits on every platform that Python runs on; a C89 compiler has no <stdint.h>. */
typedef unsigned int pypm_uint32;
#if defined(_MSC_VER)
typedef unsigned __int64 pypm_uint64;
#elif defined(__UINT64_TYPE__)
__extension__ typedef __UINT64_TYPE__ pypm_uint64;
#else
typedef unsigned long long pypm_uint64;
#endif

#if defined(_WIN32)
#define PYPM_VISIBLE __declspec(dllexport)
#elif defined(__GNUC__) && __GNUC__ >= 4
#define PYPM_VISIBLE __attribute__((visibility("default")))
#else
#define PYPM_VISIBLE
#endif

/* Whether the structure at `pointer` is large enough to hold `field`. */
#define PYPM_HAS(pointer, type, field) \
    ((pointer)->struct_size >= offsetof(type, field) + sizeof(((const type *)0)->field))

/* ---- Stages -------------------------------------------------------------------------------------------
 * In a descriptor they are added with `|`; in a context there is exactly one. Which fields of the context
 * are filled at which stage is told in docs/plugins.md.
 */
#define PYPM_PRE_LOCK 0x0001u
#define PYPM_POST_LOCK 0x0002u
#define PYPM_PRE_SYNC 0x0004u
#define PYPM_PRE_FETCH 0x0008u
#define PYPM_POST_FETCH 0x0010u
#define PYPM_PRE_BUILD 0x0020u
#define PYPM_POST_BUILD 0x0040u
#define PYPM_PRE_INSTALL 0x0080u
#define PYPM_POST_INSTALL 0x0100u
#define PYPM_POST_SYNC 0x0200u
#define PYPM_PRE_RUN 0x0400u
#define PYPM_POST_RUN 0x0800u

/* ---- Levels, of log lines and of diagnostics ---------------------------------------------------------- */
#define PYPM_DEBUG 0u
#define PYPM_NOTE 1u
#define PYPM_WARNING 2u
#define PYPM_ERROR 3u

/* ---- Results of callbacks ----------------------------------------------------------------------------- */
#define PYPM_OK 0
/* A required pointer is NULL, a level is unknown, or a package is not one of this context. */
#define PYPM_INVALID 1
/* Not now: another thread, after `pypm_hook` has returned, or a stage that takes no offers. */
#define PYPM_REFUSED 2

/* One package and the one artifact of it that this stage is about. */
typedef struct pypm_package {
    /* Size of this structure in bytes, as pypm knows it. */
    pypm_uint32 struct_size;
    /* 0; keeps the pointers aligned. */
    pypm_uint32 reserved;
    /* Normalised name (PEP 503). Never NULL. */
    const char *name;
    /* NULL for a source tree whose version is dynamic. */
    const char *version;
    /* File name of the wheel or sdist; NULL for a source tree. */
    const char *artifact;
    /* Where the index has it, without credentials; NULL if it comes from no index. */
    const char *url;
    /* 64 lower-case hexadecimal digits; NULL where none is known yet. */
    const char *sha256;
    /* The archive on this machine; NULL before it is there. */
    const char *path;
    /* The unpacked tree, laid out like a virtual environment; NULL before it is unpacked. */
    const char *tree;
    /* Size of the archive in bytes; 0 where it is not known. */
    pypm_uint64 size_bytes;
    /* The fields from here on are newer than the first pypm with version 1: ask PYPM_HAS for them. */
    /* At PYPM_PRE_BUILD and PYPM_POST_BUILD: 64 hexadecimal digits that stand for all that the wheel depends
     * on. NULL where a wheel that was built elsewhere would not be taken, whoever signed for it. */
    const char *build_key;
    /* At PYPM_POST_BUILD: the signed record of this build, a small file that another machine with the same
     * `build_key` may be offered; NULL where nobody signs. */
    const char *build_record;
} pypm_package;

/* One value of `[tool.pypm.plugins.<name>]` that is not a permission of pypm's own. */
typedef struct pypm_option {
    /* Size of this structure in bytes, as pypm knows it. */
    pypm_uint32 struct_size;
    /* 0; keeps the pointers aligned. */
    pypm_uint32 reserved;
    /* The key; inner tables have dotted keys. Never NULL. */
    const char *key;
    /* Text as written, `true`, `false`, or a number in decimal. A list is several options of one key, in
     * its order. Never NULL. */
    const char *value;
} pypm_option;

/* What a plugin may call. The first argument of each is `user`. */
typedef struct pypm_host {
    /* Size of this structure in bytes, as pypm knows it. */
    pypm_uint32 struct_size;
    /* 0; keeps the pointers aligned. */
    pypm_uint32 reserved;
    /* Opaque; hand it back unchanged. May be NULL. */
    void *user;
    /* Tell something. PYPM_DEBUG and PYPM_NOTE are shown with -v. Long messages are cut. */
    int (*log)(void *user, pypm_uint32 level, const char *message);
    /* Tell how far the stage is; `total` is 0 while it is not known, `what` may be NULL. Calls that come
     * faster than a person can see are dropped, so call it as often as is convenient. */
    int (*progress)(void *user, pypm_uint64 done, pypm_uint64 total, const char *what);
    /* Add a finding. `package` is one of this context or NULL; `hint`, the one thing to do, may be NULL. */
    int (*diagnostic)(void *user, pypm_uint32 level, const pypm_package *package, const char *message,
                      const char *hint);
    /* At PYPM_PRE_FETCH: here is the artifact of `package`, so it need not be downloaded. `path` lies in
     * `scratch`, absolute or relative to it. pypm takes it only if it is a regular file with the locked
     * sha256, and downloads the artifact otherwise.
     * At PYPM_PRE_BUILD, for a package with a `build_key`: here is a signed record of that build. If pypm
     * finds it good, the wheel that it names is asked for at PYPM_PRE_FETCH like any other artifact; otherwise
     * it builds. */
    int (*offer)(void *user, const pypm_package *package, const char *path);
    /* Not 0 when the user has interrupted the command or the time of this stage is up: return soon. */
    int (*cancelled)(void *user);
} pypm_host;

/* What a hook is told. */
typedef struct pypm_context {
    /* Size of this structure in bytes, as pypm knows it. */
    pypm_uint32 struct_size;
    /* The newest ABI version that this pypm speaks. */
    pypm_uint32 abi_version;
    /* One of the stages above. */
    pypm_uint32 stage;
    /* 0; keeps the pointers aligned. */
    pypm_uint32 reserved;
    /* The stage in words, such as `post-fetch`. Never NULL. */
    const char *stage_name;
    /* Version of pypm. Never NULL. */
    const char *pypm_version;
    /* The project's folder. It can be read only with the permission `read:project`. Never NULL. */
    const char *project_root;
    /* The lock and its sha256; the digest is NULL while there is none. */
    const char *lock_path;
    const char *lock_digest;
    /* The environment and its Merkle root; the digest is NULL before it is made. */
    const char *environment_path;
    const char *environment_digest;
    /* The interpreter of the environment, and its version such as `3.12.1`; NULL before one is chosen. */
    const char *interpreter;
    const char *interpreter_version;
    /* An empty folder that the plugin may write to, gone when the command has ended. Never NULL. */
    const char *scratch;
    /* Wheel tags of the target, the most specific first. */
    size_t platform_tag_count;
    const char *const *platform_tags;
    /* Sorted by key; the values of one list in its order. */
    size_t option_count;
    const pypm_option *const *options;
    /* The packages that this stage is about, sorted by name. */
    size_t package_count;
    const pypm_package *const *packages;
    /* Callbacks. Never NULL, and none of them is. */
    const pypm_host *host;
} pypm_context;

/* What a plugin is, exported as `pypm_plugin`. */
typedef struct pypm_descriptor {
    /* PYPM_DESCRIPTOR_HEAD fills these four. */
    pypm_uint32 magic;
    pypm_uint32 abi_version;
    pypm_uint32 struct_size;
    pypm_uint32 context_size;
    /* As in `pypm_<name>.so`, but with `-` or `_` as you like. Required. */
    const char *name;
    /* Required; any text of at most 64 bytes. */
    const char *version;
    /* One line for `pypm plugin list`; may be NULL. */
    const char *summary;
    /* What it cannot work without, ended by NULL; the list itself may be NULL:
     *   "read:packages"      archives and trees of the context's packages
     *   "read:project"       the project's folder
     *   "read:/etc/x.conf"   this path
     *   "net:host:443"       this host and port; "net:host" means the ports 80 and 443
     *   "net"                whichever hosts are granted, at least one
     *   "env:NAME"           this variable of the caller; "env:AWS_*" whichever of them are granted
     * A `?` at the end means: use it if it is granted, do without it otherwise. */
    const char *const *permissions;
    /* The stages at which the hook is called, added with `|`. */
    pypm_uint32 stages;
    /* 0. */
    pypm_uint32 reserved;
} pypm_descriptor;

#define PYPM_DESCRIPTOR_HEAD \
    PYPM_MAGIC, PYPM_ABI_VERSION, (pypm_uint32)sizeof(pypm_descriptor), (pypm_uint32)sizeof(pypm_context)

/* What a plugin defines; these declarations make both visible, with -fvisibility=hidden too. */
extern PYPM_VISIBLE const pypm_descriptor pypm_plugin;
PYPM_VISIBLE int pypm_hook(const pypm_context *context);

#ifdef __cplusplus
}
#endif

#endif
