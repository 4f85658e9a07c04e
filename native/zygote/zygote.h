// The face of libclove_zygote towards an interpreter: C only, so that ctypes and N-API can both call it.
#pragma once
#include <stdint.h>

extern "C" {

/** Who the process is from now on. Everything stays valid for the life of the process. */
struct CloveAgent {
  const char* const* argv;
  const char* const* env;  // NAME=value
  const char* cwd;
  uint32_t argc, envc;
};

/** Takes the kernel's channel off descriptor 0, which becomes /dev/null. 0, or an errno. */
__attribute__((visibility("default"))) int clove_zygote_open();
/**
 * Serves requests for ever; returns 0 only in a process that was forked for an agent, sandboxed, verified and let go. What the
 * interpreter has to do in a forked process (locks, threads, event loop, luck) is the caller's.
 */
__attribute__((visibility("default"))) int clove_zygote_serve(CloveAgent* agent);
/** Makes forks cheaper; once, when everything is loaded and nothing else runs. How many huge pages were made. */
__attribute__((visibility("default"))) int clove_zygote_settle();
/** Of a forked Node, after its event loop is its own: see runtime.cc. */
__attribute__((visibility("default"))) int clove_zygote_resume_threads();
/** With what a forked Node is to end: see pthread_join in runtime.cc. */
__attribute__((visibility("default"))) int* clove_zygote_exit_status();
}
