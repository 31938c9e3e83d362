/* Preloaded into a process, copies a folder as a kill at each of its operations would leave it.

An operation makes, writes, renames or removes a file or a folder below the folder. Of writes that
follow one another into one file the 1st, 2nd, 4th, 8th ... count. The copy is made before the
operation, of a write when half of it is done. What a kill leaves is what all other programs see
then: nothing that is written waits for anything but the kernel. Nothing is copied before
`copy_at_every_operation` is called.

Built with: cc -shared -fPIC -o snapshots.so snapshots.c
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[PATH_MAX], copies[PATH_MAX], before[PATH_MAX];
static long count, following;
static int armed, list = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* From here on copy `folder` to `to`/1, `to`/2 ..., and list the operations in an open file. */
void copy_at_every_operation(const char *folder, const char *to, int names) {
  snprintf(root, sizeof root, "%s/", folder);
  snprintf(copies, sizeof copies, "%s", to);
  list = names, count = following = 0, before[0] = 0, armed = 1;
}

static void absolute(int folder, const char *path, char *found) {
  char start[PATH_MAX] = "";
  if (path[0] != '/') {
    char link[64];
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, start, sizeof start - 1);
    start[length < 0 ? 0 : length] = 0;
  }
  snprintf(found, PATH_MAX, "%.2000s%s%.2000s", start, path[0] == '/' || !path[0] ? "" : "/", path);
}

static void copy(void) {
  char to[PATH_MAX];
  snprintf(to, sizeof to, "%.4000s/%ld", copies, count);
  char *command[] = {"cp", "-a", "-T", root, to, NULL}, *environment[] = {"PATH=/usr/bin:/bin", NULL};
  pid_t child;
  if (!posix_spawnp(&child, "cp", NULL, NULL, command, environment)) waitpid(child, NULL, 0);
}

/* Whether this operation counts; the lock is held then, until `done`. */
static int counts(const char *kind, const char *path) {
  if (!armed || strncmp(path, root, strlen(root))) return 0;
  pthread_mutex_lock(&lock);
  int is_write = !strcmp(kind, "write");
  following = is_write && !strcmp(before, path) ? following + 1 : is_write;
  snprintf(before, sizeof before, "%s", is_write ? path : "");
  if (is_write && following & (following - 1)) {
    pthread_mutex_unlock(&lock);
    return 0;
  }
  count++;
  dprintf(list, "%s %s\n", kind, path + strlen(root));
  return 1;
}

static void done(void) {
  copy();
  pthread_mutex_unlock(&lock);
}

static void named(const char *kind, int folder, const char *path) {
  if (!armed || !path) return;
  char found[PATH_MAX];
  absolute(folder, path, found);
  if (counts(kind, found)) done();
}

static int is_written(int file) {
  if (!armed) return 0;
  char link[64], found[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, found, sizeof found - 1);
  if (length < 0) return 0;
  found[length] = 0;
  return counts("write", found);
}

#define MAKES(flags) ((flags) & (O_CREAT | O_TRUNC))
#define OPEN(name, folder, parameters, arguments)                         \
  int name parameters {                                                   \
    REAL(name);                                                           \
    va_list rest;                                                         \
    va_start(rest, flags);                                                \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                         \
    if (MAKES(flags)) named("make", folder, path);                        \
    return real arguments;                                                \
  }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))

#define NAMED(kind, type, name, folder, parameters, arguments) \
  type name parameters {                                       \
    REAL(name);                                                \
    named(kind, folder, path);                                 \
    return real arguments;                                     \
  }
#define FOPEN(name)                                                \
  FILE *name(const char *path, const char *mode) {                 \
    REAL(name);                                                    \
    if (mode[0] != 'r') named("make", AT_FDCWD, path);             \
    return real(path, mode);                                       \
  }
FOPEN(fopen)
FOPEN(fopen64)
NAMED("make", int, mkdir, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
NAMED("make", int, mkdirat, at, (int at, const char *path, mode_t mode), (at, path, mode))
NAMED("remove", int, rmdir, AT_FDCWD, (const char *path), (path))
NAMED("remove", int, unlink, AT_FDCWD, (const char *path), (path))
NAMED("remove", int, unlinkat, at, (int at, const char *path, int flags), (at, path, flags))
NAMED("rename", int, rename, AT_FDCWD, (const char *from, const char *path), (from, path))
NAMED("rename", int, renameat, at, (int other, const char *from, int at, const char *path),
      (other, from, at, path))
NAMED("make", int, symlink, AT_FDCWD, (const char *from, const char *path), (from, path))
NAMED("write", int, truncate, AT_FDCWD, (const char *path, off_t length), (path, length))

/* In halves, if it counts. `first` is what the first half returns: what the caller sees of such a
   call is a short write, after which it writes the rest. */
#define WRITE(name, parameters, first, whole)                    \
  ssize_t name parameters {                                      \
    REAL(name);                                                  \
    if (!is_written(file)) return real whole;                    \
    ssize_t half = size > 1 ? real first : 0;                    \
    done();                                                      \
    return half > 0 ? half : real whole;                         \
  }
WRITE(write, (int file, const void *from, size_t size), (file, from, size / 2),
      (file, from, size))
WRITE(pwrite, (int file, const void *from, size_t size, off_t to), (file, from, size / 2, to),
      (file, from, size, to))
WRITE(pwrite64, (int file, const void *from, size_t size, off64_t to), (file, from, size / 2, to),
      (file, from, size, to))
WRITE(sendfile, (int file, int from, off_t *start, size_t size), (file, from, start, size / 2),
      (file, from, start, size))
WRITE(sendfile64, (int file, int from, off64_t *start, size_t size), (file, from, start, size / 2),
      (file, from, start, size))
WRITE(copy_file_range,
      (int from, off64_t *start, int file, off64_t *to, size_t size, unsigned flags),
      (from, start, file, to, size / 2, flags), (from, start, file, to, size, flags))

#define BEFORE(type, name, parameters, file, arguments) \
  type name parameters {                                \
    REAL(name);                                         \
    if (is_written(file)) done();                       \
    return real arguments;                              \
  }
BEFORE(ssize_t, writev, (int file, const struct iovec *from, int size), file, (file, from, size))
BEFORE(int, ftruncate, (int file, off_t length), file, (file, length))
BEFORE(int, ftruncate64, (int file, off64_t length), file, (file, length))
BEFORE(int, posix_fallocate, (int file, off_t from, off_t length), file, (file, from, length))
/* The C library's own buffers, which it writes where nothing can stand between. */
BEFORE(int, fflush, (FILE *stream), stream ? fileno(stream) : -1, (stream))
BEFORE(int, fclose, (FILE *stream), fileno(stream), (stream))
