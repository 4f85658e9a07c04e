import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import { NativeTimer } from './native-timer.ts';

const SOURCE = `
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connection = -1;
static char answer[1 << 20];

static bool Begin(int count, char** arguments) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (count != 3 || strlen(arguments[1]) >= sizeof address.sun_path) return false;
  strcpy(address.sun_path, arguments[1]);
  connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

static bool Take(char* to, size_t bytes) {
  while (bytes > 0) {
    const ssize_t taken = read(connection, to, bytes);
    if (taken <= 0) return false;
    to += taken;
    bytes -= taken;
  }
  return true;
}

/** One call. Frame: magic u32, agent u32, opcode u8, bytes u64, payload. */
static bool Call(uint8_t opcode, const char* payload) {
  char frame[4096] = {};
  const uint32_t magic = 0x41474E54;
  const uint64_t bytes = strlen(payload);
  if (17 + bytes > sizeof frame) return false;
  memcpy(frame, &magic, 4);
  frame[8] = static_cast<char>(opcode);
  memcpy(frame + 9, &bytes, 8);
  memcpy(frame + 17, payload, bytes);
  if (write(connection, frame, 17 + bytes) != static_cast<ssize_t>(17 + bytes)) return false;
  uint64_t answered;
  if (!Take(frame, 17)) return false;
  memcpy(&answered, frame + 9, 8);
  if (answered >= sizeof answer || !Take(answer, answered)) return false;
  answer[answered] = 0;
  return strstr(answer, "\\"success\\":true") != nullptr;
}

static bool Once(char** arguments) {
  if (!Call(${OPCODES.SPAWN}, arguments[2])) return false;
  const char* id = strstr(answer, "\\"id\\":");
  if (id == nullptr) return false;
  char wait[64];
  snprintf(wait, sizeof wait, "{\\"id\\":%ld}", atol(id + 5));
  return Call(${OPCODES.WAIT}, wait) && strstr(answer, "\\"exit_code\\":0") != nullptr;
}
`;

/** A client in C++: SPAWN and WAIT as a program sees them that is not Node. What is left is the kernel's way. */
export function spawnClient(folder: string, socketPath: string, argv: readonly string[]): NativeTimer {
  return new NativeTimer(folder, 'client', SOURCE, [socketPath, JSON.stringify({ command: argv })]);
}
