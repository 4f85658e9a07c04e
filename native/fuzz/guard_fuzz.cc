// guard_fuzz SEED SECONDS CORPUS_FILE: feeds the JSON guard mutated JSON, guided by coverage, and checks what must hold
// of its verdicts. Inputs that reached something new go to CORPUS_FILE with their verdict (u32 length | u8 accepted |
// bytes), to be compared with JSON.parse.
#include <ctime>
#include <memory>

#include "../addon/wire_json_guard.h"
#include "fuzz_support.h"

using namespace clove::fuzz;
using clove::wire::JsonGuard;

namespace {

const std::vector<std::string_view> kDictionary = {
    "{", "}", "[", "]", ",", ":", " ", "\n", "\"", "\\", "\"a\":", "\"b\":1,", "{}", "[]", "true", "false", "null", "-", "0",
    "1e999", "1e-999", ".5", "E+", "\\u", "\\ud83d\\ude00", "\\ud800", "\\udc00", "\\u0061", "\\n", "\\/", "__proto__",
    "constructor", "prototype", "\xC3\xA9", "\xE2\x80\xA8", "\xF0\x9F\x98\x80", "\xED\xA0\x80", "\xC0\xAF", "\xF4\x90\x80\x80",
    "\x1F", "\x7F", "12345678901234567890", "[[[[[[[[[[[[[[[[", "]]]]]]]]]]]]]]]]", "\"k\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3},",
    "\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,"};

/// Checks a copy that ends where its memory ends, so that one byte too far is seen by the address sanitizer.
bool Accepts(JsonGuard& guard, std::string_view input) {
  std::unique_ptr<char[]> exact(new char[input.size()]);
  input.copy(exact.get(), input.size());
  const bool accepted = guard.Check(exact.get(), input.size());
  if (!accepted && guard.Reason()[0] == '\0') Die("refused without a reason", input);
  return accepted;
}

void CheckVerdict(JsonGuard& guard, JsonGuard& other, std::string_view input, bool accepted) {
  if (Accepts(other, input) != accepted) Die("the verdict depends on the hash seed", input);
  if (!accepted || input.empty()) return;
  const std::string text(input);
  if (!Accepts(guard, " \n" + text + "\t\r")) Die("white space around it changed the verdict", input);
  if (Accepts(guard, text + "]")) Die("accepted with a bracket too many", input);
  if (Accepts(guard, "[" + text)) Die("accepted with a bracket too few", input);
  if (Accepts(guard, "{\"k\":" + text + ",\"\\u006b\":" + text + "}")) Die("accepted a repeated key", input);
  if (Accepts(guard, "{\"prototype\":" + text + "}")) Die("accepted a prototype key", input);
  const bool nested = Accepts(guard, "[0," + text + "]");
  if (!nested && std::string_view(guard.Reason()).find("deeper") == std::string_view::npos) {
    Die("refused inside an array", input);
  }
}

void Save(FILE* file, std::string_view input, bool accepted) {
  const uint32_t size = static_cast<uint32_t>(input.size());
  const uint8_t verdict = accepted ? 1 : 0;
  fwrite(&size, sizeof size, 1, file);
  fwrite(&verdict, 1, 1, file);
  fwrite(input.data(), 1, input.size(), file);
}

}  // namespace

#ifdef CLOVE_LIBFUZZER
// Each input by itself; what must hold of its verdict is the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static JsonGuard guard(1), other(2);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  CheckVerdict(guard, other, input, Accepts(guard, input));
  return 0;
}
#else
int main(int argc, char** argv) {
  if (argc != 4) return 2;
  Random random(strtoull(argv[1], nullptr, 10));
  const time_t end = time(nullptr) + atoi(argv[2]);
  FILE* file = fopen(argv[3], "wb");
  if (file == nullptr) return 2;
  JsonGuard guard(random.Next()), other(random.Next());
  std::vector<std::string> corpus = {"", "{\"a\":[1,-2.5e3,\"x\\u00e9\",null,true,false],\"b\":{}}"};
  uint64_t runs = 0;
  for (; runs % 256 != 0 || time(nullptr) < end; ++runs) {
    std::string input = corpus[random.Below(corpus.size())];
    Mutate(random, &input, kDictionary, corpus);
    if (input.size() > 4096) input.resize(4096);
    ResetCoverage();
    const bool accepted = Accepts(guard, input);
    if (ReachedNew() || random.OneIn(accepted ? 20 : 500)) {
      Save(file, input, accepted);
      if (corpus.size() < 5000) corpus.push_back(input);
    }
    CheckVerdict(guard, other, input, accepted);
  }
  fclose(file);
  printf("%llu runs, %zu edges, %zu kept\n", static_cast<unsigned long long>(runs), EdgesReached(), corpus.size());
  return 0;
}
#endif
