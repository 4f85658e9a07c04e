#include "sha256.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace clove {
namespace {

constexpr size_t kBlock = 64;

constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr uint32_t kStart[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

using Blocks = void (*)(uint32_t state[8], const uint8_t* data, size_t count);

uint32_t Rotate(uint32_t value, int by) { return (value >> by) | (value << (32 - by)); }

uint32_t BigEndian(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 | static_cast<uint32_t>(at[2]) << 8 | at[3];
}

void PortableBlocks(uint32_t state[8], const uint8_t* data, size_t count) {
  uint32_t word[64];
  for (; count > 0; --count, data += kBlock) {
    for (int t = 0; t < 16; ++t) word[t] = BigEndian(data + 4 * t);
    for (int t = 16; t < 64; ++t) {
      const uint32_t before = word[t - 15], last = word[t - 2];
      const uint32_t s0 = Rotate(before, 7) ^ Rotate(before, 18) ^ (before >> 3);
      const uint32_t s1 = Rotate(last, 17) ^ Rotate(last, 19) ^ (last >> 10);
      word[t] = word[t - 16] + s0 + word[t - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; ++t) {
      const uint32_t first = h + (Rotate(e, 6) ^ Rotate(e, 11) ^ Rotate(e, 25)) + ((e & f) ^ (~e & g)) + kRound[t] + word[t];
      const uint32_t second = (Rotate(a, 2) ^ Rotate(a, 13) ^ Rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

#if defined(__x86_64__)

/** The instructions want the state as ABEF and CDGH, and do two rounds each. */
__attribute__((target("sha,sse4.1,ssse3"))) void ShaBlocks(uint32_t state[8], const uint8_t* data, size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i low = _mm_shuffle_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(state)), 0xb1);
  __m128i high = _mm_shuffle_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4)), 0x1b);
  __m128i abef = _mm_alignr_epi8(low, high, 8);
  __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
  for (; count > 0; --count, data += kBlock) {
    const __m128i abefBefore = abef, cdghBefore = cdgh;
    __m128i words[4];
    for (int at = 0; at < 4; ++at)
      words[at] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 16 * at)), swap);
#pragma GCC unroll 16
    for (int four = 0; four < 16; ++four) {
      __m128i& now = words[four % 4];
      if (four >= 4) {
        // now = sigma1(…) + word[t-7] + sigma0(word[t-15]) + word[t-16]
        const __m128i last = words[(four + 3) % 4];
        const __m128i sevenBefore = _mm_alignr_epi8(last, words[(four + 2) % 4], 4);
        now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(now, words[(four + 1) % 4]), sevenBefore), last);
      }
      const __m128i keyed = _mm_add_epi32(now, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kRound + 4 * four)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, keyed);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(keyed, 0x0e));
    }
    abef = _mm_add_epi32(abef, abefBefore);
    cdgh = _mm_add_epi32(cdgh, cdghBefore);
  }
  low = _mm_shuffle_epi32(abef, 0x1b);
  high = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(low, high, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(high, low, 8));
}

bool FindShaInstructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_SHA) == 0) return false;
  return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}

#endif

struct HexPairs {
  char of[256][2];
};

constexpr HexPairs kHexPairs = [] {
  HexPairs pairs{};
  for (int byte = 0; byte < 256; ++byte) {
    pairs.of[byte][0] = "0123456789abcdef"[byte >> 4];
    pairs.of[byte][1] = "0123456789abcdef"[byte & 15];
  }
  return pairs;
}();

void Hex(const uint32_t state[8], char* hex) {
  for (int at = 0; at < 32; ++at) std::memcpy(hex + 2 * at, kHexPairs.of[(state[at / 4] >> (24 - 8 * (at % 4))) & 255], 2);
}

void HashWith(Blocks blocks, const uint8_t* data, size_t length, char* hex) {
  uint32_t state[8];
  std::memcpy(state, kStart, sizeof state);
  const size_t whole = length / kBlock;
  blocks(state, data, whole);
  const size_t rest = length % kBlock;
  uint8_t tail[2 * kBlock] = {};
  if (rest > 0) std::memcpy(tail, data + whole * kBlock, rest);
  tail[rest] = 0x80;
  const size_t tailBlocks = rest < kBlock - 8 ? 1 : 2;
  const uint64_t bits = static_cast<uint64_t>(length) * 8;
  for (int at = 0; at < 8; ++at) tail[tailBlocks * kBlock - 1 - at] = static_cast<uint8_t>(bits >> (8 * at));
  blocks(state, tail, tailBlocks);
  Hex(state, hex);
}

}  // namespace

bool HasShaInstructions() {
#if defined(__x86_64__)
  static const bool has = FindShaInstructions();
  return has;
#else
  return false;
#endif
}

void Sha256HexPortable(const uint8_t* data, size_t length, char* hex) { HashWith(PortableBlocks, data, length, hex); }

void Sha256Hex(const uint8_t* data, size_t length, char* hex) {
#if defined(__x86_64__)
  if (HasShaInstructions()) {
    HashWith(ShaBlocks, data, length, hex);
    return;
  }
#endif
  HashWith(PortableBlocks, data, length, hex);
}

}  // namespace clove
