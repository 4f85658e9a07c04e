// What the fuzz programs share: a seeded source of choices, mutation of bytes, and failure that names itself.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace clove::fuzz {

/// splitmix64: small, seeded, the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  /// 0 … bound-1; 0 for bound 0.
  size_t Below(size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(Next() % bound); }
  bool OneIn(size_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

[[noreturn]] inline void Die(const char* what, std::string_view input) {
  fprintf(stderr, "fuzz: %s; input of %zu bytes:", what, input.size());
  for (size_t i = 0; i < input.size() && i < 400; ++i) fprintf(stderr, "%02x", static_cast<uint8_t>(input[i]));
  fprintf(stderr, "\n");
  abort();
}

inline void Mutate(Random& random, std::string* bytes, const std::vector<std::string_view>& dictionary,
                   const std::vector<std::string>& corpus) {
  for (size_t rounds = 1 + random.Below(4); rounds > 0; --rounds) {
    const size_t at = random.Below(bytes->size() + 1);
    switch (random.Below(7)) {
      case 0:
        if (at < bytes->size()) (*bytes)[at] = static_cast<char>(random.Next());
        break;
      case 1: bytes->insert(at, 1, static_cast<char>(random.Next())); break;
      case 2: bytes->erase(at, 1 + random.Below(8)); break;
      case 3: bytes->insert(at, dictionary[random.Below(dictionary.size())]); break;
      case 4: bytes->insert(at, bytes->substr(at, random.Below(64))); break;
      case 5:
        if (at < bytes->size()) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random.Below(8)));
        break;
      default: {
        const std::string& other = corpus[random.Below(corpus.size())];
        const size_t from = random.Below(other.size() + 1);
        bytes->insert(at, other.substr(from, random.Below(64)));
      }
    }
  }
}

// Edges reached by the code compiled with -fsanitize-coverage=trace-pc (coverage.cc).
void ResetCoverage();
/// Whether this run reached an edge that no run before did.
bool ReachedNew();
size_t EdgesReached();

}  // namespace clove::fuzz
