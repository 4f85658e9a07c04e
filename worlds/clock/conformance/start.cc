// A static program that becomes another: whatever that is has its system calls answered (the second tier).
#include <unistd.h>

int main(int count, char** arguments) {
  if (count > 1) execvp(arguments[1], arguments + 1);
  return 127;
}
