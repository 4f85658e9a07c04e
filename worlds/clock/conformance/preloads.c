// Starts a program with an environment that names LD_PRELOAD once more, at length: preloads PROGRAM ARGUMENTS.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 12000, MOST = 200 };
extern char** environ;

int main(int count, char** arguments) {
  static char preload[BYTES] = "LD_PRELOAD=";
  for (size_t at = strlen(preload); at + 2 < sizeof preload; at += 2) memcpy(preload + at, ":x", 3);
  char* environment[MOST + 3];
  size_t entries = 0;
  // Where no entry was first, there is a short one.
  environment[entries++] = "LD_PRELOAD=";
  for (char** entry = environ; *entry != NULL && entries < MOST; entry++) environment[entries++] = *entry;
  environment[entries++] = preload;
  environment[entries] = NULL;
  if (count > 1) execve(arguments[1], arguments + 1, environment);
  return 127;
}
