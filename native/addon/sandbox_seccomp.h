#pragma once
#include <linux/filter.h>

#include <string>
#include <vector>

namespace clove {

/** Debug adds ptrace. Template adds what a sandbox is made with (mounts, namespaces); agents put their own filter on top. */
enum class SeccompProfile { Normal, Debug, Template };

/** The filter program of a profile. Built once per profile; valid for the life of the process. */
const std::vector<sock_filter>& SeccompProgram(SeccompProfile profile);

/** The policy as JSON: {"arch", "calls": [{"name","nr","action"}]}, in order of numbers. */
std::string SeccompListing(bool debugProfile);

/** FNV-1a over the program: names the policy in reports. */
uint64_t SeccompHash(bool debugProfile);

}  // namespace clove
