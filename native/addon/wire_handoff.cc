#include "wire_handoff.h"

namespace clove::wire {

namespace {

/// Capacity that a burst left behind and that is not worth keeping.
constexpr size_t kKeptBytes = 1 << 20;

void Clear(Batch* batch) {
  batch->opens.clear();
  batch->requests.clear();
  batch->closes.clear();
  if (batch->bytes.capacity() > kKeptBytes) {
    std::string().swap(batch->bytes);
  } else {
    batch->bytes.clear();
  }
}

template <typename T>
void Append(std::vector<T>* to, const std::vector<T>& from) {
  to->insert(to->end(), from.begin(), from.end());
}

}  // namespace

void Handoff::Request(RequestEvent event, std::string_view text) {
  event.offset = static_cast<uint32_t>(local_.bytes.size());
  event.size = static_cast<uint32_t>(text.size());
  local_.bytes.append(text);
  local_.requests.push_back(event);
  bytes_.fetch_add(text.size() + kRequestOverhead);
}

void Handoff::Publish() {
  if (local_.Empty()) return;
  bool notify;
  {
    std::lock_guard lock(mutex_);
    if (shared_.Empty()) {
      std::swap(shared_, local_);
    } else {
      const uint32_t base = static_cast<uint32_t>(shared_.bytes.size());
      for (RequestEvent& request : local_.requests) request.offset += base;
      shared_.bytes.append(local_.bytes);
      Append(&shared_.opens, local_.opens);
      Append(&shared_.requests, local_.requests);
      Append(&shared_.closes, local_.closes);
    }
    notify = !notified_;
    notified_ = true;
  }
  Clear(&local_);
  if (notify) notify_(context_);
}

bool Handoff::Take(Batch* batch) {
  Clear(batch);
  {
    std::lock_guard lock(mutex_);
    std::swap(*batch, shared_);
    notified_ = false;
  }
  const uint64_t freed = batch->bytes.size() + batch->requests.size() * kRequestOverhead;
  bytes_.fetch_sub(freed);
  epoch_.fetch_add(1);
  return waiting_.exchange(false);
}

}  // namespace clove::wire
