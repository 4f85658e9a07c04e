#pragma once
#include <functional>
#include <string>

namespace clove::clearing {

/** How clearing the groups of a parent ended. */
struct Outcome {
  enum Kind { Gone, Held, Stays } kind = Gone;
  std::string left;  // Stays: the first group that does, and what is in it
};

/**
 * Kills what lives in the groups of a parent and removes them from every hierarchy, on a thread of its own: nobody's start waits for
 * what does not die. Nothing is done when a living process holds their lock (Held). `done` is called on that thread, after kPatienceMs at the latest;
 * on the caller's (Stays) when there can be no such thread.
 */
void Begin(std::string path, std::function<void(Outcome)> done);

}  // namespace clove::clearing
