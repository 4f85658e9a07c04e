// Audit records on their way to the disk: from the short form in which one thread leaves them (kernel/store/record-chunk.ts, which this
// file has to agree with) to the texts that make up a chain of hashes.
#include <napi.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sha256.h"

namespace {

enum Kind : uint32_t { kWhole = 0, kForm = 1, kCall = 2 };

/** Of every entry: kind << 16 | chain, agent id, bytes that follow. */
constexpr size_t kHeader = 12;
/** Of a form: the lengths of its texts, which follow. */
constexpr size_t kFormTexts = 6;
/** Of a call: how far back its form stands, monotonic µs and wall ms (two words each, the low one first), four lengths. */
constexpr size_t kCallWords = 9;
constexpr size_t kHashChars = 64;
constexpr int64_t kDayMs = 86'400'000;

struct Span {
  const uint8_t* data;
  size_t length;
};

uint32_t WordAt(const uint8_t* at) {
  uint32_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

uint64_t WideAt(const uint8_t* at) { return WordAt(at) | static_cast<uint64_t>(WordAt(at + 4)) << 32; }

/** Writes texts one behind the other, never beyond the end. */
class Writer {
 public:
  Writer(char* begin, char* end) : at_(begin), end_(end) {}

  void Put(const void* text, size_t length) {
    if (length > static_cast<size_t>(end_ - at_)) {
      fits_ = false;
      return;
    }
    std::memcpy(at_, text, length);
    at_ += length;
  }
  void Put(std::string_view text) { Put(text.data(), text.size()); }
  void Number(uint64_t value) {
    char digits[20];
    size_t count = 0;
    do digits[sizeof digits - ++count] = static_cast<char>('0' + value % 10);
    while ((value /= 10) != 0);
    Put(digits + sizeof digits - count, count);
  }
  void Padded(uint32_t value, size_t width) {
    char digits[4];
    for (size_t at = width; at-- > 0; value /= 10) digits[at] = static_cast<char>('0' + value % 10);
    Put(digits, width);
  }
  char* at() const { return at_; }
  bool fits() const { return fits_; }

 private:
  char* at_;
  char* end_;
  bool fits_ = true;
};

/** As Date.prototype.toISOString, from 1970 to 9999. */
void PutIsoTime(Writer& out, uint64_t wallMs) {
  // Days to a date by eras of 400 years that begin in March (Howard Hinnant, "chrono-compatible low-level date algorithms").
  const int64_t days = static_cast<int64_t>(wallMs / kDayMs) + 719'468;
  const uint32_t ofDay = static_cast<uint32_t>(wallMs % kDayMs);
  const int64_t era = days / 146'097;
  const uint32_t dayOfEra = static_cast<uint32_t>(days % 146'097);
  const uint32_t yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36'524 - dayOfEra / 146'096) / 365;
  const uint32_t dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const uint32_t shifted = (5 * dayOfYear + 2) / 153;
  const uint32_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  out.Padded(yearOfEra + static_cast<uint32_t>(era) * 400 + (month <= 2 ? 1 : 0), 4);
  out.Put("-");
  out.Padded(month, 2);
  out.Put("-");
  out.Padded(dayOfYear - (153 * shifted + 2) / 5 + 1, 2);
  out.Put("T");
  out.Padded(ofDay / 3'600'000, 2);
  out.Put(":");
  out.Padded(ofDay / 60'000 % 60, 2);
  out.Put(":");
  out.Padded(ofDay / 1000 % 60, 2);
  out.Put(".");
  out.Padded(ofDay % 1000, 3);
  out.Put("Z");
}

/** The body of the record at `offset`. False = what stands there is no record. */
bool PutBody(Writer& out, Span chunk, size_t offset) {
  if (offset + kHeader > chunk.length) return false;
  const uint8_t* const entry = chunk.data + offset;
  const uint32_t kind = WordAt(entry) >> 16;
  const size_t length = WordAt(entry + 8);
  if (length > chunk.length - offset - kHeader) return false;
  const uint8_t* const payload = entry + kHeader;
  if (kind == kWhole) {
    out.Put(payload, length);
    return true;
  }
  if (kind != kCall || length < kCallWords * 4) return false;
  const size_t back = WordAt(payload);
  if (back > offset) return false;
  const uint8_t* const form = entry - back;
  if (WordAt(form) >> 16 != kForm || WordAt(form + 8) < kFormTexts * 4) return false;
  std::string_view constant[kFormTexts];
  const char* text = reinterpret_cast<const char*>(form + kHeader + kFormTexts * 4);
  size_t left = WordAt(form + 8) - kFormTexts * 4;
  for (size_t at = 0; at < kFormTexts; ++at) {
    const size_t size = WordAt(form + kHeader + 4 * at);
    if (size > left) return false;
    constant[at] = {text, size};
    text += size;
    left -= size;
  }
  std::string_view own[4];
  const char* part = reinterpret_cast<const char*>(payload + kCallWords * 4);
  size_t rest = length - kCallWords * 4;
  for (size_t at = 0; at < 4; ++at) {
    const size_t size = WordAt(payload + 20 + 4 * at);
    if (size > rest) return false;
    own[at] = {part, size};
    part += size;
    rest -= size;
  }
  const auto [details, object, worldTime, outcome] = own;
  out.Put(constant[0]);
  out.Put(details);
  out.Put(constant[1]);
  out.Number(WideAt(payload + 4));
  out.Put(constant[2]);
  out.Put(object);
  out.Put(constant[3]);
  out.Put(outcome);
  out.Put(constant[4]);
  out.Put(outcome == "OK" || outcome == "BEGUN" ? "true" : "false");
  out.Put(constant[5]);
  PutIsoTime(out, WideAt(payload + 12));
  out.Put("\",\"world_time\":");
  out.Put(worldTime.empty() ? std::string_view("null") : worldTime);
  out.Put("}");
  return true;
}

Span BytesOf(const Napi::Value& value) {
  const auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ByteLength()};
}

/** At most: numbers, time and the words between them that are in no form. */
constexpr size_t kCallExtra = 128;

struct Place {
  uint32_t chunk;
  uint32_t offset;
  uint32_t agentId;
};

/** Records of one chain that may be one row. */
struct Run {
  uint32_t chain;
  std::vector<Place> places;
  size_t bytes = 0;
};

/** Each record is told to `add`, in order, with how long its body is at most. False = what is there are no records. */
template <typename Add>
bool EachRecord(const std::vector<Span>& chunks, Add add) {
  for (uint32_t number = 0; number < chunks.size(); ++number) {
    const Span chunk = chunks[number];
    for (size_t at = 0; at < chunk.length;) {
      if (at + kHeader > chunk.length) return false;
      const uint8_t* const entry = chunk.data + at;
      const uint32_t kind = WordAt(entry) >> 16;
      const size_t length = WordAt(entry + 8);
      if (length > chunk.length - at - kHeader) return false;
      size_t bytes = length;
      if (kind == kCall) {
        const size_t back = length < kCallWords * 4 ? chunk.length : WordAt(entry + kHeader);
        if (back > at) return false;
        bytes += WordAt(entry - back + 8) + kCallExtra;
      }
      if (kind != kForm) add(WordAt(entry) & 0xffff, Place{number, static_cast<uint32_t>(at), WordAt(entry + 4)}, bytes);
      at = (at + kHeader + length + 3) & ~static_cast<size_t>(3);
    }
  }
  return true;
}

/** "7:30,9:12": agents and how many of the records are about each; null where there is one agent only. */
Napi::Value AgentsOf(Napi::Env env, const Run& run) {
  const auto isFirst = [&](const Place& place) { return place.agentId == run.places[0].agentId; };
  if (std::all_of(run.places.begin(), run.places.end(), isFirst)) return env.Null();
  std::map<uint32_t, uint32_t> counts;
  for (const Place& place : run.places) ++counts[place.agentId];
  std::string text;
  for (const auto& [agent, count] : counts) {
    if (!text.empty()) text += ',';
    text += std::to_string(agent) + ':' + std::to_string(count);
  }
  return Napi::String::New(env, text);
}

std::vector<Span> ChunksOf(const Napi::Value& value) {
  const auto list = value.As<Napi::Array>();
  std::vector<Span> chunks;
  for (uint32_t at = 0; at < list.Length(); ++at) chunks.push_back(BytesOf(list.Get(at)));
  return chunks;
}

/**
 * runs(chunks, packFrom, maxRecords, maxBytes): the records of a transaction; from so many on those of a chain together, in runs of
 * at most so many, else each by itself, in their order. null = what is there are no records.
 */
Napi::Value Runs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::vector<Span> chunks = ChunksOf(info[0]);
  const size_t packFrom = info[1].As<Napi::Number>().Uint32Value();
  const size_t maxRecords = info[2].As<Napi::Number>().Uint32Value();
  const size_t maxBytes = info[3].As<Napi::Number>().Uint32Value();
  size_t count = 0;
  if (!EachRecord(chunks, [&](uint32_t, const Place&, size_t) { ++count; })) return env.Null();
  const bool isPacked = count >= packFrom;
  std::vector<Run> runs;
  std::map<uint32_t, std::vector<size_t>> ofChain;
  EachRecord(chunks, [&](uint32_t chain, const Place& place, size_t bytes) {
    std::vector<size_t>& own = ofChain[chain];
    if (!isPacked || own.empty() || runs[own.back()].places.size() >= maxRecords || runs[own.back()].bytes >= maxBytes) {
      own.push_back(runs.size());
      runs.push_back({chain, {}});
    }
    Run& run = runs[own.back()];
    run.places.push_back(place);
    run.bytes += bytes;
  });
  Napi::Array told = Napi::Array::New(env);
  const auto tell = [&](const Run& run) {
    Napi::Object one = Napi::Object::New(env);
    auto places = Napi::Uint32Array::New(env, run.places.size() * 3);
    std::memcpy(places.Data(), run.places.data(), run.places.size() * sizeof(Place));
    one.Set("chain", run.chain);
    one.Set("agents", AgentsOf(env, run));
    one.Set("bytes", static_cast<double>(run.bytes));
    one.Set("places", places);
    told.Set(told.Length(), one);
  };
  if (!isPacked) {
    for (const Run& run : runs) tell(run);
    return told;
  }
  // Those of a chain stand together, the chain that came first before the others.
  std::vector<bool> isTold(runs.size());
  for (size_t first = 0; first < runs.size(); ++first) {
    if (isTold[first]) continue;
    for (const size_t at : ofChain[runs[first].chain]) {
      tell(runs[at]);
      isTold[at] = true;
    }
  }
  return told;
}

/** body(chunk, offset): the record's body. */
Napi::Value Body(const Napi::CallbackInfo& info) {
  const Span chunk = BytesOf(info[0]);
  std::string text(chunk.length + 256, '\0');
  Writer out(text.data(), text.data() + text.size());
  if (!PutBody(out, chunk, info[1].As<Napi::Number>().Uint32Value()) || !out.fits()) return info.Env().Null();
  return Napi::String::New(info.Env(), text.data(), static_cast<size_t>(out.at() - text.data()));
}

/**
 * chain(chunks, places, hash, out, seq, chain, chainSeq): the texts of records that follow each other in a chain, one behind the
 * other, each with a line end; `places` as in runs(). `hash` is the one before them,
 * in hex, and becomes that of the last. Returns how many bytes of `out` were written; -1 = they do not fit, or are no records.
 */
Napi::Value Chain(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::vector<Span> chunks = ChunksOf(info[0]);
  const auto places = info[1].As<Napi::Uint32Array>();
  auto hash = info[2].As<Napi::Uint8Array>();
  auto* const hex = reinterpret_cast<char*>(hash.Data());
  auto target = info[3].As<Napi::Uint8Array>();
  auto* const begin = reinterpret_cast<char*>(target.Data());
  uint64_t seq = static_cast<uint64_t>(info[4].As<Napi::Number>().Int64Value());
  const uint32_t chain = info[5].As<Napi::Number>().Uint32Value();
  uint64_t chainSeq = static_cast<uint64_t>(info[6].As<Napi::Number>().Int64Value());
  const Napi::Number failed = Napi::Number::New(env, -1);
  if (hash.ByteLength() != kHashChars) return failed;
  Writer out(begin, begin + target.ByteLength());
  for (size_t at = 0; at + 2 < places.ElementLength(); at += 3, ++seq, ++chainSeq) {
    if (places[at] >= chunks.size()) return failed;
    const Span chunk = chunks[places[at]];
    const size_t offset = places[at + 1];
    if (offset + kHeader > chunk.length) return failed;
    const char* const start = out.at();
    out.Put(hex, kHashChars);
    for (const uint64_t number : {seq, static_cast<uint64_t>(chain), chainSeq, static_cast<uint64_t>(WordAt(chunk.data + offset + 4))}) {
      out.Put("\n");
      out.Number(number);
    }
    out.Put("\n");
    if (!PutBody(out, chunk, offset)) return failed;
    const char* const end = out.at();
    out.Put("\n");
    if (!out.fits()) return failed;
    clove::Sha256Hex(reinterpret_cast<const uint8_t*>(start), static_cast<size_t>(end - start), hex);
  }
  return Napi::Number::New(env, static_cast<double>(out.at() - begin));
}

/** sha256(bytes, portable): in hex (tests hold it to another implementation). */
Napi::Value Hash(const Napi::CallbackInfo& info) {
  const Span bytes = BytesOf(info[0]);
  char hex[kHashChars];
  if (info[1].ToBoolean().Value())
    clove::Sha256HexPortable(bytes.data, bytes.length, hex);
  else
    clove::Sha256Hex(bytes.data, bytes.length, hex);
  return Napi::String::New(info.Env(), hex, kHashChars);
}

}  // namespace

void RegisterAudit(Napi::Env env, Napi::Object exports) {
  Napi::Object audit = Napi::Object::New(env);
  audit.Set("runs", Napi::Function::New(env, Runs));
  audit.Set("body", Napi::Function::New(env, Body));
  audit.Set("chain", Napi::Function::New(env, Chain));
  audit.Set("sha256", Napi::Function::New(env, Hash));
  exports.Set("audit", audit);
}
