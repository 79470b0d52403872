// Loaded into every process that scripts/emulated_gpu.sh starts, most of which have nothing to do with libtorch.
//
// libtorch looks for its CUDA half when the first tensor is made, and never again. Test programs make tensors before they
// ask for a device: in a process that is linked to libtorch its CUDA half is loaded before main. The program itself loads
// it on its own, which must stay tested.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// what the driver's half wants to be called at an end without destructors
void (*emulated_gpu_at_exit)(void);

static int (*program)(int, char **, char **);

static int is_the_program(void) {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  const char *name = strrchr(path, '/');
  return name != NULL && strcmp(name + 1, "inverse-flow") == 0;
}

static int load_and_run(int argc, char **argv, char **environment) {
  if (!is_the_program() && dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD) != NULL &&
      dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == NULL) {
    fprintf(stderr, "emulated GPU: %s\n", dlerror());
    exit(1);
  }
  return program(argc, argv, environment);
}

// the function of the C library that calls main
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
  typedef int Start(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
  Start *start = (Start *)dlsym(RTLD_NEXT, "__libc_start_main");
  program = main;
  return start(load_and_run, argc, argv, init, fini, rtld_fini, stack_end);
}

__attribute__((noreturn)) void _exit(int status) {
  if (emulated_gpu_at_exit != NULL) emulated_gpu_at_exit();
  for (;;) syscall(SYS_exit_group, status);
}
